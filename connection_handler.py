"""What one connection says is read, routed to its session, and where it is wrong, answered."""

import asyncio
import hmac
import itertools
from typing import assert_never

from websockets.exceptions import ConnectionClosed

import logs
from connection import AgentConnection, CloseCode
from limits import ErrorBudget, TokenBucket
from protocol import (
    AgentRequest,
    CancelRequest,
    ErrorCode,
    ErrorFrame,
    InputResponse,
    Login,
    LoginResponse,
    Logout,
    LogoutResponse,
    ProtocolError,
    decode_client_frame,
    encode,
)
from session import Session, SessionManager
from writer import FrameWriter

FAIR_SHARE = 50
"""Messages of one connection after which it is the others' turn: reading what is buffered never waits by itself."""

MAX_UNREAD = 1024 * 1024
"""Bytes that a client may leave unread before its own messages have to wait."""

MAX_FAILED_LOGINS = 3

UNCOUNTED = {
    ErrorCode.RATE_LIMITED,
    ErrorCode.TOO_MANY_TASKS,
    ErrorCode.TOO_MANY_SESSIONS,
    ErrorCode.UNKNOWN_TASK,
    ErrorCode.AGENT_UNAVAILABLE,
    ErrorCode.SHUTTING_DOWN,
}
"""What an honest client runs into; it does not count towards "too many errors"."""


class HangUp(Exception):  # noqa: N818  # an order, not an error
    """Close the connection with this code."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class ConnectionHandler:
    """Serves one connection from its handshake to its end."""

    def __init__(self, connection: AgentConnection, manager: SessionManager) -> None:
        self._connection, self._manager, self._settings = connection, manager, manager.settings
        self._session: Session | None = None
        self._failed_logins = 0
        self._rate = TokenBucket(self._settings.rate_limit, self._settings.rate_burst)
        self._errors = ErrorBudget(self._settings.max_errors)
        self._login_timer = self._expect_login()

    @property
    def writer(self) -> FrameWriter:
        """Where frames for this client go."""
        return self._connection.writer

    def displaced(self) -> None:
        """Close: a newer connection has taken the session up."""
        self._session = None
        self._connection.hang_up(CloseCode.TAKEN_OVER, "the session was taken up by a newer connection")

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            await self._read()
        except HangUp as exc:
            self._connection.hang_up(exc.code, exc.reason)
        except ConnectionClosed:
            pass  # no error: that is how connections end
        finally:
            self._login_timer.cancel()
            if self._session is not None:
                await self._manager.leave(self._session, self)

    async def _read(self) -> None:
        for count in itertools.count(1):
            message = await self._connection.recv()
            if not isinstance(message, str):
                raise HangUp(CloseCode.UNSUPPORTED_DATA, "a frame is a text message")
            try:
                await self._receive(message)
            except ProtocolError as exc:
                self._refuse(exc.frame)
            if count % FAIR_SHARE == 0:
                await asyncio.sleep(0)
            while self.writer.lag > MAX_UNREAD:
                await self.writer.drained()

    async def _receive(self, message: str) -> None:
        allowed = self._rate.take()
        if self._rate.flooded:
            raise HangUp(CloseCode.RATE_LIMITED, "too many messages")
        frame = decode_client_frame(message)
        request_id = frame.request_id if isinstance(frame, AgentRequest) else None
        if not allowed:
            raise ProtocolError(ErrorCode.RATE_LIMITED, "That was too fast: wait a second.", request_id=request_id)
        if isinstance(frame, Login):
            await self._login(frame)
        elif self._session is None:
            raise ProtocolError(ErrorCode.NOT_LOGGED_IN, "Log in first.", request_id=request_id)
        else:
            await self._dispatch(frame, self._session)

    async def _dispatch(self, frame: AgentRequest | CancelRequest | InputResponse | Logout, session: Session) -> None:
        match frame:
            case AgentRequest():
                session.start(frame)
            case CancelRequest():
                session.cancel(frame)
            case InputResponse():
                session.answer(frame)
            case Logout():
                await self._manager.end(session, farewell=LogoutResponse())
                self._session = None
            case _:
                assert_never(frame)

    async def _login(self, login: Login) -> None:
        if self._session is not None:
            raise ProtocolError(ErrorCode.ALREADY_LOGGED_IN, "This connection is logged in; log out first.")
        self._authenticate(login)
        self._login_timer.cancel()
        try:
            session, response = await self._enter(login)
        except ProtocolError:
            self._login_timer = self._expect_login()
            raise
        self._connection.protocol.max_message_size = self._settings.max_message_size
        self._session = session
        logs.IDS.set(f"{logs.IDS.get().partition(' session=')[0]} session={session.id}")
        self.writer.write(encode(response))
        session.attach(self, after=login.last_seq or 0 if response.lossless else None)

    async def _enter(self, login: Login) -> tuple[Session, LoginResponse]:
        return await self._manager.open(login) if login.session_id is None else self._manager.resume(login)

    def _expect_login(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(
            self._settings.login_timeout, self._connection.hang_up, CloseCode.LOGIN_TIMEOUT, "no login in time"
        )

    def _authenticate(self, login: Login) -> None:
        token = self._settings.auth_token
        if token is None:
            return
        given = self._bearer() if login.token is None else login.token.encode()
        if hmac.compare_digest(token.encode(), given):
            return
        self._failed_logins += 1
        refusal = ProtocolError(ErrorCode.AUTHENTICATION_FAILED, "A login needs the right token.")
        if self._failed_logins < MAX_FAILED_LOGINS:
            raise refusal
        self._refuse(refusal.frame)
        raise HangUp(CloseCode.AUTHENTICATION_FAILED, "authentication failed too often")

    def _bearer(self) -> bytes:
        """Return the token of the handshake's ``Authorization`` header, as the bytes that came."""
        request = self._connection.request
        given = request.headers.get_all("Authorization") if request is not None else []
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""

    def _refuse(self, error: ErrorFrame) -> None:
        if self._session is not None:
            self._session.say(error)
        else:
            self.writer.write(encode(error))
        if error.code not in UNCOUNTED and not self._errors.spend():
            raise HangUp(CloseCode.TOO_MANY_ERRORS, "too many errors")
