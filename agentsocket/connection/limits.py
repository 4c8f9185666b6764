"""How much one connection may ask for: messages a second, and errors a minute."""

import time
from collections import deque

from agentsocket.protocol.errors import ErrorCode

UNCOUNTED = {
    ErrorCode.AUTHENTICATION_UNAVAILABLE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.TOO_MANY_TASKS,
    ErrorCode.TOO_MANY_SESSIONS,
    ErrorCode.UNKNOWN_TASK,
    ErrorCode.UNKNOWN_FILE,
    ErrorCode.UNKNOWN_UPLOAD,
    ErrorCode.FILE_TOO_LARGE,
    ErrorCode.FILE_TYPE_REFUSED,
    ErrorCode.TOO_MANY_FILES,
    ErrorCode.FILES_UNAVAILABLE,
    ErrorCode.CONVERSATION_BUSY,
    ErrorCode.TOO_MANY_CONVERSATIONS,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.AGENT_UNAVAILABLE,
    ErrorCode.SHUTTING_DOWN,
}
"""What an honest client runs into; it does not count towards "too many errors"."""


class TokenBucket:
    """Lets ``rate`` messages a second pass, and ``burst`` at once on top of that. Without a rate everything passes."""

    def __init__(self, rate: float | None, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = float(burst)
        self._filled = time.monotonic()
        self._refused = 0

    def take(self) -> bool:
        """Take one token; false where there is none."""
        if self._rate is None:
            return True
        now = time.monotonic()
        self._tokens += (now - self._filled) * self._rate
        self._filled = now
        if self._tokens >= self._burst:
            self._tokens, self._refused = self._burst, 0
        if self._tokens < 1:
            self._refused += 1
            return False
        self._tokens -= 1
        return True

    @property
    def flooded(self) -> bool:
        """Whether the sender goes on although it is refused: another whole burst was, and the bucket never full again.

        So whoever stays above the rate comes to this in time, and whoever pauses for as long as a burst takes does not.
        """
        return self._refused > self._burst


class ErrorBudget:
    """Allows ``limit`` errors within a minute; without a limit, any number."""

    WINDOW = 60.0

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._times: deque[float] = deque(maxlen=limit)

    def spend(self) -> bool:
        """Count one error; false where it is the ``limit``-th within the window."""
        if self._limit is None:
            return True
        self._times.append(time.monotonic())
        return len(self._times) < self._limit or self._times[-1] - self._times[0] > self.WINDOW
