"""What the client's reader has for one consumer."""

import asyncio
import contextlib
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """What the reader has for one consumer, who takes all of it at once."""

    def __init__(self, limit: int, patience: float) -> None:
        self._items: list[T] = []
        self._limit, self._patience = limit, patience
        self._error: Exception | None = None
        self._ended = False
        self._news, self._room = asyncio.Event(), asyncio.Event()

    async def put(self, item: T) -> bool:
        """Add an item, and wait while there are too many; false where the consumer has stopped consuming."""
        self.add(item)
        if len(self._items) < self._limit or self._ended:
            return True
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._room.wait()
        return self._room.is_set()

    def add(self, item: T) -> None:
        """Add an item; never waits."""
        self._items.append(item)
        self._news.set()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come. The consumer takes what is there, then gets the error if there is one."""
        self._ended, self._error = True, error
        self._news.set()
        self._room.set()

    async def take(self) -> list[T]:
        """Return what has come, nothing at the end; raises what it was ended with."""
        await self._news.wait()
        items, self._items = self._items, []
        if not self._ended:
            self._news.clear()
        elif self._error and not items:
            raise self._error
        self._room.set()
        return items
