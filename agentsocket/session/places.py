"""The places for sessions: so many in all, so many for one address, and so many for one user."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.session.session import Session

logger = logging.getLogger("agentsocket.session")

QUIET = 10.0
"""Seconds between two log lines that say that there is no room."""


class Claim(NamedTuple):
    """One of those that a session counts for, and how many it may have."""

    share: str
    """Text that only has to be the same for the same address or user."""
    most: int | None
    """None where there is no limit now; they are counted all the same, for when there is one."""
    scope: str
    refusal: str


class Places:
    """Counts who has places. Where none is left, a session that waits for its client with nothing to do goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._quiet_until = 0.0
        self._waiting: OrderedDict[str, Session] = OrderedDict()
        self._waiting_of: dict[str, OrderedDict[str, Session]] = {}

    def take(self, shares: Sequence[str]) -> None:
        """Take a place, be it for a session whose agent is not made yet."""
        self._total += 1
        for share in shares:
            self._taken[share] += 1

    def give_back(self, shares: Sequence[str]) -> None:
        """Give a place back."""
        self._total -= 1
        for share in shares:
            self._taken[share] -= 1
            if not self._taken[share]:
                del self._taken[share]

    def wait(self, session: Session) -> None:
        """Note that a session waits for its client."""
        self._waiting[session.id] = session
        for share in session.shares:
            self._waiting_of.setdefault(share, OrderedDict())[session.id] = session

    def wait_no_longer(self, session: Session) -> None:
        """Note that its client has come back, or that it has ended."""
        if self._waiting.pop(session.id, None) is None:
            return
        for share in session.shares:
            of_share = self._waiting_of[share]
            del of_share[session.id]
            if not of_share:
                del self._waiting_of[share]

    def in_the_way(self, claims: Sequence[Claim]) -> list[Session]:
        """Return the sessions that are to end before there is a place for another one with these claims.

        Raises:
            ProtocolError: ``too_many_sessions`` where all that have a place are in use.
        """
        going: list[Session] = []
        for claim in claims:
            if claim.most is None:
                continue
            taken = self._taken[claim.share] - sum(claim.share in each.shares for each in going)
            for _ in range(claim.most, taken + 1):  # more than one where it was allowed more before
                waiting: Mapping[str, Session] = self._waiting_of.get(claim.share, {})
                going.append(self._idle(waiting, going, claim.refusal, claim.scope))
        if self._total - len(going) >= self._most:
            going.append(self._idle(self._waiting, going, "The server has no room for another session.", "server"))
        return going

    def _idle(self, waiting: Mapping[str, Session], going: Sequence[Session], refusal: str, scope: str) -> Session:
        self._tell(refusal)
        idle = next((each for each in waiting.values() if not each.tasks and each not in going), None)
        if idle is None:
            raise ProtocolError(ErrorCode.TOO_MANY_SESSIONS, refusal, scope=scope)
        return idle

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning("%s Those that wait with nothing to do make room first.", text)
