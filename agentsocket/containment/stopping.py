"""One cancel is not enough: a task that is to stop is cancelled until it has stopped."""

import asyncio
import gc
from types import AsyncGeneratorType
from typing import Any

PAUSE = 0.05
"""Seconds between two cancels of one task."""


def stop(task: asyncio.Task[Any], seconds: float) -> None:
    """Cancel a task, and again every 50 ms until it has ended or so many seconds are over.

    A cancel may be lost: Python 3.11's ``wait_for`` loses one that comes as its result does, and people's code swallows
    them. A task that is cleaning up after one is left in peace for half of the time: another would break off, say, the
    goodbye to a database.
    """
    loop = task.get_loop()
    begun = loop.time()

    def insist() -> None:
        waited = loop.time() - begun
        if task.done() or waited > seconds:
            return
        if waited > seconds / 2 or not cleans_up(task):
            task.cancel()
        loop.call_later(PAUSE, insist)

    task.cancel()
    loop.call_later(PAUSE, insist)


async def outcome(task: asyncio.Task[Any], seconds: float, *, stopping: float) -> BaseException | None:
    """Wait so long at most; return what the task ended with, if not well.

    One that takes longer is stopped, and so is one that nobody waits for any more, since the waiting is cancelled.
    """
    try:
        await asyncio.sleep(0)  # most are done by then, and a wait costs more than they do
        if not task.done():
            await asyncio.wait([task], timeout=seconds)
    finally:
        if not task.done():
            stop(task, stopping)
    return failure_of(task) if task.done() else TimeoutError(f"it took longer than {seconds:g} s")


def failure_of(task: asyncio.Future[Any]) -> BaseException | None:
    """Return what a task that is done ended with, if not well."""
    return asyncio.CancelledError("it cancelled itself") if task.cancelled() else task.exception()


def cleans_up(task: asyncio.Future[Any] | None) -> bool:
    """Whether a task, or one that it awaits, is within an ``except``, ``finally`` or ``with`` that handles a cancel."""
    if not isinstance(task, asyncio.Task):
        return False
    awaited: Any = task.get_coro()
    while awaited is not None:
        # What a coroutine handles as it awaits is known to its frame alone, and the collector sees into that.
        holds = gc.get_referents(awaited)
        if any(isinstance(held, asyncio.CancelledError) for held in holds):
            return True
        awaited = _awaited_by(awaited, holds)
    waiter = task._fut_waiter  # type: ignore[attr-defined]  # noqa: SLF001  # nothing else tells what a task waits for
    return any(cleans_up(child) for child in getattr(waiter, "_children", (waiter,)))


def _awaited_by(coroutine: Any, holds: list[Any]) -> Any:
    for name in ("cr_await", "ag_await", "gi_yieldfrom"):
        if hasattr(coroutine, name):
            return getattr(coroutine, name)
    # One step of an asynchronous generator is an object between that and whoever iterates it.
    return next((held for held in holds if isinstance(held, AsyncGeneratorType)), None)
