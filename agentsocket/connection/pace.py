"""Whether a peer that has much to read reads at all: a slow one is kept, one that stands still is not."""

import asyncio

from agentsocket.connection.writer import FrameWriter

LOOK = 0.5
"""Seconds between two looks at a peer, at most."""

STEPS = 3
"""How many times as long as a slow reader took for something it may take for the next. Its kernel says that it reads in
steps, and a later one may be larger than the first."""


class Pace:
    """Watches one peer while its socket takes nothing more, until it has read nothing for too long."""

    def __init__(self, writer: FrameWriter, deadline: float) -> None:
        self._writer, self._deadline = writer, deadline
        self._patience = deadline
        self._taken = 0
        self._since = 0.0

    def watch(self) -> float:
        """Begin; return the seconds to the first ``look``."""
        self._taken, self._since = self._writer.taken, asyncio.get_running_loop().time()
        return self._interval

    def look(self) -> float | None:
        """Return the seconds to the next look; none where patience is over."""
        if self._writer.taken > self._taken:
            self.moved()
            return self.watch()
        return self._interval if self.still < self._patience else None

    @property
    def still(self) -> float:
        """Seconds since the peer was last seen to read."""
        return asyncio.get_running_loop().time() - self._since

    def moved(self) -> None:
        """Bear with a peer that has taken its time to read something: a whole answer may take it a while."""
        if self.still > self._deadline / STEPS:  # below that it may be what was still on its way
            self._patience = max(self._patience, min(self.still, self._deadline) * STEPS)

    @property
    def _interval(self) -> float:
        return min(LOOK, self._deadline / 4)
