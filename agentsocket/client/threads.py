"""Threads cannot be stopped: what one of them makes is not lost when nobody waits for it any more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

T = TypeVar("T")


@contextlib.asynccontextmanager
async def made(make: Callable[[], T], undo: Callable[[T], object]) -> AsyncIterator[T]:
    """Have something that is made in a thread, and undone at the end. Raises what ``make`` raises."""
    making = asyncio.create_task(asyncio.to_thread(make))
    try:
        yield await asyncio.shield(making)
    finally:
        if not making.done():  # else nothing is waited for: who is stopped just then would leave it as it is
            await asyncio.wait([making])
        if not making.cancelled() and making.exception() is None:
            undo(making.result())
