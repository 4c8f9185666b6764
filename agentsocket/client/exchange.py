"""What is under way between a client and its server: what is not answered yet, and whom each frame is for."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from pydantic_core import to_json

from agentsocket.client.errors import ClientError, ConnectionLost, ServerError, TaskCancelled
from agentsocket.client.inbox import Inbox
from agentsocket.protocol import frames
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import AgentResponseFrame, AnyServerFrame, InputRequiredFrame

TaskEvent = (
    frames.AgentOutputFrame
    | frames.AgentReasoningFrame
    | frames.ToolCallFrame
    | frames.ToolProgressFrame
    | frames.ToolResultFrame
    | frames.AgentDataFrame
    | frames.AgentFileFrame
    | InputRequiredFrame
    | AgentResponseFrame
)

logger = logging.getLogger("agentsocket.client")

OF_NO_REQUEST: Final = {ErrorCode.UNKNOWN_INPUT, ErrorCode.UNKNOWN_EVENT}
"""Errors without an id that are about neither a login nor a logout."""


class SnapshotOutput(frames.AgentOutputFrame):
    """The text so far in one piece, after a break in which frames were lost: it replaces all pieces before it."""


@dataclass(eq=False)
class Request:
    """A frame that the server has not answered yet. Its ``answer`` is cancelled when nobody waits any more."""

    frame: frames.ClientFrame
    inbox: Inbox[TaskEvent] | None = None
    resent: bool = False
    answer: asyncio.Future[Any] = field(default_factory=asyncio.Future)
    """The id where something was begun, a frame where something was asked for."""

    def __post_init__(self) -> None:
        # At once, so that what has no form in JSON fails where it comes from, and not at a resume.
        self.text = encode(self.frame)

    def succeed(self, answer: object = "") -> None:
        """Hand out the answer."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: ClientError) -> None:
        """Say why there is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # counts as looked at: there are frames that nobody waits for


class Shown:
    """The files and data that one stream has had: after a gap it is told of them again, the same or newer."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], bytes] = {}
        self._doubtful: set[tuple[str, str]] = set()

    def have_gap(self) -> None:
        """From now on what comes may have been there before."""
        self._doubtful = set(self._digests)

    def is_new(self, frame: TaskEvent) -> bool:
        """Whether a frame tells what the stream does not know."""
        match frame:
            case frames.AgentFileFrame(file_id=name) | frames.AgentDataFrame(id=str(name)):
                key = frame.event, name
            case _:
                return True
        digest = sha256(to_json(frame, exclude={"seq"})).digest()
        before, self._digests[key] = self._digests.get(key), digest
        was_doubtful = key in self._doubtful
        self._doubtful.discard(key)
        return not (was_doubtful and before == digest)


class Exchange:
    """The requests, streams and questions of one client."""

    def __init__(
        self, send: Callable[[Request], Awaitable[None]], answer: Callable[[str, str, Any], Awaitable[None]]
    ) -> None:
        """Start with nothing. ``send`` sends a request; ``answer`` sends the answer to a question of a task."""
        self._send, self._answer = send, answer
        self.requests: dict[str, Request] = {}
        """By request id, by task id (a cancel), by task and input id (an answer), "login" and "logout"."""
        self.streams: dict[str, Inbox[TaskEvent]] = {}
        """By task id: what their consumers have not taken yet."""
        self._shown: dict[str, Shown] = {}
        """By task id: the files and data of those."""
        self.questions: dict[tuple[str, str], asyncio.Task[None]] = {}
        """By task and input id: those that are being answered."""
        self.newest = ""
        """The task that was confirmed last."""

    @property
    def tasks(self) -> set[str]:
        """The ids of the tasks in which somebody still has an interest."""
        about = (frames.CancelRequest, frames.InputResponse)
        asked = {request.frame.task_id for request in self.requests.values() if isinstance(request.frame, about)}
        return {*self.streams, *asked, *(task_id for task_id, _ in self.questions)}

    # ---- Requests ----------------------------------------------------------------------------------------------------

    def keep_answer(self, request: Request, frame: frames.InputResponse, at_most: int) -> None:
        """Keep an answer, and only the newest, to be sent again after a break: nothing confirms it."""
        answers = [key for key, sent in self.requests.items() if isinstance(sent.frame, frames.InputResponse)]
        for key in answers[: 1 - at_most]:
            del self.requests[key]
        self.requests[_answer_key(frame.task_id, frame.input_id)] = request

    async def confirm(self, frame: frames.AgentRequestReceived) -> None:
        """A task was started: tell who asked for it, or stop it where nobody waits any more."""
        self.newest = frame.task_id
        request = self.requests.pop(frame.request_id or "", None)
        if request is None:
            return  # confirmed before a break already
        if request.answer.cancelled():
            await self.stop(frame.task_id)
            return
        if request.inbox is not None:
            self.streams[frame.task_id], self._shown[frame.task_id] = request.inbox, Shown()
        request.succeed(frame.task_id)

    def answered(self, key: str, answer: object = "") -> None:
        """A login, a logout, a refresh or a question about conversations was answered."""
        if request := self.requests.pop(key, None):
            request.succeed(answer)

    def refuse(self, frame: frames.ErrorFrame) -> None:
        """Find what an error is about: its task, its request, or else the login or logout under way."""
        error = error_of(frame)
        if frame.task_id is not None:
            self.end(frame.task_id, error)
            return
        no_id = () if frame.code in OF_NO_REQUEST else ("login", "logout")
        keys = (frame.request_id,) if frame.request_id else no_id
        if request := next((self.requests.pop(key) for key in keys if key in self.requests), None):
            # A deletion that was sent again may find that it did its work before the break.
            deletes = isinstance(request.frame, frames.DeleteConversation) and request.resent
            if deletes and frame.code == ErrorCode.CONVERSATION_NOT_FOUND:
                request.succeed()
            else:
                request.fail(error)
        else:
            logger.info("the server refused something: %s", frame.code)  # an answer sent again, mostly

    # ---- Tasks -------------------------------------------------------------------------------------------------------

    async def pass_on(self, frame: TaskEvent) -> None:
        """Hand an event to its stream, and wait while that is too far behind; one that stays so is given up."""
        inbox = self.streams.get(frame.task_id)
        if inbox is None or not self._shown[frame.task_id].is_new(frame):
            return
        if not await inbox.put(frame):
            await self.give_up(frame.task_id, TaskCancelled("The task was cancelled: nobody took its events."))

    def conclude(self, frame: AgentResponseFrame) -> None:
        """A task has ended well."""
        if inbox := self.streams.get(frame.task_id):
            inbox.add(frame)
        self.end(frame.task_id)

    def end(self, task_id: str, error: ClientError | None = None) -> None:
        """Tell everyone that a task has ended, with its response where there is no error."""
        if inbox := self.leave(task_id):
            inbox.end(error)
        code = error.code if isinstance(error, ServerError) else None
        for key, request in list(self.requests.items()):
            if (
                isinstance(request.frame, frames.CancelRequest | frames.InputResponse)
                and request.frame.task_id == task_id
            ):
                del self.requests[key]
                # A cancel that was sent again may find that it did its work before the break.
                unknown = code == ErrorCode.UNKNOWN_TASK and not request.resent
                if error is not None and (unknown or code == ErrorCode.CANCEL_FAILED):
                    request.fail(error)
                else:
                    request.succeed()
        for (asked_by, _), question in self.questions.items():
            if asked_by == task_id:
                question.cancel()

    def leave(self, task_id: str) -> Inbox[TaskEvent] | None:
        """Hand a task's events to nobody any more; return where they went, if anywhere."""
        self._shown.pop(task_id, None)
        return self.streams.pop(task_id, None)

    def have_gap(self) -> None:
        """Frames were lost: what has been shown may now be told again."""
        for shown in self._shown.values():
            shown.have_gap()

    async def stop(self, task_id: str) -> None:
        """Cancel a task that nobody waits for."""
        request = self.requests.setdefault(task_id, Request(frames.CancelRequest(task_id=task_id)))
        await self._send(request)

    async def give_up(self, task_id: str, error: Exception) -> None:
        """Cancel a task that went wrong on this side."""
        if inbox := self.leave(task_id):
            inbox.end(error)
        else:
            logger.error("task %s is cancelled, for its question could not be answered", task_id, exc_info=error)
        await self.stop(task_id)

    # ---- Questions ---------------------------------------------------------------------------------------------------

    def consult(self, on_input: Callable[[InputRequiredFrame], Any], frame: InputRequiredFrame) -> None:
        """Have ``on_input`` answer, unless it was shown the question before a break."""
        key = frame.task_id, frame.input_id
        if key not in self.questions and _answer_key(*key) not in self.requests:
            self.questions[key] = asyncio.create_task(self._put(on_input, frame))
            self.questions[key].add_done_callback(lambda _: self.questions.pop(key))

    async def _put(self, on_input: Callable[[InputRequiredFrame], Any], frame: InputRequiredFrame) -> None:
        try:
            # A plain function may wait for a person: in a thread, so that the connection lives meanwhile.
            response = await asyncio.to_thread(on_input, frame)
            if inspect.isawaitable(response):
                response = await response
            await self._answer(frame.task_id, frame.input_id, response)
        except Exception as exc:  # noqa: BLE001  # the embedder's code: what it raises is for the task's consumer
            await self.give_up(frame.task_id, exc)

    # ---- The end -----------------------------------------------------------------------------------------------------

    async def abandon(self, why: str) -> None:
        """There is no connection any more: nobody is left waiting."""
        for request in self.requests.values():
            request.fail(ConnectionLost(why))
        for stream in self.streams.values():
            stream.end(ConnectionLost(why))
        self.requests.clear()
        self.streams.clear()
        self._shown.clear()
        questions = list(self.questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)


def error_of(frame: frames.ErrorFrame) -> ServerError:
    """Return what an ``error`` is to whoever waits."""
    return ServerError(
        frame.code,
        frame.message,
        frame.error_id,
        retry_after=frame.retry_after,
        scope=frame.scope,
        unsaved=bool(frame.unsaved),
    )


def retell(task: frames.TaskSnapshot) -> Iterator[AnyServerFrame]:
    """Tell how a task stands in the frames that would have told it."""
    yield SnapshotOutput(task_id=task.task_id, output=task.output)
    for file in task.files or ():
        yield frames.AgentFileFrame(task_id=task.task_id, **file.model_dump())
    for data in task.data or ():
        yield frames.AgentDataFrame(task_id=task.task_id, **data.model_dump())
    for question in task.pending_inputs:
        yield InputRequiredFrame(task_id=task.task_id, **question.model_dump())
    match task.status:
        case "completed":
            yield AgentResponseFrame(task_id=task.task_id, response=task.response or "", result=task.result)
        case "cancelled":
            yield frames.TaskCancelled(task_id=task.task_id)
        case "failed":
            yield frames.ErrorFrame(
                task_id=task.task_id, code=task.code or "", message=task.message or "", error_id=task.error_id
            )


def _answer_key(task_id: str, input_id: str) -> str:
    return f"{task_id}/{input_id}"
