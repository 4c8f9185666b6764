"""What a factory opens for one session: MCP servers, database connections. And what it sets, in which context."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.containment.stopping import stop

T = TypeVar("T")

UNWANTED = 10.0
"""Seconds that a context manager has to end when it is given up while it is entered."""


async def open_agent(manager: AbstractAsyncContextManager[T]) -> tuple[T, Callable[[], Awaitable[None]]]:
    """Enter ``manager``; returns what it gave, and what leaves it again.

    One task of its own does both, since a cancel scope (MCP's, say) may be left only by the task that entered it, while
    a session is opened and closed by two different ones.
    """
    opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()
    context = contextvars.copy_context()

    async def hold() -> None:
        async with manager as agent:
            opened.set_result(agent)
            await leave.wait()

    holder = asyncio.create_task(hold(), name="resources of an agent", context=context)

    async def aclose() -> None:
        leave.set()
        await holder

    either: list[asyncio.Future[Any]] = [holder, opened]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        leave.set()  # it may be entered all the same
        if not opened.done():
            stop(holder, UNWANTED)
        await asyncio.wait([holder])
        raise
    if not opened.done():
        holder.result()  # raises what entering raised
    adopt(context)
    return opened.result(), aclose


async def open_in_thread(manager: AbstractContextManager[T]) -> tuple[T, Callable[[], Awaitable[None]]]:
    """Do the same with a synchronous context manager, in threads: in whichever, but in one context."""
    context = contextvars.copy_context()

    async def aclose(_: object = None) -> None:
        await in_thread(context.run, manager.__exit__, None, None, None)

    return await made_in_thread(manager.__enter__, aclose, context), aclose


async def made_in_thread(
    make: Callable[[], T], unmake: Callable[[T], Awaitable[None]], context: contextvars.Context | None = None
) -> T:
    """Make something in a thread. What that sets is set here too; what is made for nobody any more is unmade."""
    context = context or contextvars.copy_context()
    made: list[T] = []
    try:
        await in_thread(context.run, lambda: made.append(make()))
    except asyncio.CancelledError:
        for unwanted in made:
            await unmake(unwanted)
        raise
    adopt(context)
    return made[0]


def adopt(context: contextvars.Context) -> None:
    """Set here what is set in another context."""
    for variable, value in context.items():
        variable.set(value)
