"""Where every login comes by: it is proved, and whoever fails too often has to wait."""

import logging
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable
from typing import Final

from agentsocket.addresses import address_group
from agentsocket.identity.authenticator import Anybody, AuthenticationUnavailable, Authenticator, ExpiredLogin
from agentsocket.identity.user import AuthError, LoginAttempt, User, sendable
from agentsocket.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger("agentsocket.identity")

MINUTE: Final = 60.0

MAX_ADDRESSES: Final = 10_000
"""Addresses whose failed logins are remembered; the one that failed longest ago is forgotten first."""

UNAVAILABLE_FOR: Final = 2.0
"""Seconds after which a client may try again what could not be checked."""


class FailedLogin(ProtocolError):  # noqa: N818  # it says what happened
    """A login that is refused and counts: somebody may be guessing."""


class FailedLogins:
    """Counts the logins that failed within the last minute, by address; of IPv6 a whole /64 counts as one."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Count one."""
        if self._limit is None:
            return
        group = address_group(address)
        times = self._times.setdefault(group, deque(maxlen=self._limit))
        times.append(time.monotonic())
        self._times.move_to_end(group)
        if len(self._times) > MAX_ADDRESSES:
            self._times.popitem(last=False)

    def wait(self, address: str) -> float:
        """Return for how many seconds this address may not try again; zero where it may."""
        times = self._times.get(address_group(address))
        if times is None or len(times) < (self._limit or math.inf):
            return 0.0
        return max(0.0, times[0] + MINUTE - time.monotonic())


class Reception:
    """Proves logins by the server's one method, and counts those that fail."""

    def __init__(self, authenticator: Authenticator, max_failed_logins: int | None) -> None:
        self.authenticator = authenticator
        self.is_open = isinstance(authenticator, Anybody)
        """Whether there is nothing to prove."""
        self._failed = FailedLogins(max_failed_logins)

    def prove(self, attempt: LoginAttempt) -> User | Awaitable[User | None] | None:
        """Return who is there, or None for nobody by name; to be awaited where it takes time.

        Raises:
            ProtocolError: ``authentication_failed``, ``authentication_unavailable``, or ``rate_limited`` where too many
                have failed from this address; so may the awaiting.
        """
        if wait := self._failed.wait(attempt.address):
            text = "Too many logins have failed from your address. Wait a minute."
            raise ProtocolError(ErrorCode.RATE_LIMITED, text, retry_after=math.ceil(wait), scope="server")
        try:
            user = self.authenticator.authenticate(attempt)
        except (AuthError, AuthenticationUnavailable) as exc:
            raise self._answer(exc, attempt) from exc
        return self._await(user, attempt) if isinstance(user, Awaitable) else user

    def refused(self, error: ProtocolError, address: str) -> FailedLogin:
        """Count a proof that was right, and is refused all the same; return the error as one that counts."""
        self._failed.count(address)
        return FailedLogin(error.code, error.message, **error.fields)

    async def _await(self, user: Awaitable[User | None], attempt: LoginAttempt) -> User | None:
        try:
            return await user
        except (AuthError, AuthenticationUnavailable) as exc:
            raise self._answer(exc, attempt) from exc

    def _answer(self, failure: AuthError | AuthenticationUnavailable, attempt: LoginAttempt) -> ProtocolError:
        """Return what the client is told of what went wrong. Of what could not be checked the log has the details."""
        if isinstance(failure, AuthenticationUnavailable):
            error_id = secrets.token_hex(4)
            cause = failure.__cause__
            template = "a login from %s could not be checked: %s, error_id=%s"
            logger.error(template, attempt.address, failure, error_id, exc_info=cause)
            text = "Whether this login is right cannot be checked now. Try again."
            code = ErrorCode.AUTHENTICATION_UNAVAILABLE
            return ProtocolError(code, text, error_id=error_id, retry_after=UNAVAILABLE_FOR)
        text = sendable(str(failure)) or "This login is refused."
        if isinstance(failure, ExpiredLogin):
            return ProtocolError(ErrorCode.AUTHENTICATION_FAILED, text)
        self._failed.count(attempt.address)
        return FailedLogin(ErrorCode.AUTHENTICATION_FAILED, text)
