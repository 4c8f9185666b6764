"""When a login has ended, its connection follows."""

import asyncio
from collections.abc import Callable

LATER = 25.0
"""Seconds after the end of a login in which a client may still refresh it."""


class Expiry:
    """The end of one login; without one there is none."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def set(self, expires_in: float, then: Callable[[], object]) -> None:
        """Do this some time after the login has ended, which is in so many seconds; not what was set before."""
        self.clear()
        self._timer = asyncio.get_running_loop().call_later(expires_in + LATER, then)

    def clear(self) -> None:
        """The login does not end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
