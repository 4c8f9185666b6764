"""Sessions: one login each, with its own agent instance, its tasks, and the log of what was said to its client."""

import asyncio
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Collection, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from agent_contract import Agent, AgentFactory, Turn
from agent_task import AgentTask, all_over, contained, outcome, told
from encoding import received_frame
from frame_log import FrameLog, LogBudget, Writer
from protocol import (
    AgentRequest,
    CancelRequest,
    ErrorCode,
    InputResponse,
    Login,
    LoginResponse,
    LogoutResponse,
    ProtocolError,
    ServerFrame,
    encode,
)
from settings import Settings

__all__ = ["Agent", "AgentFactory", "Client", "Session", "SessionManager", "Turn"]

logger = logging.getLogger("server.session")

T = TypeVar("T")

REMEMBERED_REQUESTS = 256
"""Request ids that a session remembers, so that a request sent again does not run its agent again."""

STOPPING = 1.0
"""Seconds that agents have to stop once a shutdown has cancelled them."""


class Client(Protocol):
    """Whoever reads a session: one connection."""

    @property
    def writer(self) -> Writer:
        """Where frames for it go."""

    def displaced(self) -> None:
        """Another connection has taken the session up."""


class Session:
    """One agent instance and its tasks. What they say goes into the log, whoever reads that."""

    def __init__(self, agent: Agent, manager: "SessionManager", *, resumable: bool) -> None:
        self.id = secrets.token_hex(16)
        self.resume_token = secrets.token_urlsafe(16) if resumable else None
        self.client: Client | None = None
        self.tasks: dict[str, AgentTask] = {}
        self._agent, self._manager, self._settings = agent, manager, manager.settings
        self._log = FrameLog(
            keeps=resumable,
            max_bytes=self._settings.resume_log_size,
            max_frames=self._settings.resume_log_frames,
            budget=manager.budget,
        )
        self._received: OrderedDict[str, str] = OrderedDict()
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def resumable(self) -> bool:
        """Whether it outlives its connection."""
        return self.resume_token is not None

    def say(self, frame: ServerFrame) -> None:
        """Say something that belongs to no task."""
        self._log.append(encode(frame))

    def start(self, request: AgentRequest) -> None:
        """Start a task, or confirm once more the one that was started under this ``request_id``.

        Raises:
            ProtocolError: ``too_many_tasks`` or ``shutting_down``.
        """
        task_id = self._received.get(request.request_id or "")
        if task_id is None:
            self._manager.admit(self, request)
            task_id = self._start(request)
        # The task's first step comes right behind, and mostly has something to say.
        self._log.append(received_frame(task_id, request.request_id), more_follows=True)

    def cancel(self, request: CancelRequest) -> None:
        """Stop a task.

        Raises:
            ProtocolError: ``unknown_task``.
        """
        self._find(request.task_id).cancel()

    def answer(self, response: InputResponse) -> None:
        """Give a task's question its answer; the first one counts.

        Raises:
            ProtocolError: ``unknown_task`` or ``unknown_input``.
        """
        if not self._find(response.task_id).turn.answer(response.input_id, response.response):
            # Without a task id: an error that carries one says that the task is over.
            raise ProtocolError(ErrorCode.UNKNOWN_INPUT, "No such input is waited for.")

    def attach(self, client: Client, *, after: int | None = None) -> None:
        """Speak to this client from now on, and first say again what came after number ``after``."""
        if self.client is not None:
            self.client.displaced()
        if self._expiry is not None:
            self._expiry.cancel()
        self.client = client
        self._manager.budget.detached.pop(self.id, None)
        self._log.attach(client.writer, after=after)

    def detach(self) -> None:
        """Speak to nobody; the tasks run on. Without a client for ``resume_window`` seconds it ends."""
        self.client = None
        self._log.detach()
        self._manager.budget.detached[self.id] = self._log
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._settings.resume_window, self._manager.expire, self)

    def describe(self, last_seq: int) -> LoginResponse:
        """Return the answer to a client that comes back and has every frame up to ``last_seq``."""
        lossless = last_seq >= self._log.first_seq - 1
        return LoginResponse(
            session_id=self.id,
            resumable=True,
            resume_token=self.resume_token,
            resumed=True,
            lossless=lossless,
            last_seq=self._log.last_seq,
            tasks=self._log.ended + [task.snapshot() for task in self.tasks.values()],
        )

    def has_said(self, seq: int) -> bool:
        """Whether a frame of this number was ever given out."""
        return seq <= self._log.last_seq

    def end(self, farewell: ServerFrame | None = None) -> Coroutine[Any, Any, None]:
        """Stop every task now; what is returned sees each say its last frame, closes the agent, then says farewell."""
        if self._expiry is not None:
            self._expiry.cancel()
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        return self._close(tasks, farewell)

    async def _close(self, tasks: Collection[AgentTask], farewell: ServerFrame | None) -> None:
        await all_over(tasks)
        await self._close_agent()
        if farewell is not None:
            self.say(farewell)
        self.client = None
        self._log.detach()
        self._log.clear()
        logger.debug("session %s ended", self.id)

    def _find(self, task_id: str) -> AgentTask:
        task = self.tasks.get(task_id)
        if task is None:
            raise ProtocolError(ErrorCode.UNKNOWN_TASK, "No such task is running.", task_id=task_id)
        return task

    def _start(self, request: AgentRequest) -> str:
        task = AgentTask(self._agent, request.message, self._log, on_end=self._task_ended)
        self.tasks[task.id] = task
        self._manager.running.add(task)
        if request.request_id:
            self._received[request.request_id] = task.id
            if len(self._received) > REMEMBERED_REQUESTS:
                self._received.popitem(last=False)
        task.start(timeout=self._settings.agent_timeout, cancel_timeout=self._settings.cancel_timeout)
        return task.id

    def _task_ended(self, task: AgentTask) -> None:
        self.tasks.pop(task.id, None)
        if not task.abandoned or task.done:
            self._manager.running.discard(task)

    async def _close_agent(self) -> None:
        aclose = getattr(self._agent, "aclose", None)
        if aclose is not None:
            closing = self._manager.keep(asyncio.create_task(contained(aclose())))
            failure = await outcome(closing, self._settings.cancel_timeout)
            if failure is not None:
                logger.error("the agent of session %s could not be closed", self.id, exc_info=failure)


class SessionManager:
    """All sessions of the process, and what they may use together. The first of the agents is the default."""

    def __init__(self, settings: Settings, agents: Mapping[str, AgentFactory]) -> None:
        self.settings = settings
        self.budget = LogBudget(settings.resume_memory)
        self.sessions: dict[str, Session] = {}
        self.running: set[AgentTask] = set()
        """Every task that still runs, the abandoned ones too: this is what owns them."""
        self.shutting_down = False
        self._agents = agents
        self._opening = 0
        self._kept: set[asyncio.Task[Any]] = set()

    def new_agent(self, login: Login) -> Agent | Awaitable[Agent]:
        """Make the agent of a new session; one that takes its time is to be awaited at once.

        Raises:
            ProtocolError: ``shutting_down``, ``too_many_sessions`` or ``agent_unavailable``; so may the awaiting.
        """
        self._refuse_while_shutting_down()
        create_agent = self._agents.get(login.agent or next(iter(self._agents)))
        if create_agent is None:
            names = ", ".join(self._agents)
            raise ProtocolError(ErrorCode.AGENT_UNAVAILABLE, f"There is no such agent. There are: {names}.")
        if len(self.sessions) + self._opening >= self.settings.max_sessions:
            raise ProtocolError(ErrorCode.TOO_MANY_SESSIONS, "The server has no room for another session.")
        try:
            agent = create_agent()
        except (Exception, SystemExit, KeyboardInterrupt) as exc:
            raise _unavailable(exc) from exc
        if not isinstance(agent, Awaitable):
            return agent
        self._opening += 1
        return self._expect_agent(agent)

    def open(self, login: Login, agent: Agent) -> tuple[Session, LoginResponse]:
        """Open a session."""
        session = Session(agent, self, resumable=bool(login.resumable))
        self.sessions[session.id] = session
        logger.debug("session %s opened", session.id)
        return session, LoginResponse(
            session_id=session.id, resumable=login.resumable or None, resume_token=session.resume_token
        )

    def resume(self, login: Login) -> tuple[Session, LoginResponse]:
        """Take up a session that was opened earlier.

        Raises:
            ProtocolError: ``session_not_found``, one and the same answer whatever was wrong; ``invalid_frame`` for a
                ``last_seq`` that was never given out; ``shutting_down``.
        """
        self._refuse_while_shutting_down()
        session = self.sessions.get(login.session_id or "")
        token = (session and session.resume_token) or secrets.token_urlsafe(16)
        right = hmac.compare_digest(token.encode(), (login.resume_token or "").encode())
        if session is None or not right:
            raise ProtocolError(ErrorCode.SESSION_NOT_FOUND, "There is no such session to take up.")
        last_seq = login.last_seq or 0
        if not session.has_said(last_seq):
            raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'last_seq': no frame has that number yet.")
        logger.info("session %s taken up", session.id)
        return session, session.describe(last_seq)

    def admit(self, session: Session, request: AgentRequest) -> None:
        """Check that there is room for one more task.

        Raises:
            ProtocolError: ``too_many_tasks`` or ``shutting_down``.
        """
        self._refuse_while_shutting_down(request.request_id)
        too_many = len(session.tasks) >= self.settings.max_tasks
        if too_many or len(self.running) >= self.settings.max_total_tasks:
            text = "The session runs as many tasks as it may." if too_many else "The server is at its limit of tasks."
            raise ProtocolError(ErrorCode.TOO_MANY_TASKS, text, request_id=request.request_id)

    def leave(self, session: Session, client: Client) -> None:
        """The connection of this client is lost: a resumable session waits for the next one, any other ends."""
        if session.client is not client or session.id not in self.sessions:
            return  # taken up by a newer connection, or over
        if session.resumable:
            session.detach()
        else:
            self.end(session)

    def end(self, session: Session, *, farewell: LogoutResponse | None = None) -> asyncio.Task[None] | None:
        """End a session: nobody can take it up from now on. One that is ending already is left to whoever ends it."""
        if self.sessions.pop(session.id, None) is None:
            return None
        self.budget.detached.pop(session.id, None)
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
        """End every session."""
        await asyncio.gather(*filter(None, [self.end(session) for session in list(self.sessions.values())]))

    def keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Own a task until it is done: the loop itself would let it be collected."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    async def _expect_agent(self, agent: Awaitable[Agent]) -> Agent:
        try:
            creation = self.keep(asyncio.create_task(contained(agent)))
            failure = await outcome(creation, self.settings.agent_creation_timeout)
        finally:
            self._opening -= 1
        if failure is not None:
            raise _unavailable(failure)
        return creation.result()

    def _refuse_while_shutting_down(self, request_id: str | None = None) -> None:
        if self.shutting_down:
            text = "The server is shutting down."
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, text, request_id=request_id)


def _unavailable(failure: BaseException) -> ProtocolError:
    error_id = secrets.token_hex(4)
    logger.error("no agent could be created, error_id=%s", error_id, exc_info=failure)
    text = told(failure, otherwise="The agent is not available. The server's log has the details.")
    return ProtocolError(ErrorCode.AGENT_UNAVAILABLE, text, error_id=error_id)
