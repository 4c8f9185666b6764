"""A login that ends is renewed in time."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from agentsocket.client.credentials import Credentials
from agentsocket.client.errors import ClientError, NoToken, ServerError
from agentsocket.client.exchange import Request
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import Refresh

logger = logging.getLogger("agentsocket.client")

AHEAD: Final = 10.0
"""Seconds before its end in which a login is renewed."""

AT_LEAST = 1.0
"""Seconds between two attempts."""

MAX_REFUSED: Final = 2
"""Tokens refused on one connection: at the third the server hangs up for good. Where the login then ends, it does so
with a code that says to come back."""


class Renewal:
    """Knows when the login of one connection ends, and keeps that away with fresh tokens, where there are any."""

    def __init__(self, credentials: Credentials, ask: Callable[[str, Request], Awaitable[str]]) -> None:
        """Start without a login; ``ask`` sends a request, under an id, and returns when it is answered."""
        self._credentials, self._ask = credentials, ask
        self._ends_at: float | None = None
        self._refused = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def left(self) -> float | None:
        """Seconds until the login ends, none where it does not; below zero once it has."""
        return None if self._ends_at is None else self._ends_at - time.monotonic()

    def begin(self, expires_in: float | None) -> None:
        """A login has begun, which ends in so many seconds, or does not."""
        self.end()
        self.extend(expires_in)
        if expires_in is not None and self._credentials.renewable:
            self._keeping = asyncio.create_task(self._keep(), name="websocket client renewal")

    def extend(self, expires_in: float | None) -> None:
        """The login goes on for so many seconds from now, or without an end."""
        self._ends_at = None if expires_in is None else time.monotonic() + expires_in

    def end(self) -> None:
        """There is no login any more, or no connection."""
        self._ends_at, self._refused = None, 0
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    async def _keep(self) -> None:
        wait = 0.0
        while self._refused < MAX_REFUSED and (left := self.left) is not None:
            await asyncio.sleep(max(wait, pause(left)))
            wait = await self._renew()

    async def _renew(self) -> float:
        """Try to renew the login; return the seconds to wait for at least, where the server says so."""
        try:
            await self._send(await self._credentials.renew())
        except ClientError as exc:
            logger.warning("the login could not be renewed: %s", exc)
            if isinstance(exc, ServerError):
                self._refused += exc.code == ErrorCode.AUTHENTICATION_FAILED
                return exc.retry_after or 0.0
        return 0.0

    async def _send(self, token: str | None) -> None:
        if token is None:
            raise NoToken("There is no fresh token.")
        request_id = uuid.uuid4().hex
        await self._ask(request_id, Request(Refresh(token=token, request_id=request_id)))


def pause(left: float) -> float:
    """Return the seconds until a login that ends in ``left`` seconds is renewed, also where the last attempt failed.

    That is ten seconds before its end, or half of the time where it is shorter.
    """
    return max(AT_LEAST, left - AHEAD if left > AHEAD else left / 2)
