"""What a factory opens for one session: MCP servers, database connections."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

T = TypeVar("T")


async def open_agent(manager: AbstractAsyncContextManager[T]) -> tuple[T, Callable[[], Awaitable[None]]]:
    """Enter ``manager``; returns what it gave, and what leaves it again.

    One task of its own does both, since a cancel scope (MCP's, say) may be left only by the task that entered it, while
    a session is opened and closed by two different ones.
    """
    opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with manager as agent:
            opened.set_result(agent)
            await leave.wait()

    holder = asyncio.create_task(hold(), name="resources of an agent")

    async def aclose() -> None:
        leave.set()
        await holder

    either: list[asyncio.Future[Any]] = [holder, opened]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        holder.cancel()
        await asyncio.wait([holder])
        raise
    if not opened.done():
        holder.result()  # raises what entering raised
    return opened.result(), aclose
