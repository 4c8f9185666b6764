"""The log of what a session has said: the only way out for its frames, whether anybody listens or not."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Protocol

from agentsocket.protocol.frames import TaskSnapshot
from agentsocket.session.encoding import numbered

BURST = 32 * 1024
"""Bytes after which whoever appends gives way to the event loop, and waits while its reader lags by more than this."""

ENDED_SIZE = 256 * 1024
"""Bytes, about, of how tasks ended that a session keeps for a client that missed it; the newest end always stays."""


class Writer(Protocol):
    """Who reads the log: the writer of one connection."""

    @property
    def lag(self) -> int:
        """Bytes that were written here and that the socket has not taken yet."""

    def write(self, frame: bytes) -> None:
        """Take a frame; never waits."""

    def gather(self, frame: bytes) -> None:
        """Take a frame that others will follow at once; never waits."""

    def drained(self) -> Awaitable[None]:
        """Return what is done when the reader lags by less than ``BURST``, or is gone."""


class LogBudget:
    """What the logs of all sessions may hold together, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.detached: dict[str, FrameLog] = {}
        """Logs that nobody reads, by session id, oldest first: the first to be emptied."""

    def make_room(self) -> bool:
        """Empty logs that nobody reads while all of them hold too much; false where that is not enough."""
        for log in list(self.detached.values()):
            if self.held <= self.limit:
                break
            log.clear()
        return self.held <= self.limit


class FrameLog:
    """Frames go to the attached writer as they come; a log that keeps them can give them once more to the next one.

    A kept frame is numbered: 1, 2, 3 and so on. It stays after it was sent, since the kernel's buffers swallow
    megabytes that may never arrive, and goes when the log holds more than its limits, oldest first.
    """

    def __init__(self, *, keeps: bool, max_bytes: int, max_frames: int, budget: LogBudget) -> None:
        self.keeps = keeps
        self.last_seq = 0
        self._max_bytes, self._max_frames, self._budget = max_bytes, max_frames, budget
        self._frames: deque[bytes] = deque()
        self._frame_bytes = 0
        self._ended: deque[TaskSnapshot] = deque()
        self._ended_size = 0
        self._writer: Writer | None = None
        self.room = BURST
        """Bytes that may be said until it is the others' turn; below zero it is."""

    def append(self, frame: bytes, *, more_follows: bool = False) -> None:
        """Say a frame. Never waits: an agent calls ``breathe`` before it where there is no ``room``."""
        if self.keeps:
            self.last_seq += 1
            frame = numbered(frame, self.last_seq)
            self._keep(frame)
        self.room -= len(frame)
        if self._writer is None:
            return
        if more_follows:
            self._writer.gather(frame)
        else:
            self._writer.write(frame)

    async def breathe(self) -> None:
        """Give way to the loop, then wait for an attached reader that lags. An absent one keeps nobody waiting."""
        await asyncio.sleep(0)
        while self._writer is not None and self._writer.lag > BURST:
            await self._writer.drained()
        self.room = BURST

    def attach(self, writer: Writer, *, after: int | None = None) -> None:
        """Send to this writer from now on, and first what was said after number ``after``."""
        self._writer = writer
        if after is not None:
            for seq, frame in enumerate(self._frames, self.first_seq):
                if seq > after:
                    writer.write(frame)

    def detach(self) -> None:
        """Send to nobody."""
        self._writer = None

    @property
    def first_seq(self) -> int:
        """The number of the oldest frame that is kept; one more than the newest where none is."""
        return self.last_seq - len(self._frames) + 1

    def remember(self, ended: TaskSnapshot) -> None:
        """Keep how a task ended."""
        self._ended.append(ended)
        self._count_ended(_size(ended))
        while len(self._ended) > 1 and self._ended_size > ENDED_SIZE:
            self._count_ended(-_size(self._ended.popleft()))

    @property
    def ended(self) -> list[TaskSnapshot]:
        """How the last tasks ended, oldest first."""
        return list(self._ended)

    def clear(self) -> None:
        """Forget all that is kept; the numbers go on."""
        self._frames.clear()
        self._ended.clear()
        self._budget.held -= self._frame_bytes + self._ended_size
        self._frame_bytes = self._ended_size = 0

    def _keep(self, frame: bytes) -> None:
        before = self._frame_bytes
        self._frames.append(frame)
        self._frame_bytes += len(frame)
        while len(self._frames) > self._max_frames or self._frame_bytes > self._max_bytes:
            self._frame_bytes -= len(self._frames.popleft())
        self._budget.held += self._frame_bytes - before
        if self._budget.held > self._budget.limit and not self._budget.make_room():
            self.clear()

    def _count_ended(self, size: int) -> None:
        self._ended_size += size
        self._budget.held += size


def _size(ended: TaskSnapshot) -> int:
    return 1024 + len(ended.output) + len(ended.response or "")
