"""A session: one login, with its own agent instance, its tasks, and the log of what was said to its client."""

import asyncio
import contextvars
import functools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from agentsocket.containment.exits import TOLD
from agentsocket.files.shelf import Shelf
from agentsocket.files.store import StoredFile
from agentsocket.files.uploads import Uploads
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import (
    AgentCard,
    AgentRequest,
    CancelRequest,
    InputResponse,
    LoginResponse,
    LogoutResponse,
    ServerFrame,
)
from agentsocket.session.agent_task import AgentTask, all_over
from agentsocket.session.budget import ITEM, Account, Budget
from agentsocket.session.encoding import received_frame
from agentsocket.session.ends import Ending
from agentsocket.session.frame_log import FrameLog, Writer
from agentsocket.session.instance import Instance
from agentsocket.session.keeper import Keeper
from agentsocket.session.recap import Recap
from agentsocket.session.speech import Speech
from agentsocket.session.transcript import Transcript
from agentsocket.session.turn import Files, Source, TaskTurn
from agentsocket.settings import Settings
from agentsocket.telemetry.logs import IDS

logger = logging.getLogger("agentsocket.session")

T = TypeVar("T")

REMEMBERED_REQUESTS = 256
"""Request ids that a session remembers, so that a request sent again does not run its agent again."""


class Client(Protocol):
    """Whoever reads a session: one connection."""

    @property
    def writer(self) -> Writer:
        """Where frames for it go."""

    def displaced(self) -> None:
        """Another connection has taken the session up."""

    def ended(self) -> None:
        """The session has ended, and not by this client."""


class Owner(Protocol):
    """What a session needs of whoever has all of them: its ``SessionManager``."""

    settings: Settings
    budget: Budget

    def admit(self, session: "Session", request: AgentRequest) -> None:
        """Check that there is room for one more task; raises ``ProtocolError`` where there is none."""

    def begin(self, task: AgentTask) -> None:
        """Own a task that is about to run."""

    def over(self, task: AgentTask) -> None:
        """Let go of a task that has ended."""

    def expire(self, session: "Session") -> None:
        """End a session that nobody came back to."""

    def keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Own a task until it is done."""

    def shelf(self, session: "Session") -> Shelf:
        """Return the place for its files."""

    def end(self, session: "Session", *, farewell: LogoutResponse | None = None) -> object:
        """End a session."""

    def ended(self, session: "Session") -> None:
        """Let others have its conversation: it has ended, and said all but farewell."""


class Session:
    """One agent instance and its tasks. What they say goes into the log, whoever reads that."""

    def __init__(
        self,
        instance: Instance,
        owner: Owner,
        shares: Sequence[str],
        *,
        resumable: bool,
        introduce: Callable[[], AgentCard],
    ) -> None:
        self.introduce = introduce
        """Tells what people are to be told of its agent."""
        self.context = instance.context
        """Whom it is for, as is known now."""
        self.id = self.context.session_id
        self.shares = shares
        """Whose places it has one of."""
        self.address_share = ""
        """What its client's address counts as; empty where that has no limit."""
        self.resume_token = secrets.token_urlsafe(16) if resumable else None
        self.client: Client | None = None
        self.keeper: Keeper | None = None
        """Keeps its conversation, where that is kept."""
        self.ending = False
        self.tasks: dict[str, AgentTask] = {}
        self._instance, self._owner, self._settings = instance, owner, owner.settings
        instance.variables.run(TOLD.set, functools.partial(_exited, self.tasks))
        self._account = Account(owner.budget, self._forget) if resumable else None
        self._log = FrameLog(
            self._account, max_bytes=self._settings.resume_log_size, max_frames=self._settings.resume_log_frames
        )
        self._received: OrderedDict[str, str] = OrderedDict()
        self._recap = Recap(self._log, self.tasks, self._settings.resume_log_size)
        self._expiry: asyncio.TimerHandle | None = None
        self._shelf: Shelf | None = None
        self._accepting = asyncio.Lock()

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
            ProtocolError: ``too_many_tasks``, ``unknown_file`` or ``shutting_down``.
        """
        known = self._received.get(request.request_id or "")
        if known is None:
            attachments = self._attached(request)
            self._owner.admit(self, request)
        task_id = known or self._start(request, attachments)
        # The task's first step comes right behind, and mostly has something to say.
        self._log.append(received_frame(task_id, request.request_id), more_follows=True)
        if known is not None and known not in self.tasks:
            self._recap.tell_end(known)

    async def start_kept(self, request: AgentRequest) -> None:
        """Do what ``start`` does, once the request is kept in the conversation.

        Raises:
            ProtocolError: as ``start``, ``store_unavailable``, and ``not_logged_in`` where it has ended meanwhile.
        """
        assert self.keeper is not None  # noqa: S101  # whoever calls this has looked
        async with self._accepting:
            if self.ending:  # its conversation may be deleted, and is not to be brought back
                raise ProtocolError(ErrorCode.NOT_LOGGED_IN, "The session has ended.", request_id=request.request_id)
            if request.request_id in self._received:
                self.start(request)  # the one before has been kept meanwhile
                return
            attachments = self._attached(request)
            self._owner.admit(self, request)
            task = self._new_task(request, attachments)
            try:
                task.turn.speech.transcript = await self._kept(task, request, attachments)
            except BaseException as exc:
                task.over.set_result(None)
                self._task_ended(task)
                if isinstance(exc, ProtocolError):
                    exc.fields["request_id"] = request.request_id
                raise
            self._log.append(received_frame(task.id, request.request_id), more_follows=True)
            self._run(task, request)

    async def _kept(self, task: AgentTask, request: AgentRequest, attachments: Sequence[StoredFile]) -> Transcript:
        """Keep a request, with the files that it names; where that fails, neither."""
        assert self.keeper is not None  # noqa: S101  # whoever calls this has looked
        new = [file for file in attachments if not file.kept]
        try:
            for file in new:
                await self._files.keep(file)
            return await self.keeper.begin(task.id, request, attachments)
        except BaseException:
            for file in new:
                await self._files.keep_no_longer(file)
            raise

    def restore(self, files: Collection[StoredFile]) -> None:
        """Have the files that its conversation has."""
        if files:
            self._files.restore(files)

    def finish(self) -> None:
        """End it: its conversation is about to be deleted."""
        client, self.client = self.client, None
        self._owner.end(self, farewell=LogoutResponse())
        if client is not None:
            client.ended()

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
        if self._account is not None:
            self._account.come_back()
        self._log.attach(client.writer, after=after)
        self._recap.complete()

    def detach(self) -> None:
        """Speak to nobody; the tasks run on. Without a client for ``resume_window`` seconds it ends."""
        self.client = None
        self._log.detach()
        if self._account is not None:
            self._account.leave()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._settings.resume_window, self._owner.expire, self)

    def speak(self, features: Collection[str]) -> None:
        """Say from now on what a client understands that has named these features."""
        self._log.features = frozenset(features)

    def describe(self, last_seq: int | None, features: Collection[str]) -> LoginResponse:
        """Return the answer to a client that comes back and has every frame up to ``last_seq``.

        With none it is a client that has not seen this session before, and is said nothing again.

        It is spoken to by these features from now on, and not before: where it is refused, somebody else may listen.

        Raises:
            ProtocolError: ``rate_limited`` where it comes back so often that it is said too much again.
        """
        lossless, tasks = self._recap.tell(last_seq, features)
        if last_seq is None and self.resumable:
            self.resume_token = secrets.token_urlsafe(16)
        self.speak(features)
        return LoginResponse(
            session_id=self.id,
            resumable=self.resumable or None,
            resume_token=self.resume_token,
            resumed=True,
            lossless=lossless,
            last_seq=self._log.last_seq if self.resumable else None,
            tasks=tasks,
        )

    def has_said(self, seq: int) -> bool:
        """Whether a frame of this number was ever given out."""
        return seq <= self._log.last_seq

    def end(self, farewell: ServerFrame | None = None) -> Coroutine[Any, Any, None]:
        """Stop every task now; what is returned sees each say its last frame, closes the agent, then says farewell."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.ending = True
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        return self._close(tasks, farewell)

    async def _close(self, tasks: Collection[AgentTask], farewell: ServerFrame | None) -> None:
        await all_over(tasks)
        try:
            await self._instance.close(self._settings.cancel_timeout, self._owner.keep)
            if self._shelf is not None:
                await self._shelf.close()
        finally:
            self._owner.ended(self)
        if farewell is not None:
            self.say(farewell)
        self.client = None
        self._log.detach()
        if self._account is not None:
            self._account.close()
        logger.debug("session %s ended", self.id)

    def _forget(self) -> None:
        """Give up all that a client which comes back can be told to have missed."""
        self._log.clear()
        for task in self.tasks.values():
            task.turn.speech.forget()

    @functools.cached_property
    def uploads(self) -> Uploads:
        """What its client uploads."""
        return Uploads(self._files)

    @property
    def _files(self) -> Shelf:
        """Its files. Made at the first one: most sessions have none."""
        if self._shelf is None:
            self._shelf = self._owner.shelf(self)
        return self._shelf

    async def _add_file(self, task_id: str, source: Source, name: str | None, media_type: str | None) -> StoredFile:
        file = await self._files.add(source, name, media_type)
        if self.keeper is not None:
            await self._files.keep(file)
            self.keeper.add_file(task_id, file)
        return file

    def _readable(self) -> Mapping[str, StoredFile]:
        return {} if self._shelf is None else self._shelf.readable()

    def _attached(self, request: AgentRequest) -> Sequence[StoredFile]:
        if not request.attachments:
            return ()
        try:
            return self._files.attached(request.attachments)
        except ProtocolError as exc:
            exc.fields["request_id"] = request.request_id
            raise

    def _find(self, task_id: str) -> AgentTask:
        task = self.tasks.get(task_id)
        if task is None:
            raise ProtocolError(ErrorCode.UNKNOWN_TASK, "No such task is running.", task_id=task_id)
        return task

    def _start(self, request: AgentRequest, attachments: Sequence[StoredFile] = ()) -> str:
        task = self._new_task(request, attachments)
        self._run(task, request)
        return task.id

    def _new_task(self, request: AgentRequest, attachments: Sequence[StoredFile]) -> AgentTask:
        task_id = secrets.token_hex(8)
        speech = Speech(task_id, self._log, self._settings.max_tool_output)
        files = Files(functools.partial(self._add_file, task_id), self._readable)
        turn = TaskTurn(speech, self.context, request.params or {}, attachments, files)
        task = AgentTask(self._instance, request.message, turn, self._log, on_end=self._task_ended)
        if self.keeper is not None:
            task.keep_end = self._keep_end
        self.tasks[task.id] = task
        self._owner.begin(task)
        return task

    def _run(self, task: AgentTask, request: AgentRequest) -> None:
        for file in task.turn.attachments:
            file.readable = True
        if request.request_id:
            self._remember(request.request_id, task.id)
        task.start(timeout=self._settings.agent_timeout, cancel_timeout=self._settings.cancel_timeout)

    def _keep_end(self, task: AgentTask, status: Ending, frame: bytes) -> None:
        self._owner.keep(asyncio.create_task(self._end_kept(task, status, frame)))

    async def _end_kept(self, task: AgentTask, status: Ending, frame: bytes) -> None:
        assert self.keeper is not None  # noqa: S101  # else nobody would ask for it
        saved = False
        try:
            saved = await self.keeper.end(task.id, status, frame, self._instance)
        finally:
            task.say_end(status, frame, unsaved=not saved)

    def _remember(self, request_id: str, task_id: str) -> None:
        self._received[request_id] = task_id
        size = 4 * ITEM + len(request_id)
        if len(self._received) > REMEMBERED_REQUESTS:
            size -= 4 * ITEM + len(self._received.popitem(last=False)[0])
        if self._account is not None:
            self._account.count(size)

    def _task_ended(self, task: AgentTask) -> None:
        self.tasks.pop(task.id, None)
        if not task.abandoned or task.done:
            self._owner.over(task)


def _exited(tasks: Mapping[str, AgentTask], failure: BaseException, context: contextvars.Context) -> None:
    """Fail the task in whose context, or a copy of it, something tried to end the process; which, its ids say."""
    task = tasks.get(context.get(IDS, "").rpartition("task=")[2])
    if task is not None:
        task.fail(failure)
    else:
        logger.error("an agent tried to end the process", exc_info=failure)
