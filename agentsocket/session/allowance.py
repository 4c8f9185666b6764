"""How much a session may say again to those who take it up."""

import time

UNIT = 1024 * 1024
"""Bytes, or those of a whole log where that may be longer."""

AT_ONCE, EVERY = 16, 4.0
"""Units that may be said again at once, and seconds in which one more is added."""


class Allowance:
    """Bytes that may be said again: what asks for them is a short message, and what it brings a long one."""

    def __init__(self, log_size: int) -> None:
        unit = max(UNIT, log_size)
        self._most = float(AT_ONCE * unit)
        self._rate = unit / EVERY
        self._left = self._most
        self._since = time.monotonic()

    @property
    def spent(self) -> bool:
        """Whether nothing is left for now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        return self._left <= 0

    def take(self, size: int) -> None:
        """Take so many, be it on credit."""
        self._left -= min(size, self._most)
