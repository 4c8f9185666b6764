"""The log of what a session has said: the only way out for its frames, whether anybody listens or not."""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Collection, Iterator
from typing import Protocol

from agentsocket.session.budget import ITEM, Account
from agentsocket.session.encoding import numbered
from agentsocket.session.ends import Ends

BURST = 32 * 1024
"""Bytes after which whoever appends gives way to the event loop, and waits while its reader lags by more than this."""


FEATURES = {
    b"agent_reasoning": "reasoning",
    b"tool_progress": "progress",
    b"agent_data": "data",
    b"agent_file": "files",
}
"""What a client has to understand to be sent a frame of these events; every client understands the others."""

HEAD = b'{"event":"'


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


class FrameLog:
    """Frames go to the attached writer as they come; a log that keeps them can give them once more to the next one.

    What the session's client does not understand is not said. A kept frame is numbered: 1, 2, 3 and so on. It stays
    after it was sent, since the kernel's buffers swallow megabytes that may never arrive, and goes when the log holds
    more than its limits, oldest first.
    """

    def __init__(self, account: Account | None, *, max_bytes: int, max_frames: int) -> None:
        self.account = account
        """Where it is counted what is kept; none where nothing is."""
        self.ends = None if account is None else Ends(account)
        """How the last tasks ended."""
        self.last_seq = 0
        self._max_bytes, self._max_frames = max_bytes, max_frames
        self._frames: deque[bytes] = deque()
        self._frame_bytes = 0
        self._writer: Writer | None = None
        self.features: Collection[str] = ()
        """What the last login has named beyond the base."""
        self.room = BURST
        """Bytes that may be said until it is the others' turn; below zero it is."""

    def append(self, frame: bytes, *, more_follows: bool = False) -> None:
        """Say a frame. Never waits: an agent calls ``breathe`` before it where there is no ``room``."""
        if self.account is not None:
            self.last_seq += 1
            frame = numbered(frame, self.last_seq)
            self._keep(frame, self.account)
        self.room -= len(frame)
        if self._writer is None:
            return
        if more_follows:
            self._writer.gather(frame)
        else:
            self._writer.write(frame)

    def understands(self, feature: str) -> bool:
        """Whether frames of this feature are to be said."""
        return feature in self.features

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
            for frame in filter(self._is_understood, self._later_than(after)):
                writer.write(frame)

    def detach(self) -> None:
        """Send to nobody."""
        self._writer = None

    @property
    def first_seq(self) -> int:
        """The number of the oldest frame that is kept; one more than the newest where none is."""
        return self.last_seq - len(self._frames) + 1

    def size_after(self, seq: int) -> int:
        """Return how many bytes were said after this number, of those that are kept."""
        return sum(map(len, self._later_than(seq)))

    def clear(self) -> None:
        """Forget all that is kept; the numbers go on."""
        size = self._frame_bytes + ITEM * len(self._frames)
        self._frames.clear()
        self._frame_bytes = 0
        if self.account is not None and self.ends is not None:
            self.account.count(-size)
            self.ends.clear()

    def _is_understood(self, frame: bytes) -> bool:
        """Whether a frame, which may have been said to a client that understood more, is for this one too."""
        feature = FEATURES.get(frame[len(HEAD) : frame.index(b'"', len(HEAD))])
        return feature is None or feature in self.features

    def _later_than(self, seq: int) -> Iterator[bytes]:
        return itertools.islice(self._frames, max(0, seq + 1 - self.first_seq), None)

    def _keep(self, frame: bytes, account: Account) -> None:
        before = self._frame_bytes + ITEM * len(self._frames)
        self._frames.append(frame)
        self._frame_bytes += len(frame)
        while len(self._frames) > self._max_frames or self._frame_bytes > self._max_bytes:
            self._frame_bytes -= len(self._frames.popleft())
        account.count(self._frame_bytes + ITEM * len(self._frames) - before)
