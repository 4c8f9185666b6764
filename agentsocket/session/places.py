"""The places for sessions: so many in all, and so many for one share, which is what one address may have."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping

from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.session.session import Session

logger = logging.getLogger("agentsocket.session")

QUIET = 10.0
"""Seconds between two log lines that say that there is no room."""


class Places:
    """Counts who has places. Where none is left, a session that waits for its client with nothing to do goes first.

    A share is text that only has to be the same for the same address; the empty one has no limit of its own.
    """

    def __init__(self, most: int, most_of_one: int | None) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._quiet_until = 0.0
        self._waiting: OrderedDict[str, Session] = OrderedDict()
        self._waiting_of: dict[str, OrderedDict[str, Session]] = {}

    def take(self, share: str) -> None:
        """Take a place, be it for a session whose agent is not made yet."""
        self._total += 1
        self._taken[share] += 1

    def give_back(self, share: str) -> None:
        """Give a place back."""
        self._total -= 1
        self._taken[share] -= 1
        if not self._taken[share]:
            del self._taken[share]

    def wait(self, session: Session) -> None:
        """Note that a session waits for its client."""
        self._waiting[session.id] = session
        self._waiting_of.setdefault(session.share, OrderedDict())[session.id] = session

    def wait_no_longer(self, session: Session) -> None:
        """Note that its client has come back, or that it has ended."""
        if self._waiting.pop(session.id, None) is not None:
            of_share = self._waiting_of[session.share]
            del of_share[session.id]
            if not of_share:
                del self._waiting_of[session.share]

    def in_the_way(self, share: str) -> Session | None:
        """Return the session that is to end before there is a place for another one of this share, if any is.

        Raises:
            ProtocolError: ``too_many_sessions`` where all that have a place are in use.
        """
        waiting: Mapping[str, Session]
        if share and self._most_of_one is not None and self._taken[share] >= self._most_of_one:
            waiting, text = self._waiting_of.get(share, {}), "Your address has as many sessions as it may."
        elif self._total >= self._most:
            waiting, text = self._waiting, "The server has no room for another session."
        else:
            return None
        self._tell(text)
        idle = next((session for session in waiting.values() if not session.tasks), None)
        if idle is None:
            raise ProtocolError(ErrorCode.TOO_MANY_SESSIONS, text)
        return idle

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning("%s Those that wait with nothing to do make room first.", text)
