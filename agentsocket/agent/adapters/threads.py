"""Synchronous code of an agent or a tool, kept off the event loop."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from agentsocket.containment.threads import THREADS

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous function in a thread of the agents', and return or raise what it does.

    A thread cannot be stopped: a cancel waits until the function has returned, so that whoever is told "stopped" is
    told the truth. A function that still waits for a thread is never run then.
    """
    context = contextvars.copy_context()
    started = given_up = False

    def call() -> T:
        nonlocal started
        # Set first, looked at second; the cancelling side does it the other way round, so one of them always sees it.
        started = True
        if given_up:
            raise asyncio.CancelledError
        return context.run(function, *args, **kwargs)

    future = asyncio.get_running_loop().run_in_executor(THREADS.get(), call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        given_up = True
        if not started:
            future.cancel()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:  # it is being cancelled already
                continue
        if not future.cancelled():
            future.exception()  # looked at, so that the loop does not report it
        raise
