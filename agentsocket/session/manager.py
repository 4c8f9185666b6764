"""All sessions of the process: how they begin, are taken up again and end, and what they may use together."""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from agentsocket.agent.contract import AgentFactory, Context
from agentsocket.containment.threads import Threads
from agentsocket.conversations.contract import StoreError
from agentsocket.conversations.engines import folder_beside, store_for
from agentsocket.files.shelf import Shelf
from agentsocket.files.store import FileStore, Holder, user_holder
from agentsocket.identity.user import User
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import (
    AboutConversations,
    AgentRequest,
    ListConversations,
    Login,
    LoginResponse,
    LogoutResponse,
)
from agentsocket.protocol.frames import (
    Conversations as ConversationsFrame,
)
from agentsocket.session.agent_task import AgentTask, all_over
from agentsocket.session.budget import Budget
from agentsocket.session.conversations import Conversations
from agentsocket.session.instance import Instance
from agentsocket.session.keeper import Keeper
from agentsocket.session.making import AgentMaker
from agentsocket.session.places import Claim, Places
from agentsocket.session.session import Client, Session
from agentsocket.session.users import Users
from agentsocket.session.visitor import Visitor
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.session")

T = TypeVar("T")

STOPPING = 0.8
"""Seconds that agents have to stop once a shutdown has cancelled them."""


class SessionManager:
    """All sessions of the process, and what they may use together. The first of the agents is the default."""

    def __init__(self, settings: Settings, agents: Mapping[str, AgentFactory]) -> None:
        self.settings = settings
        self.budget = Budget(settings.resume_memory)
        self.sessions: dict[str, Session] = {}
        self.running: set[AgentTask] = set()
        """Every task that still runs, the abandoned ones too: this is what owns them."""
        self.shutting_down = False
        self.threads = Threads(settings.max_threads, "agent-thread")
        """Where synchronous agents and tools run."""
        self.maker = AgentMaker(settings, agents, self.threads, self.keep)
        self.conversations: Conversations | None = None
        if settings.store is None:
            self.files = FileStore(settings)
        else:
            self.files = FileStore(settings, settings.files_dir or folder_beside(settings.store))
            self.conversations = Conversations(settings, store_for(settings.store), self.files)
        self._places = Places(settings.max_sessions)
        self._users = Users(settings)
        self._kept: set[asyncio.Task[Any]] = set()

    def wanted(self, login: Login) -> str:
        """Return the name of the agent that a login is for: the session's, the one that it names, or the first."""
        session = self.sessions.get(login.session_id or "")
        return login.agent or self.maker.default if session is None else session.context.agent

    def new_agent(self, login: Login, visitor: Visitor) -> Instance | Awaitable[Instance]:
        """Make the agent of a new session; one that takes its time is to be awaited at once.

        Raises:
            ProtocolError: ``shutting_down``, ``too_many_sessions`` or ``agent_unavailable``; so may the awaiting.
        """
        self._refuse_while_shutting_down()
        name = self.maker.choose(login, visitor.user)
        claims = self._claims(visitor)
        going = self._places.in_the_way(claims)
        made = self.maker.make(Context(secrets.token_hex(16), visitor.user, login.params or {}, name, visitor.address))
        for idle in going:
            logger.debug("session %s ends: it waits for its client, and another one needs its place", idle.id)
            self.end(idle)
        if not isinstance(made, Awaitable):
            return made
        shares = [claim.share for claim in claims]
        self._places.take(shares)
        return self._expect_agent(made, shares)

    def continues(self, login: Login) -> bool:
        """Whether a login names a conversation, where those are kept."""
        return self.conversations is not None and login.conversation_id is not None

    def counts_conversations(self, visitor: Visitor) -> bool:
        """Whether it is to be looked up how many conversations this visitor has."""
        return self.conversations is not None and visitor.user is not None

    async def tell(self, frame: AboutConversations, session: Session) -> bytes:
        """Return the frame that answers a question about conversations.

        Raises:
            ProtocolError: what ``Conversations.answer`` raises.
        """
        if self.conversations is not None:
            return await self.conversations.answer(frame, session)
        if isinstance(frame, ListConversations):
            return encode(ConversationsFrame(conversations=[], request_id=frame.request_id))
        raise ProtocolError(ErrorCode.CONVERSATION_NOT_FOUND, "This server keeps no conversations.")

    async def open_kept(self, login: Login, visitor: Visitor) -> tuple[Session, LoginResponse]:
        """Open a session where conversations are kept: of a new one, of one that goes on, or the living one of it.

        Raises:
            ProtocolError: as ``new_agent``, and what ``Conversations.claim`` and ``check_room`` raise.
        """
        conversations = self.conversations
        assert conversations is not None  # noqa: S101  # whoever calls this has looked
        self._refuse_while_shutting_down()
        if login.conversation_id is None:
            await conversations.check_room(visitor)
            instance = await self._made(login, visitor)
            return self.open(login, instance, visitor, conversations.begin(instance.context.agent, visitor))
        place = await conversations.claim(login, visitor)
        if isinstance(place, Session):
            return self._take_over(place, login, visitor)
        entered = False
        try:
            instance = await self._made(login.model_copy(update={"agent": place.conversation.agent}), visitor)
            try:
                restored = await conversations.restore(place, instance)
                files = await self.files.restore(place.files)
            except BaseException:
                self.maker.close(instance)
                raise
            session, response = self.open(login, instance, visitor, conversations.keeper(place))
            entered = True
        finally:
            if not entered:
                conversations.give_up(place.conversation.id)
        session.restore(files)
        response.memory = "restored" if restored else "none"
        return session, response

    def ended(self, session: Session) -> None:
        """Let others have the conversation of a session that has ended."""
        if self.conversations is not None and session.keeper is not None:
            self.conversations.give_up(session.keeper.conversation.id)

    def open(
        self, login: Login, instance: Instance, visitor: Visitor, keeper: Keeper | None = None
    ) -> tuple[Session, LoginResponse]:
        """Open a session, with what ``new_agent`` has made for the same login and visitor."""
        if keeper is None and self.conversations is not None:
            keeper = self.conversations.begin(instance.context.agent, visitor)
        introduce = self.maker.introduce(instance)
        shares = [claim.share for claim in self._claims(visitor)]
        session = Session(instance, self, shares, resumable=bool(login.resumable), introduce=introduce)
        session.address_share = visitor.share
        session.speak(login.features or ())
        self.sessions[session.id] = session
        self._places.take(shares)
        logger.debug("session %s opened", session.id)
        response = LoginResponse(
            session_id=session.id, resumable=login.resumable or None, resume_token=session.resume_token
        )
        if keeper is not None and self.conversations is not None:
            session.keeper = keeper
            response.conversation_id = keeper.conversation.id
            self.conversations.entered(session, keeper.conversation.id)
        return session, response

    def resume(self, login: Login, visitor: Visitor) -> tuple[Session, LoginResponse]:
        """Take up a session that was opened earlier.

        Raises:
            ProtocolError: ``session_not_found``, one and the same answer whatever was wrong; ``agent_unavailable``
                where the user may not have its agent any more; ``invalid_frame`` for a ``last_seq`` that was never
                given out; ``rate_limited``; ``shutting_down``.
        """
        self._refuse_while_shutting_down()
        session = self.sessions.get(login.session_id or "")
        token = (session and session.resume_token) or secrets.token_urlsafe(16)
        right = hmac.compare_digest(token.encode(), (login.resume_token or "").encode())
        if session is None or not right or not visitor.owns(session.context.user):
            raise ProtocolError(ErrorCode.SESSION_NOT_FOUND, "There is no such session to take up.")
        if visitor.user is not None and not visitor.user.may_have(session.context.agent):
            raise ProtocolError(ErrorCode.AGENT_UNAVAILABLE, "You may not have this session's agent any more.")
        last_seq = login.last_seq or 0
        if not session.has_said(last_seq):
            raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'last_seq': no frame has that number yet.")
        response = session.describe(last_seq, login.features or ())
        logger.info("session %s taken up", session.id)
        return session, self._taken_up(session, response, login, visitor)

    def _taken_up(self, session: Session, response: LoginResponse, login: Login, visitor: Visitor) -> LoginResponse:
        self._places.wait_no_longer(session)
        params = session.context.params if login.params is None else login.params
        session.context = replace(session.context, user=visitor.user, params=params, address=visitor.address)
        if session.keeper is not None:
            response.conversation_id = session.keeper.conversation.id
        return response

    def _take_over(self, session: Session, login: Login, visitor: Visitor) -> tuple[Session, LoginResponse]:
        """Take up the living session of a conversation; nothing is said again."""
        response = session.describe(None, login.features or ())
        logger.info("session %s taken up by its conversation", session.id)
        return session, self._taken_up(session, response, login, visitor)

    async def _made(self, login: Login, visitor: Visitor) -> Instance:
        made = self.new_agent(login, visitor)
        return await made if isinstance(made, Awaitable) else made

    def refresh(self, session: Session, user: User | None) -> None:
        """Let a login go on, by what is known of its user now.

        Raises:
            ProtocolError: ``authentication_failed`` where it is another user, or may not have the session's agent.
        """
        if not Visitor(user).owns(session.context.user):
            raise ProtocolError(ErrorCode.AUTHENTICATION_FAILED, "This is another user's.")
        if user is not None and not user.may_have(session.context.agent):
            raise ProtocolError(ErrorCode.AUTHENTICATION_FAILED, "You may not have this session's agent any more.")
        session.context = replace(session.context, user=user)

    def admit(self, session: Session, request: AgentRequest) -> None:
        """Check that there is room for one more task.

        Raises:
            ProtocolError: ``too_many_tasks``, ``shutting_down``, or what the user's own limits say.
        """
        self._refuse_while_shutting_down(request.request_id)
        if len(session.tasks) >= self.settings.max_tasks:
            text, scope = "The session runs as many tasks as it may.", "session"
        elif len(self.running) >= self.settings.max_total_tasks:
            text, scope = "The server is at its limit of tasks.", "server"
        elif session.context.user is not None:
            return self._users.admit(session.context.user, request.request_id)
        else:
            return None
        raise ProtocolError(ErrorCode.TOO_MANY_TASKS, text, request_id=request.request_id, scope=scope)

    def begin(self, task: AgentTask) -> None:
        """Own a task that is about to run."""
        self.running.add(task)
        if (user := task.turn.context.user) is not None:
            self._users.begin(user)

    def over(self, task: AgentTask) -> None:
        """Let go of a task that has ended."""
        self.running.discard(task)
        if (user := task.turn.context.user) is not None:
            self._users.over(user)

    def leave(self, session: Session, client: Client) -> None:
        """The connection of this client is lost: a resumable session waits for the next one, any other ends."""
        if session.client is not client or session.id not in self.sessions:
            return  # taken up by a newer connection, or over
        if session.resumable:
            session.detach()
            self._places.wait(session)
        else:
            self.end(session)

    def end(self, session: Session, *, farewell: LogoutResponse | None = None) -> asyncio.Task[None] | None:
        """End a session: nobody can take it up from now on. One that is ending already is left to whoever ends it."""
        if self.sessions.pop(session.id, None) is None:
            return None
        self._places.wait_no_longer(session)
        self._places.give_back(session.shares)
        return self.keep(asyncio.create_task(session.end(farewell)))

    def expire(self, session: Session) -> None:
        """End a session that nobody came back to."""
        logger.info("session %s expires: nobody came back to it", session.id)
        self.end(session)

    async def drain(self, grace: float) -> None:
        """Take nothing new, wait ``grace`` seconds for the running tasks, then stop them."""
        self.shutting_down = True
        await all_over(self.running, grace)
        for task in list(self.running):
            task.cancel()
        await all_over(self.running, STOPPING)
        for task in list(self.running):
            task.abandon()

    async def close(self) -> None:
        """End every session, and wait for whatever began or ended one already."""
        for session in list(self.sessions.values()):
            self.end(session)
        while self._kept:
            await asyncio.wait(self._kept)

    async def prepare(self) -> None:
        """Make ready what sessions are kept in.

        Raises:
            OSError: if files cannot be written where they were to be.
            StoreError: if conversations cannot be kept.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.files.prepare)
        except OSError as exc:
            if self.conversations is None:
                raise
            raise StoreError(f"its files cannot be kept: {exc.strerror or exc}") from exc
        if self.conversations is not None:
            await self.conversations.open()

    async def close_store(self) -> None:
        """Let go of the store, when all sessions have ended."""
        if self.conversations is not None:
            await self.conversations.close()

    def release(self) -> None:
        """Let go of the threads that have nothing to do; nothing new is run in any."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.maker.release()
        self.files.close()

    def shelf(self, session: Session) -> Shelf:
        """Return the place for a session's files."""
        holders = [Holder(f"session {session.id}", "session", "This session has no room for more files.")]
        if session.context.user is not None:
            holders.append(user_holder(session.context.user.id))
        elif session.address_share:
            text = "Your address has no room for more files."
            holders.append(Holder(f"address {session.address_share}", "server", text))
        return Shelf(self.files, holders, self.keep)

    def keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Own a task until it is done: the loop itself would let it be collected."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    def _claims(self, visitor: Visitor) -> list[Claim]:
        """Return what a session of this visitor counts for."""
        claims = []
        if visitor.user is not None:
            own, setting = visitor.user.max_sessions, self.settings.max_sessions_per_user
            text = "You have as many sessions as you may."
            claims.append(Claim(f"user {visitor.user.id}", setting if own is None else own, "user", text))
        if visitor.share and (most := self.settings.max_sessions_per_address) is not None:
            text = "Your address has as many sessions as it may."
            claims.append(Claim(f"address {visitor.share}", most, "server", text))
        return claims

    async def _expect_agent(self, made: Awaitable[Instance], shares: Sequence[str]) -> Instance:
        try:
            instance = await made
        finally:
            self._places.give_back(shares)
        try:
            self._refuse_while_shutting_down()
        except ProtocolError:
            self.maker.close(instance)
            raise
        return instance

    def _refuse_while_shutting_down(self, request_id: str | None = None) -> None:
        if self.shutting_down:
            text = "The server is shutting down."
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, text, request_id=request_id)
