"""How a connection logs in: who it is, and which session it gets."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol, TypeVar, cast

from agentsocket.connection.attempt import login_attempt
from agentsocket.connection.connection import AgentConnection
from agentsocket.identity.reception import FailedLogin, Reception
from agentsocket.identity.user import User
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import Login, LoginResponse
from agentsocket.session.instance import Instance
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Session
from agentsocket.session.visitor import Visitor

logger = logging.getLogger("agentsocket.login")

T = TypeVar("T")


class Guest(Protocol):
    """Whoever logs in: the reader of the connection. It is held only as long as a login takes, since it holds us."""

    def enter(self, login: Login, session: Session, response: LoginResponse) -> None:
        """Begin to serve a session."""

    def refuse(self, error: ProtocolError) -> None:
        """Answer what failed later on."""


class Entrance:
    """The logins of one connection, one after the other."""

    def __init__(self, connection: AgentConnection, manager: SessionManager, reception: Reception) -> None:
        self.failed = 0
        """Logins of nobody who is let in."""
        self._connection, self._manager, self._reception = connection, manager, reception
        self._expect_login()

    def log_in(self, login: Login, guest: Guest) -> asyncio.Task[None] | None:
        """Log in; where a task comes back it takes its time.

        Raises:
            ProtocolError: where the login is refused.
        """
        try:
            return self._log_in(login, guest)
        except ProtocolError as exc:
            self.note(exc)
            raise

    def note(self, error: ProtocolError) -> None:
        """Tell the operator, once for each login that is refused: by whom it was tried, and why not."""
        self.failed += isinstance(error, FailedLogin)
        if error.code is ErrorCode.AUTHENTICATION_UNAVAILABLE:
            return  # that stands in the log, with what the operator needs to know of it
        level = logging.WARNING if error.code is ErrorCode.AUTHENTICATION_FAILED else logging.INFO
        logger.log(level, "login from %s refused: %s, %s", self._connection.client_address, error.code, error)

    async def while_connected(self, work: Awaitable[T]) -> T:
        """Wait for part of a login; a connection that is lost meanwhile gives it up."""
        login = cast("asyncio.Task[None]", asyncio.current_task())

        def give_up(_: object) -> None:
            login.cancel()

        self._connection.lost.add_done_callback(give_up)
        try:
            return await work
        finally:
            self._connection.lost.remove_done_callback(give_up)

    def _log_in(self, login: Login, guest: Guest) -> asyncio.Task[None] | None:
        user = None if self._reception.is_open else self._prove(login)
        if isinstance(user, Awaitable):
            return self._go_on(self._prove_and_admit(login, user, guest), guest)
        entered = self._admit(login, user, guest)
        return None if entered is None else self._go_on(entered, guest)

    def _prove(self, login: Login) -> User | Awaitable[User | None] | None:
        agent, resuming = self._manager.wanted(login), login.session_id is not None
        attempt = login_attempt(self._connection, login.token, login.params or {}, agent, resuming=resuming)
        return self._reception.prove(attempt)

    async def _prove_and_admit(self, login: Login, user: Awaitable[User | None], guest: Guest) -> None:
        entered = self._admit(login, await self.while_connected(user), guest)
        if entered is not None:
            await entered

    def _go_on(self, entered: Coroutine[Any, Any, None], guest: Guest) -> asyncio.Task[None]:
        """Go on with a login that takes its time: to prove who it is, to make the agent, or both."""
        self._connection.keep_alive()
        return self._manager.keep(asyncio.create_task(self._answered(entered, guest)))

    async def _answered(self, entered: Coroutine[Any, Any, None], guest: Guest) -> None:
        try:
            await entered
        except ProtocolError as exc:
            self._expect_login()
            self.note(exc)
            guest.refuse(exc)

    def _admit(self, login: Login, user: User | None, guest: Guest) -> Coroutine[Any, Any, None] | None:
        """Take a session up or open one; what comes back has to wait for its agent."""
        visitor = Visitor(user, self._connection.client_address, self._connection.share)
        if login.session_id is not None and self._resumes(login, visitor, guest):
            return None
        if self._manager.continues(login) or self._manager.counts_conversations(visitor):
            return self._open_kept(login, visitor, guest)
        agent = self._manager.new_agent(login, visitor)
        if isinstance(agent, Awaitable):
            return self._open_with(agent, login, visitor, guest)
        guest.enter(login, *self._manager.open(login, agent, visitor))
        return None

    def _resumes(self, login: Login, visitor: Visitor, guest: Guest) -> bool:
        """Take the session up that the login names; false where there is none, but a conversation to go on with."""
        try:
            resumed = self._manager.resume(login, visitor)
        except ProtocolError as exc:
            if exc.code is ErrorCode.SESSION_NOT_FOUND and self._manager.continues(login):
                return False
            raise
        guest.enter(login, *resumed)
        return True

    async def _open_with(self, agent: Awaitable[Instance], login: Login, visitor: Visitor, guest: Guest) -> None:
        instance = await self.while_connected(agent)
        guest.enter(login, *self._manager.open(login, instance, visitor))

    async def _open_kept(self, login: Login, visitor: Visitor, guest: Guest) -> None:
        guest.enter(login, *await self.while_connected(self._manager.open_kept(login, visitor)))

    def _expect_login(self) -> None:
        seconds = self._manager.settings.login_timeout
        self._connection.expect(seconds, CloseCode.LOGIN_TIMEOUT, "no login in time")
