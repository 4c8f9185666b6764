"""What one connection says is read, routed to its session, and where it is wrong, answered."""

import asyncio
import functools
from collections.abc import Awaitable
from typing import Any, assert_never

from agentsocket.connection.attempt import login_attempt
from agentsocket.connection.connection import AgentConnection
from agentsocket.connection.entrance import Entrance
from agentsocket.connection.expiry import Expiry
from agentsocket.connection.limits import UNCOUNTED, ErrorBudget, TokenBucket
from agentsocket.connection.writer import FrameWriter
from agentsocket.identity.reception import Reception
from agentsocket.identity.user import User
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.codec import decode_client_frame, encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import (
    AboutConversations,
    AgentRequest,
    AnyClientFrame,
    CancelRequest,
    DeleteConversation,
    ErrorFrame,
    GetConversation,
    Heartbeat,
    HeartbeatFrame,
    InputResponse,
    ListConversations,
    Login,
    LoginResponse,
    Logout,
    LogoutResponse,
    Refresh,
    RefreshResponse,
    RenameConversation,
    Upload,
    UploadCancel,
    UploadChunk,
    UploadStart,
    UserCard,
)
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Session

MAX_FAILED_LOGINS = 3

PAUSE = 1.0
"""Seconds that who sends too fast is told to wait."""

HEARTBEAT = encode(HeartbeatFrame())

FEATURES = ("heartbeat", "reasoning", "progress", "data", "files")
"""What this server can do beyond the base; a client is sent the frames of those that it names in its login."""


class ConnectionHandler:
    """Serves one connection from its handshake to its end."""

    def __init__(self, connection: AgentConnection, manager: SessionManager, reception: Reception) -> None:
        self._connection, self._manager, self._settings = connection, manager, manager.settings
        self._reception = reception
        self._session: Session | None = None
        self._names_features = False
        self._rate = TokenBucket(self._settings.rate_limit, self._settings.rate_burst)
        self._errors = ErrorBudget(self._settings.max_errors)
        self._expiry = Expiry()
        self._entrance = Entrance(connection, manager, reception)

    @property
    def writer(self) -> FrameWriter:
        """Where frames for this client go."""
        return self._connection.writer

    def displaced(self) -> None:
        """Close: a newer connection has taken the session up, and with it what this one has not read yet."""
        self._session = None
        self._expiry.clear()
        self.writer.abandon()
        self._connection.hang_up(CloseCode.TAKEN_OVER, "the session was taken up by a newer connection")

    def ended(self) -> None:
        """The session has ended, since its conversation was deleted."""
        self._forget_session()

    def enter(self, login: Login, session: Session, response: LoginResponse) -> None:
        """Begin to serve a session."""
        self._connection.keep_alive()
        self._connection.take_messages(self._settings.max_message_size)
        user = session.context.user
        whose = f" user={user.id!r}" if user is not None and self._settings.log_users else ""
        self._connection.log_ids = f"{self._connection.log_ids.partition(' session=')[0]} session={session.id}{whose}"
        self._session = session
        if user is not None:
            response.user, response.expires_in = UserCard(id=user.id, name=user.name), user.expires_in
        self._end_in(response.expires_in)
        if self._names_features:
            self._tell_terms(session, response)
        self.writer.write(encode(response))
        self._connection.beat(HEARTBEAT if "heartbeat" in (login.features or ()) else None)
        session.attach(self, after=login.last_seq or 0 if response.lossless else None)

    def refuse(self, error: ProtocolError) -> None:
        """Answer a login that failed later on."""
        self._refuse(ErrorFrame.of(error))

    def receive(self, message: str) -> asyncio.Task[None] | None:
        """Take a message. Where a task comes back, the next message has to wait until that is done."""
        try:
            return self._receive(message)
        except ProtocolError as exc:
            if exc.event == Refresh.event:
                self._answer_only(ErrorFrame.of(exc))
            else:
                self._refuse(ErrorFrame.of(exc))
            return None

    def end(self) -> None:
        """The connection is closed, and what came of it is done."""
        self._expiry.clear()
        if self._session is not None:
            self._manager.leave(self._session, self)

    def _receive(self, message: str) -> asyncio.Task[None] | None:
        allowed = self._rate.take()
        if self._rate.flooded:
            self._connection.hang_up(CloseCode.RATE_LIMITED, "too many messages")
            return None
        frame = decode_client_frame(message)
        if isinstance(frame, Refresh):
            return self._try_refresh(frame, allowed=allowed)
        ids = _ids(frame)
        self._refuse_unless(allowed, **ids)
        if isinstance(frame, Login):
            return self._log_in(frame)
        return self._dispatch(frame, self._logged_in(**ids))

    def _log_in(self, login: Login) -> asyncio.Task[None] | None:
        if self._session is not None:
            error = ProtocolError(ErrorCode.ALREADY_LOGGED_IN, "This connection is logged in; log out first.")
            self._entrance.note(error)
            raise error
        self._names_features = login.features is not None
        return self._entrance.log_in(login, self)

    def _logged_in(self, **ids: str | None) -> Session:
        if self._session is None:
            raise ProtocolError(ErrorCode.NOT_LOGGED_IN, "Log in first.", **ids)
        return self._session

    def _dispatch(
        self,
        frame: AgentRequest | CancelRequest | InputResponse | Upload | AboutConversations | Heartbeat | Logout,
        session: Session,
    ) -> asyncio.Task[None] | None:
        match frame:
            case AgentRequest() if session.keeper is not None:
                return self._manager.keep(asyncio.create_task(self._start_kept(frame, session)))
            case AgentRequest():
                session.start(frame)
            case CancelRequest():
                session.cancel(frame)
            case InputResponse():
                session.answer(frame)
            case UploadStart() | UploadChunk() | UploadCancel():
                return self._manager.keep(asyncio.create_task(self._take_upload(frame, session)))
            case ListConversations() | GetConversation() | RenameConversation() | DeleteConversation():
                return self._manager.keep(asyncio.create_task(self._answer(frame, session)))
            case Heartbeat():
                self.writer.write(HEARTBEAT)
            case Logout():
                self._forget_session()
                return self._manager.end(session, farewell=LogoutResponse())
            case _:
                assert_never(frame)
        return None

    def _forget_session(self) -> None:
        self._session = None
        self._expiry.clear()
        self._connection.take_messages(self._settings.max_login_size)
        self._connection.log_ids = self._connection.log_ids.partition(" session=")[0]

    async def _start_kept(self, request: AgentRequest, session: Session) -> None:
        """Start a task whose conversation is kept; what comes next waits until the request is."""
        try:
            await session.start_kept(request)
        except ProtocolError as exc:
            self._refuse(ErrorFrame.of(exc))

    async def _answer(self, frame: AboutConversations, session: Session) -> None:
        """Answer a question about conversations."""
        try:
            self.writer.write(await self._manager.tell(frame, session))
        except ProtocolError as exc:
            self._answer_only(ErrorFrame.of(exc).model_copy(update={"request_id": frame.request_id}))

    async def _take_upload(self, frame: Upload, session: Session) -> None:
        """Take part of a file; what comes next waits until that is written."""
        try:
            answer = await session.uploads.take(frame)
        except ProtocolError as exc:
            self._refuse(ErrorFrame.of(exc))
        else:
            if answer is not None:
                self.writer.write(encode(answer))

    def _try_refresh(self, refresh: Refresh, *, allowed: bool) -> asyncio.Task[None] | None:
        try:
            self._refuse_unless(allowed)
            return self._refresh(refresh, self._logged_in())
        except ProtocolError as exc:
            self._answer_refused(exc, refresh)
            return None

    def _refresh(self, refresh: Refresh, session: Session) -> asyncio.Task[None] | None:
        context = session.context
        attempt = login_attempt(self._connection, refresh.token, context.params, context.agent, resuming=True)
        user = self._reception.prove(attempt)
        if isinstance(user, Awaitable):
            return self._manager.keep(asyncio.create_task(self._refresh_later(refresh, session, user)))
        self._renew(refresh, session, user)
        return None

    async def _refresh_later(self, refresh: Refresh, session: Session, user: Awaitable[User | None]) -> None:
        try:
            known = await self._entrance.while_connected(user)
            if self._session is session:  # else a newer connection has it, and knows better
                self._renew(refresh, session, known)
        except ProtocolError as exc:
            self._answer_refused(exc, refresh)

    def _renew(self, refresh: Refresh, session: Session, user: User | None) -> None:
        try:
            self._manager.refresh(session, user)
        except ProtocolError as exc:
            raise self._reception.refused(exc, self._connection.client_address) from exc
        expires_in = None if user is None else user.expires_in
        self._end_in(expires_in)
        self.writer.write(encode(RefreshResponse(request_id=refresh.request_id, expires_in=expires_in)))

    def _answer_refused(self, error: ProtocolError, refresh: Refresh) -> None:
        self._entrance.note(error)
        self._answer_only(ErrorFrame.of(error).model_copy(update={"request_id": refresh.request_id}))

    def _answer_only(self, error: ErrorFrame) -> None:
        """Answer what this connection alone has asked: not numbered, not kept."""
        self.writer.write(encode(error))
        self._count(error.code)

    def _tell_terms(self, session: Session, response: LoginResponse) -> None:
        """Tell a client what it may rely on and has to keep to."""
        response.features = list(FEATURES)
        response.max_message_size = self._settings.max_message_size
        response.heartbeat = self._settings.ping_interval
        response.agent = session.introduce()
        response.agents = self._manager.maker.cards(session.context.user)

    def _end_in(self, expires_in: float | None) -> None:
        """Close the connection some time after its login has ended, if it ends."""
        if expires_in is None:
            self._expiry.clear()
        else:
            hang_up = functools.partial(self._connection.hang_up, CloseCode.LOGIN_EXPIRED, "the login has ended")
            self._expiry.set(expires_in, hang_up)

    def _refuse(self, error: ErrorFrame) -> None:
        if error.scope != "user" and error.upload_id is None and not self._names_features:
            error.scope = None  # of before there were users, when these limits were there already
        if self._session is not None and error.upload_id is None:
            self._session.say(error)
        else:  # an upload's answers are this connection's alone
            self.writer.write(encode(error))
        self._count(error.code)

    def _count(self, code: str) -> None:
        """Hang up on who fails too often."""
        if self._entrance.failed >= MAX_FAILED_LOGINS:
            self._connection.hang_up(CloseCode.AUTHENTICATION_FAILED, "authentication failed too often")
        elif code not in UNCOUNTED and not self._errors.spend():
            self._connection.hang_up(CloseCode.TOO_MANY_ERRORS, "too many errors")

    def _refuse_unless(self, allowed: bool, **ids: str | None) -> None:  # noqa: FBT001  # it reads as it is
        if not allowed:
            more: dict[str, Any] = {"retry_after": PAUSE, "scope": "session"} if self._names_features else {}
            raise ProtocolError(ErrorCode.RATE_LIMITED, "That was too fast: wait a second.", **ids, **more)


def _ids(frame: AnyClientFrame) -> dict[str, str | None]:
    """Return what its answer is known by, in an error too."""
    match frame:
        case AgentRequest():
            return {"request_id": frame.request_id}
        case UploadStart() | UploadChunk() | UploadCancel():
            return {"upload_id": frame.upload_id}
        case ListConversations() | GetConversation() | RenameConversation() | DeleteConversation():
            return {"request_id": frame.request_id}
    return {}
