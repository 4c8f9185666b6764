"""What one connection says is read, routed to its session, and where it is wrong, answered."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar, assert_never, cast

from agentsocket.connection.attempt import login_attempt
from agentsocket.connection.connection import AgentConnection
from agentsocket.connection.expiry import Expiry
from agentsocket.connection.limits import UNCOUNTED, ErrorBudget, TokenBucket
from agentsocket.connection.writer import FrameWriter
from agentsocket.identity.reception import FailedLogin, Reception
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
from agentsocket.session.instance import Instance
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Session
from agentsocket.session.visitor import Visitor

logger = logging.getLogger("agentsocket.login")

T = TypeVar("T")

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
        self._failed_logins = 0
        self._names_features = False
        self._rate = TokenBucket(self._settings.rate_limit, self._settings.rate_burst)
        self._errors = ErrorBudget(self._settings.max_errors)
        self._expiry = Expiry()
        self._expect_login()

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
            return self._try_login(frame)
        return self._dispatch(frame, self._logged_in(**ids))

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

    def _try_login(self, login: Login) -> asyncio.Task[None] | None:
        try:
            return self._login(login)
        except ProtocolError as exc:
            self._note(exc)
            raise

    def _login(self, login: Login) -> asyncio.Task[None] | None:
        if self._session is not None:
            raise ProtocolError(ErrorCode.ALREADY_LOGGED_IN, "This connection is logged in; log out first.")
        self._names_features = login.features is not None
        user = None if self._reception.is_open else self._prove(login)
        if isinstance(user, Awaitable):
            self._connection.keep_alive()
            return self._manager.keep(asyncio.create_task(self._login_later(login, user)))
        entered = self._admit(login, user)
        if entered is None:
            return None
        self._connection.keep_alive()
        return self._manager.keep(asyncio.create_task(self._login_later(login, entered=entered)))

    def _prove(self, login: Login) -> User | Awaitable[User | None] | None:
        agent, resuming = self._manager.wanted(login), login.session_id is not None
        attempt = login_attempt(self._connection, login.token, login.params or {}, agent, resuming=resuming)
        return self._reception.prove(attempt)

    async def _login_later(
        self,
        login: Login,
        user: Awaitable[User | None] | None = None,
        entered: Coroutine[Any, Any, None] | None = None,
    ) -> None:
        """Go on with a login that takes its time: to prove who it is, to make the agent, or both."""
        try:
            if user is not None:
                entered = self._admit(login, await self._while_connected(user))
            if entered is not None:
                await entered
        except ProtocolError as exc:
            self._expect_login()
            self._note(exc)
            self._refuse(ErrorFrame.of(exc))

    def _admit(self, login: Login, user: User | None) -> Coroutine[Any, Any, None] | None:
        """Take a session up or open one; what comes back has to wait for its agent."""
        visitor = Visitor(user, self._connection.client_address, self._connection.share)
        if login.session_id is not None:
            try:
                self._enter(login, *self._manager.resume(login, visitor))
            except ProtocolError as exc:
                if exc.code is not ErrorCode.SESSION_NOT_FOUND or not self._manager.continues(login):
                    raise
            else:
                return None
        if self._manager.continues(login) or self._manager.counts_conversations(visitor):
            return self._open_kept(login, visitor)
        agent = self._manager.new_agent(login, visitor)
        if isinstance(agent, Awaitable):
            return self._open_with(agent, login, visitor)
        self._enter(login, *self._manager.open(login, agent, visitor))
        return None

    async def _open_with(self, agent: Awaitable[Instance], login: Login, visitor: Visitor) -> None:
        instance = await self._while_connected(agent)
        self._enter(login, *self._manager.open(login, instance, visitor))

    async def _open_kept(self, login: Login, visitor: Visitor) -> None:
        entered = await self._while_connected(self._manager.open_kept(login, visitor))
        self._enter(login, *entered)

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
            known = await self._while_connected(user)
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
        self._note(error)
        self._answer_only(ErrorFrame.of(error).model_copy(update={"request_id": refresh.request_id}))

    def _answer_only(self, error: ErrorFrame) -> None:
        """Answer what this connection alone has asked: not numbered, not kept."""
        self.writer.write(encode(error))
        self._count(error.code)

    async def _while_connected(self, work: Awaitable[T]) -> T:
        """Wait for part of a login; a connection that is lost meanwhile gives it up."""
        login = cast("asyncio.Task[None]", asyncio.current_task())

        def give_up(_: object) -> None:
            login.cancel()

        self._connection.lost.add_done_callback(give_up)
        try:
            return await work
        finally:
            self._connection.lost.remove_done_callback(give_up)

    def _note(self, error: ProtocolError) -> None:
        """Tell the operator, once for each login that is refused: by whom it was tried, and why not."""
        self._failed_logins += isinstance(error, FailedLogin)
        if error.code is ErrorCode.AUTHENTICATION_UNAVAILABLE:
            return  # that stands in the log, with what the operator needs to know of it
        level = logging.WARNING if error.code is ErrorCode.AUTHENTICATION_FAILED else logging.INFO
        logger.log(level, "login from %s refused: %s, %s", self._connection.client_address, error.code, error)

    def _enter(self, login: Login, session: Session, response: LoginResponse) -> None:
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

    def _expect_login(self) -> None:
        self._connection.expect(self._settings.login_timeout, CloseCode.LOGIN_TIMEOUT, "no login in time")

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
        if self._failed_logins >= MAX_FAILED_LOGINS:
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
