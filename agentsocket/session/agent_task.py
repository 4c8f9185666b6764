"""One task: the agent's coroutine at work on one request, how it is stopped, and how it ends."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Iterator
from typing import Literal, Protocol, cast

from pydantic_core import to_json

from agentsocket.agent.contract import AgentError
from agentsocket.agent.current import TURN
from agentsocket.containment.exits import CONTAINED
from agentsocket.containment.stopping import failure_of, stop
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.events import AgentResponse
from agentsocket.protocol.frames import AgentResponseFrame, ErrorFrame, TaskCancelled
from agentsocket.session.big_values import BIG, encode_big, weight
from agentsocket.session.encoding import clean, jsonable, response_frame
from agentsocket.session.ends import End, Ending
from agentsocket.session.frame_log import FrameLog
from agentsocket.session.instance import Instance
from agentsocket.session.turn import TaskTurn
from agentsocket.telemetry.logs import IDS

logger = logging.getLogger("agentsocket.task")


class KeepEnd(Protocol):
    """Keeps how a task ended, and has it say so then."""

    def __call__(self, task: "AgentTask", status: Ending, frame: bytes) -> None:
        """Do so; does not wait."""


class AgentTask:
    """Runs ``agent.run`` as an asyncio task of its own, and says its one terminal frame when that has ended.

    Every end but an answer is looked at from outside, in a done callback: a task that is cancelled before its first
    step never enters its own body, and could not say anything there.
    """

    def __init__(
        self,
        instance: Instance,
        message: str,
        turn: TaskTurn,
        log: FrameLog,
        *,
        on_end: Callable[["AgentTask"], None],
    ) -> None:
        self.id = turn.speech.task_id
        self.turn = turn
        self.started = False
        """Whether its client was told that it is accepted, which may have to be kept first."""
        self.abandoned = False
        """Whether its terminal frame was said although it still ran."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the terminal frame is said."""
        self._instance, self._message, self._log, self._on_end = instance, message, log, on_end
        self.keep_end: KeepEnd | None = None
        """Keeps how it ends, where that is kept."""
        self._task: asyncio.Task[None] | None = None
        self._ends = False
        """Whether it is settled how it ends, although that may still have to be kept."""
        self._error_id: str | None = None
        self._stopped_for: ErrorCode | Literal["cancel"] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, *, timeout: float | None, cancel_timeout: float) -> None:
        """Run. After ``timeout`` seconds it is stopped; one that resists ``cancel_timeout`` seconds is abandoned."""
        self.started = True
        self._cancel_timeout = cancel_timeout
        self._log_ids = f"{IDS.get()} task={self.id}"  # of whoever asks: the instance's context has those of the login
        if self._stopped_for is not None:  # while it was being kept
            self._end("cancelled", encode(TaskCancelled(task_id=self.id)))
            return
        run = self._run()
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(run, name=f"agent task {self.id}", context=self._instance.variables.copy())
        self._task.add_done_callback(self._done)
        if timeout is not None:
            self._timer = loop.call_later(timeout, self._stop, ErrorCode.AGENT_TIMEOUT)

    @property
    def done(self) -> bool:
        """Whether the agent's coroutine has ended."""
        return self._task is None or self._task.done()

    def cancel(self) -> None:
        """Stop it. Its ``task_cancelled`` comes when it has really ended."""
        self._stop("cancel")

    def abandon(self) -> None:
        """Say that it could not be stopped, and wait for it no longer."""
        if self._task is None or self._task.done() or self._ends:
            return
        logger.warning("task %s does not stop: it is abandoned, and still runs", self.id)
        self.abandoned = True
        self._fail("The task could not be stopped.", ErrorCode.CANCEL_FAILED)

    async def _run(self) -> None:
        IDS.set(self._log_ids)  # in this asyncio task's own context
        TURN.set(self.turn)
        logger.debug("started")
        with CONTAINED:  # not by ``contained``: each step of the agent would pass through one coroutine more
            answer = await self._instance.agent.run(self._message, self.turn)
        frame = response_frame(self.id, clean(answer)) if isinstance(answer, str) else await self._answered(answer)
        if self._stopped_for is None:
            # Here and not in the callback, which would come an iteration later.
            cast("asyncio.Task[None]", self._task).remove_done_callback(self._done)
            self._end("completed", frame)

    def _stop(self, reason: ErrorCode | Literal["cancel"]) -> None:
        if self._stopped_for is not None or self._ends or (self._task is not None and self._task.done()):
            return  # one terminal frame serves every cancel
        self._stopped_for = reason
        if self._task is None:
            return  # it is not started then
        self._clear_timer()
        self._timer = asyncio.get_running_loop().call_later(self._cancel_timeout, self.abandon)
        self.turn.stop()
        stop(self._task, self._cancel_timeout)

    def fail(self, failure: BaseException) -> None:
        """Stop it, and say that it failed: what it has started, and does not await, tried to end the process."""
        self._error_id = self._log_failure(failure)
        self._stop(ErrorCode.AGENT_FAILED)

    def _done(self, task: asyncio.Task[None]) -> None:
        failure = failure_of(task)
        if failure is not None and not (task.cancelled() and self._stopped_for is not None):
            self._error_id = self._log_failure(failure)
        if self.abandoned:
            logger.warning("task %s, which was abandoned, has ended", self.id)
            if self.over.done():
                self._on_end(self)
        elif self._stopped_for == "cancel":
            self._end("cancelled", encode(TaskCancelled(task_id=self.id)))
        elif self._stopped_for == ErrorCode.AGENT_TIMEOUT:
            self._fail("The agent took too long.", self._stopped_for)
        else:
            text = told(failure, otherwise="The agent failed. The server's log has the details.")
            self._fail(text, ErrorCode.AGENT_FAILED, self._error_id)

    async def _answered(self, answer: AgentResponse) -> bytes:
        """Return the frame of an answer that is more than text."""
        if not isinstance(answer, AgentResponse):
            raise TypeError(f"an agent's run() returns str or AgentResponse, not {type(answer).__name__}")
        usage = jsonable(answer.usage) if answer.usage else None
        usage = usage if isinstance(usage, dict) else None
        frame = AgentResponseFrame(task_id=self.id, response=clean(answer.response), usage=usage)
        if answer.result is None:
            return encode(frame)
        # Structured output may be as large as a tool's.
        big = weight(answer.result, BIG) > BIG
        result = await asyncio.to_thread(encode_big, answer.result, None) if big else to_json(jsonable(answer.result))
        return b'%s,"result":%s}}' % (encode(frame)[:-2], result)

    def _log_failure(self, failure: BaseException) -> str:
        """Log what an agent raised; return the id under which the log has it."""
        error_id = secrets.token_hex(4)
        logger.error("task %s failed, error_id=%s", self.id, error_id, exc_info=failure)
        return error_id

    def _fail(self, message: str, code: ErrorCode, error_id: str | None = None) -> None:
        self._end("failed", encode(ErrorFrame(message=message, code=code, task_id=self.id, error_id=error_id)))

    def _end(self, status: Ending, frame: bytes) -> None:
        self._clear_timer()
        self._ends = True
        logger.debug("task %s ends: %s", self.id, status)
        self.turn.end(unfinished="The task ended before this tool did.")
        if self.keep_end is None:
            self.say_end(status, frame)
        else:
            self.keep_end(self, status, frame)

    def say_end(self, status: Ending, frame: bytes, *, unsaved: bool = False) -> None:
        """Say the terminal frame, now that how it ended is kept where it is to be."""
        if unsaved:
            frame = b'%s,"unsaved":true}}' % frame[:-2]
        if self._log.ends is not None:
            speech = self.turn.speech
            end = End(status, self._log.last_seq + 1, frame, speech.text, speech.shown)
            speech.forget()
            self._log.ends.add(self.id, end)
        # The id is free before the terminal frame is said: who has read it may rely on that.
        self._on_end(self)
        self._log.append(frame)
        self.over.set_result(None)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def told(failure: BaseException | None, *, otherwise: str) -> str:
    """Return what a client is told of a failure: what the agent wants it to know, if anything."""
    return next(filter(None, map(_sentence, _reasons(failure))), otherwise)


def _reasons(failure: BaseException | None) -> Iterator[BaseException]:
    """Give a failure and each that it came of, nearest first: what a group holds, its cause, what it followed on."""
    waiting, seen = [failure], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [None if each.__suppress_context__ else each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            waiting += reversed(each.exceptions)


def _sentence(failure: BaseException) -> str:
    if not isinstance(failure, AgentError):
        return ""
    try:
        return clean(str(failure))
    except BaseException:  # noqa: BLE001  # an agent's own kind of it may have any text, or none, or exit
        return ""


async def all_over(tasks: Collection[AgentTask], seconds: float | None = None) -> None:
    """Wait, for so long at most, until each of these tasks has said its terminal frame."""
    if tasks:
        await asyncio.wait([task.over for task in tasks], timeout=seconds)
