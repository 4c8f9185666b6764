"""What one connection says is read, routed to its session, and where it is wrong, answered."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable
from typing import assert_never, cast

from agentsocket.connection.connection import AgentConnection
from agentsocket.connection.limits import ErrorBudget, TokenBucket
from agentsocket.connection.writer import FrameWriter
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.codec import decode_client_frame, encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import (
    AgentRequest,
    CancelRequest,
    ErrorFrame,
    Heartbeat,
    HeartbeatFrame,
    InputResponse,
    Login,
    LoginResponse,
    Logout,
    LogoutResponse,
    Refresh,
)
from agentsocket.session.instance import Instance
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Session

logger = logging.getLogger("agentsocket.login")

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


HEARTBEAT = encode(HeartbeatFrame())

FEATURES = ("heartbeat",)
"""What this server can do beyond the base; a client is sent the frames of those that it names in its login."""


class ConnectionHandler:
    """Serves one connection from its handshake to its end."""

    def __init__(self, connection: AgentConnection, manager: SessionManager) -> None:
        self._connection, self._manager, self._settings = connection, manager, manager.settings
        self._session: Session | None = None
        self._failed_logins = 0
        self._rate = TokenBucket(self._settings.rate_limit, self._settings.rate_burst)
        self._errors = ErrorBudget(self._settings.max_errors)
        self._expect_login()

    @property
    def writer(self) -> FrameWriter:
        """Where frames for this client go."""
        return self._connection.writer

    def displaced(self) -> None:
        """Close: a newer connection has taken the session up, and with it what this one has not read yet."""
        self._session = None
        self.writer.abandon()
        self._connection.hang_up(CloseCode.TAKEN_OVER, "the session was taken up by a newer connection")

    def receive(self, message: str) -> asyncio.Task[None] | None:
        """Take a message. Where a task comes back, the next message has to wait until that is done."""
        try:
            return self._receive(message)
        except ProtocolError as exc:
            self._refuse(ErrorFrame.of(exc))
            return None

    def end(self) -> None:
        """The connection is closed, and what came of it is done."""
        if self._session is not None:
            self._manager.leave(self._session, self)

    def _receive(self, message: str) -> asyncio.Task[None] | None:
        allowed = self._rate.take()
        if self._rate.flooded:
            self._connection.hang_up(CloseCode.RATE_LIMITED, "too many messages")
            return None
        frame = decode_client_frame(message)
        request_id = frame.request_id if isinstance(frame, AgentRequest) else None
        if not allowed:
            raise ProtocolError(ErrorCode.RATE_LIMITED, "That was too fast: wait a second.", request_id=request_id)
        if isinstance(frame, Login):
            return self._try_login(frame)
        if self._session is None:
            raise ProtocolError(ErrorCode.NOT_LOGGED_IN, "Log in first.", request_id=request_id)
        return self._dispatch(frame, self._session)

    def _dispatch(
        self, frame: AgentRequest | CancelRequest | InputResponse | Refresh | Heartbeat | Logout, session: Session
    ) -> asyncio.Task[None] | None:
        match frame:
            case AgentRequest():
                session.start(frame)
            case CancelRequest():
                session.cancel(frame)
            case InputResponse():
                session.answer(frame)
            case Refresh():
                text = "This login has nothing to renew."
                raise ProtocolError(ErrorCode.AUTHENTICATION_FAILED, text, request_id=frame.request_id)
            case Heartbeat():
                self.writer.write(HEARTBEAT)
            case Logout():
                self._session = None
                return self._manager.end(session, farewell=LogoutResponse())
            case _:
                assert_never(frame)
        return None

    def _try_login(self, login: Login) -> asyncio.Task[None] | None:
        try:
            return self._login(login)
        except ProtocolError as exc:
            self._log_failed(exc)
            raise

    def _login(self, login: Login) -> asyncio.Task[None] | None:
        if self._session is not None:
            raise ProtocolError(ErrorCode.ALREADY_LOGGED_IN, "This connection is logged in; log out first.")
        self._authenticate(login)
        if login.session_id is not None:
            self._enter(login, *self._manager.resume(login))
            return None
        agent = self._manager.new_agent(login, self._connection.share)
        if isinstance(agent, Awaitable):
            self._connection.keep_alive()
            return self._manager.keep(asyncio.create_task(self._login_with(agent, login)))
        self._enter(login, *self._manager.open(login, agent, self._connection.share))
        return None

    async def _login_with(self, agent: Awaitable[Instance], login: Login) -> None:
        try:
            instance = await self._while_connected(agent)
            self._enter(login, *self._manager.open(login, instance, self._connection.share))
        except ProtocolError as exc:
            self._expect_login()
            self._log_failed(exc)
            self._refuse(ErrorFrame.of(exc))

    async def _while_connected(self, agent: Awaitable[Instance]) -> Instance:
        """Wait for an agent; a connection that is lost meanwhile gives it up."""
        login = cast("asyncio.Task[None]", asyncio.current_task())

        def give_up(_: object) -> None:
            login.cancel()

        self._connection.lost.add_done_callback(give_up)
        try:
            return await agent
        finally:
            self._connection.lost.remove_done_callback(give_up)

    def _log_failed(self, error: ProtocolError) -> None:
        """Tell the operator, once for each login that is refused: by whom it was tried, and why not."""
        level = logging.WARNING if error.code is ErrorCode.AUTHENTICATION_FAILED else logging.INFO
        logger.log(level, "login from %s refused: %s, %s", self._connection.address, error.code, error)

    def _enter(self, login: Login, session: Session, response: LoginResponse) -> None:
        self._connection.keep_alive()
        self._connection.protocol.max_message_size = self._settings.max_message_size
        self._connection.log_ids = f"{self._connection.log_ids.partition(' session=')[0]} session={session.id}"
        self._session = session
        if login.features is not None:
            self._tell_terms(response)
        self.writer.write(encode(response))
        self._connection.beat(HEARTBEAT if "heartbeat" in (login.features or ()) else None)
        session.attach(self, after=login.last_seq or 0 if response.lossless else None)

    def _tell_terms(self, response: LoginResponse) -> None:
        """Tell a client what it may rely on and has to keep to."""
        response.features = list(FEATURES)
        response.max_message_size = self._settings.max_message_size
        response.heartbeat = self._settings.ping_interval

    def _expect_login(self) -> None:
        self._connection.expect(self._settings.login_timeout, CloseCode.LOGIN_TIMEOUT, "no login in time")

    def _authenticate(self, login: Login) -> None:
        token = self._settings.auth_token
        if token is None:
            return
        given = self._bearer() if login.token is None else login.token.encode()
        if hmac.compare_digest(token.encode(), given):
            return
        self._failed_logins += 1
        text = "A login needs the right token." if given else "A login needs a token."
        raise ProtocolError(ErrorCode.AUTHENTICATION_FAILED, text)

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
        if self._failed_logins >= MAX_FAILED_LOGINS:
            self._connection.hang_up(CloseCode.AUTHENTICATION_FAILED, "authentication failed too often")
        elif error.code not in UNCOUNTED and not self._errors.spend():
            self._connection.hang_up(CloseCode.TOO_MANY_ERRORS, "too many errors")
