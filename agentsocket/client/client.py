"""The client of an agent server, to embed."""

import asyncio
import contextlib
import inspect
import logging
import random
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from agentsocket.client.errors import ClientError, ConnectionLost, ServerError, TaskCancelled
from agentsocket.client.inbox import Inbox
from agentsocket.client.printing import one_line, say
from agentsocket.protocol import frames
from agentsocket.protocol.codec import decode_server_frame, encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import AgentResponseFrame, AnyServerFrame, InputRequiredFrame, LoginResponse

TaskEvent = (
    frames.AgentOutputFrame | frames.ToolCallFrame | frames.ToolResultFrame | InputRequiredFrame | AgentResponseFrame
)

logger = logging.getLogger("agentsocket.client")

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes of the longest frame taken: a server sends an answer whole."""

TRY_AGAIN: Final = {ErrorCode.SHUTTING_DOWN, ErrorCode.RATE_LIMITED, ErrorCode.TOO_MANY_SESSIONS}
"""Why a resume may be refused now and granted later."""


class SnapshotOutput(frames.AgentOutputFrame):
    """The text so far in one piece, after a break in which frames were lost: it replaces all pieces before it."""


def full_jitter() -> Iterator[float]:
    """Seconds to wait before each attempt to reconnect; some five minutes in all."""
    for ceiling in (1, 2, 4, 8, 16, *[30] * 18):
        yield random.uniform(0, ceiling)  # noqa: S311  # spreads the clients of a server, hides nothing


@dataclass(eq=False)
class _Request:
    """A frame that the server has not answered yet. Its ``answer`` is cancelled when nobody waits any more."""

    frame: frames.ClientFrame
    inbox: Inbox[TaskEvent] | None = None
    resent: bool = False
    answer: asyncio.Future[str] = field(default_factory=asyncio.Future)

    def __post_init__(self) -> None:
        # At once, so that what has no form in JSON fails where it comes from, and not at a resume.
        self.text = encode(self.frame)

    def succeed(self, answer: str = "") -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: ClientError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # counts as looked at: there are frames that nobody waits for


class WebSocketClient:
    """A session on an agent server. ``async with`` connects and logs in, and closes at the end.

    One task of its own reads the connection and feeds everybody: any number of streams, requests and listeners at once.
    When the connection is lost, whoever waits gets ``ConnectionLost``. A ``resumable`` client first tries to reconnect
    after each of the delays of ``backoff()``; streams and requests then go on as if nothing had happened.

    ``on_input`` gets each ``InputRequiredFrame`` of the session and returns the response, a JSON value; a plain
    function runs in a thread. What it raises is raised by the task's stream, and the task is cancelled.
    ``on_connection`` is told ``False`` when the connection is lost, and ``True`` when the session was taken up again.
    """

    stable_after = 30.0
    """Seconds that a connection lasts to have earned a fresh back-off."""
    max_behind, patience = 1024, 5.0
    """A stream's events that wait for its consumer before everybody waits, and for how many seconds. Then its task is
    cancelled: a server hangs up on a client that does not read for 10 s."""
    answers_kept = 16
    """Answers sent again after a break, as nothing confirms them; fewer than the errors that a server puts up with."""

    def __init__(  # noqa: PLR0913  # all but the first by name
        self,
        uri: str = "ws://localhost:8765",
        *,
        token: str | None = None,
        resumable: bool = False,
        on_input: Callable[[InputRequiredFrame], Any] | None = None,
        on_connection: Callable[[bool], object] | None = None,
        backoff: Callable[[], Iterable[float]] = full_jitter,
    ) -> None:
        self._uri, self._token, self._resumable = uri, token, resumable
        self._on_input, self._on_connection, self._backoff = on_input, on_connection, backoff
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._session: LoginResponse | None = None
        self._last_seq = 0
        # By request id, by task id (a cancel), by task and input id (an answer), "login" and "logout".
        self._requests: dict[str, _Request] = {}
        self._streams: dict[str, Inbox[TaskEvent]] = {}
        self._questions: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._listeners: set[Inbox[str]] = set()

    async def connect(self) -> None:
        """Open the connection; an earlier one is closed. Raises ``ConnectionLost`` where there is no server."""
        await self.close()
        try:
            self._socket = await self._open()
        except (OSError, ValueError, WebSocketException) as exc:
            raise ConnectionLost(f"No agent server answers at {self._uri}: {exc}") from exc
        self._reader = asyncio.create_task(self._run(self._socket), name="websocket client reader")

    async def login(self) -> str:
        """Open a session and return its id. Raises ``ServerError``, ``authentication_failed`` for a bad token."""
        frame = frames.Login(token=self._token, resumable=self._resumable or None)
        return await self._request("login", _Request(frame))

    async def logout(self) -> None:
        """End the session, and return when every task in it has ended. Raises ``ServerError``."""
        await self._request("logout", _Request(frames.Logout()))

    async def close(self) -> None:
        """Close the connection, and with it the session. May be repeated."""
        if self._reader is None:
            return
        if self._session is not None and self._session.resume_token:
            # Nobody else could resume it, and its tasks would run on for as long as the server keeps it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._send(_Request(frames.Logout()))
        self._reader.cancel()
        await asyncio.wait([self._reader])
        self._reader = None
        await self._end_all(None)  # for a reader that was cancelled before its first step

    async def __aenter__(self) -> Self:
        await self.connect()
        try:
            await self.login()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def stream(
        self, message: str, *, on_start: Callable[[str], object] | None = None
    ) -> AsyncGenerator[TaskEvent, None]:
        """Ask the agent, and yield the events of the task; the last one is its ``AgentResponseFrame``.

        ``on_start`` is given the task's id as soon as there is one, for ``cancel_request``.

        A consumer that is cancelled or leaves early cancels the task on the server: with ``break``, as soon as nothing
        refers to the generator; within ``contextlib.aclosing``, for certain at the end of the block.

        Raises:
            TaskCancelled: if the task was cancelled, also because its consumer is too far behind.
            ServerError: if it was refused, or failed.
            ConnectionLost: if its end cannot be known.
        """
        inbox = Inbox[TaskEvent](self.max_behind, self.patience)
        task_id = await self._start(message, inbox)
        try:
            if on_start:
                on_start(task_id)
            while events := await inbox.take():
                for event in events:
                    yield event
        finally:
            inbox.end()
            if self._streams.pop(task_id, None):
                await self._stop(task_id)

    async def ask(self, message: str) -> str:
        """Ask the agent and return its answer; raises like ``stream``."""
        response = ""
        async for event in self.stream(message):
            if isinstance(event, AgentResponseFrame):
                response = event.response
        return response

    async def send_agent_request(self, message: str) -> str:
        """Start a task and return the id that the server has given it. Raises ``ServerError``."""
        return await self._start(message, None)

    async def cancel_request(self, task_id: str) -> None:
        """Cancel a task, and return when it has really ended.

        Raises:
            ServerError: ``unknown_task`` where it had ended before, ``cancel_failed`` where it does not stop.
        """
        await self._request(task_id, _Request(frames.CancelRequest(task_id=task_id)))

    async def answer(self, task_id: str, input_id: str, response: Any) -> None:
        """Answer an ``InputRequiredFrame`` with a JSON value, for an approval a bool or ``{"approved": ...}``."""
        self._check_connected()
        request = _Request(frames.InputResponse(task_id=task_id, input_id=input_id, response=response))
        answers = [key for key, sent in self._requests.items() if isinstance(sent.frame, frames.InputResponse)]
        for key in answers[: 1 - self.answers_kept]:
            del self._requests[key]
        self._requests[_answer_key(task_id, input_id)] = request
        await self._send(request)

    async def listen_for_events(self, show: Callable[[str], object] | None = None) -> None:
        """Show every frame as it comes, as one line of JSON, until ``close``. ``show`` prints it if it is not given."""
        self._check_connected()
        inbox = Inbox[str](self.max_behind, self.patience)
        self._listeners.add(inbox)
        try:
            while texts := await inbox.take():
                for text in texts:
                    (show or say)(one_line(text))
        finally:
            self._listeners.discard(inbox)
            inbox.end()

    # ---- Requests ----------------------------------------------------------------------------------------------------

    def _check_connected(self) -> None:
        if self._socket is None:
            raise ConnectionLost("There is no connection.")

    async def _send(self, request: _Request) -> None:
        # A connection that breaks here is the reader's to mend, or to report to everyone who waits.
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(request.text, text=True)

    async def _request(self, key: str, new: _Request) -> str:
        """Send a frame and return its answer; a request that waits for the same answer already is shared."""
        self._check_connected()
        request = self._requests.setdefault(key, new)
        if request is new:
            await self._send(new)
        return await asyncio.shield(request.answer)

    async def _start(self, message: str, inbox: Inbox[TaskEvent] | None) -> str:
        request_id = uuid.uuid4().hex
        request = _Request(frames.AgentRequest(message=message, request_id=request_id), inbox)
        try:
            return await self._request(request_id, request)
        except asyncio.CancelledError:
            # Nobody will know the id of the task: it is stopped as soon as that comes, or here if it has just come.
            if not request.answer.cancel() and not request.answer.exception():
                self._streams.pop(request.answer.result(), None)
                await self._stop(request.answer.result())
            raise

    async def _stop(self, task_id: str) -> None:
        """Cancel a task that nobody waits for."""
        request = self._requests.setdefault(task_id, _Request(frames.CancelRequest(task_id=task_id)))
        await self._send(request)

    async def _give_up(self, task_id: str, error: Exception) -> None:
        """Cancel a task that went wrong on this side."""
        if inbox := self._streams.pop(task_id, None):
            inbox.end(error)
        else:
            logger.error("task %s is cancelled, for its question could not be answered", task_id, exc_info=error)
        await self._stop(task_id)

    # ---- Frames ------------------------------------------------------------------------------------------------------

    async def _receive(self, socket: ClientConnection) -> AnyServerFrame | None:
        """Read a frame; none where only a newer server knows it, or where it came before the break already."""
        text = await socket.recv(decode=False)
        frame = _decode(text)
        if frame is not None and frame.seq is not None:
            if frame.seq <= self._last_seq:
                return None
            self._last_seq = frame.seq
        for listener in tuple(self._listeners):
            await listener.put(text.decode())
        return frame

    async def _dispatch(self, frame: AnyServerFrame | None) -> None:
        match frame:
            case frames.AgentOutputFrame() | frames.ToolCallFrame() | frames.ToolResultFrame():
                await self._pass_on(frame)
            case InputRequiredFrame():
                self._consult(frame)
                await self._pass_on(frame)
            case AgentResponseFrame():
                if inbox := self._streams.get(frame.task_id):
                    inbox.add(frame)
                self._end(frame.task_id)
            case frames.TaskCancelled():
                self._end(frame.task_id, TaskCancelled("The task was cancelled."))
            case frames.AgentRequestReceived():
                await self._confirm(frame)
            case frames.ErrorFrame():
                self._refuse(frame)
            case LoginResponse():
                self._session, self._last_seq = frame, frame.last_seq or 0
                self._answered("login", frame.session_id)
            case frames.LogoutResponse():
                self._session = None
                self._answered("logout")

    async def _pass_on(self, frame: TaskEvent) -> None:
        inbox = self._streams.get(frame.task_id)
        if inbox is not None and not await inbox.put(frame):
            await self._give_up(frame.task_id, TaskCancelled("The task was cancelled: nobody took its events."))

    async def _confirm(self, frame: frames.AgentRequestReceived) -> None:
        request = self._requests.pop(frame.request_id or "", None)
        if request is None:
            return  # confirmed before a break already
        if request.answer.cancelled():
            await self._stop(frame.task_id)
            return
        if request.inbox is not None:
            self._streams[frame.task_id] = request.inbox
        request.succeed(frame.task_id)

    def _answered(self, key: str, answer: str = "") -> None:
        if request := self._requests.pop(key, None):
            request.succeed(answer)

    def _refuse(self, frame: frames.ErrorFrame) -> None:
        error = ServerError(frame.code, frame.message, frame.error_id)
        if frame.task_id is not None:
            self._end(frame.task_id, error)
            return
        # Without ids it is about an answer, or else about the login or logout under way.
        no_id = () if frame.code == ErrorCode.UNKNOWN_INPUT else ("login", "logout")
        keys = (frame.request_id,) if frame.request_id else no_id
        if request := next((self._requests.pop(key) for key in keys if key in self._requests), None):
            request.fail(error)
        else:
            logger.info("the server refused something: %s", frame.code)  # an answer sent again, mostly

    def _end(self, task_id: str, error: ClientError | None = None) -> None:
        """Tell everyone that a task has ended, with its response where there is no error."""
        if inbox := self._streams.pop(task_id, None):
            inbox.end(error)
        code = error.code if isinstance(error, ServerError) else None
        for key, request in list(self._requests.items()):
            if (
                isinstance(request.frame, frames.CancelRequest | frames.InputResponse)
                and request.frame.task_id == task_id
            ):
                del self._requests[key]
                # A cancel that was sent again may find that it did its work before the break.
                unknown = code == ErrorCode.UNKNOWN_TASK and not request.resent
                if error is not None and (unknown or code == ErrorCode.CANCEL_FAILED):
                    request.fail(error)
                else:
                    request.succeed()
        for (asked_by, _), question in self._questions.items():
            if asked_by == task_id:
                question.cancel()

    def _consult(self, frame: InputRequiredFrame) -> None:
        """Have ``on_input`` answer, unless it was shown the question before a break."""
        key = frame.task_id, frame.input_id
        if self._on_input is not None and key not in self._questions and _answer_key(*key) not in self._requests:
            self._questions[key] = asyncio.create_task(self._put_question(self._on_input, frame))
            self._questions[key].add_done_callback(lambda _: self._questions.pop(key))

    async def _put_question(self, on_input: Callable[[InputRequiredFrame], Any], frame: InputRequiredFrame) -> None:
        try:
            # A plain function may wait for a person: in a thread, so that the connection lives meanwhile.
            response = await asyncio.to_thread(on_input, frame)
            if inspect.isawaitable(response):
                response = await response
            await self.answer(frame.task_id, frame.input_id, response)
        except Exception as exc:  # noqa: BLE001  # the embedder's code: what it raises is for the task's consumer
            await self._give_up(frame.task_id, exc)

    # ---- The reader, and the way back after a break ------------------------------------------------------------------

    async def _open(self) -> ClientConnection:
        return await connect(self._uri, compression=None, max_size=MAX_FRAME, close_timeout=2)

    async def _run(self, socket: ClientConnection) -> None:
        error: ConnectionLost | None = ConnectionLost("The client itself has failed.")
        try:
            await self._read(socket)
        except ConnectionLost as exc:
            error = exc
        except asyncio.CancelledError:
            error = None
            raise
        finally:
            await self._end_all(error)

    async def _read(self, socket: ClientConnection) -> NoReturn:
        """Read one connection after the other. Raises ``ConnectionLost`` where there is no next one."""
        loop, delays, resumed = asyncio.get_running_loop(), iter(self._backoff()), None
        while True:
            since = loop.time()
            try:
                if resumed is not None:
                    await self._catch_up(socket, resumed)
                while True:
                    await self._dispatch(await self._receive(socket))
            except ConnectionClosed as exc:
                self._tell_connection(connected=False)
                if not (self._session and self._session.resume_token and _may_reconnect(socket.close_code)):
                    raise ConnectionLost(f"The connection was lost: {exc}.") from exc
            if loop.time() - since > self.stable_after:
                delays = iter(self._backoff())
            socket, resumed = await self._resume(self._session, delays)
            self._tell_connection(connected=True)

    def _tell_connection(self, *, connected: bool) -> None:
        if self._on_connection:
            self._on_connection(connected)

    async def _resume(self, session: LoginResponse, delays: Iterator[float]) -> tuple[ClientConnection, LoginResponse]:
        """Take the session up on a new connection. Raises ``ConnectionLost`` when it is gone, or the delays are."""
        for delay in delays:
            await asyncio.sleep(delay)
            with contextlib.suppress(OSError, WebSocketException):
                socket = await self._open()
                if resumed := await self._log_in_again(socket, session):
                    return socket, resumed
        raise ConnectionLost(f"The connection was lost, and {self._uri} could not be reached again.")

    async def _log_in_again(self, socket: ClientConnection, session: LoginResponse) -> LoginResponse | None:
        login = frames.Login(
            token=self._token,
            session_id=session.session_id,
            resume_token=session.resume_token,
            last_seq=self._last_seq,
        )
        try:
            await socket.send(encode(login), text=True)
            match await self._receive(socket):
                case LoginResponse() as response:
                    self._socket = socket
                    return response
                case frames.ErrorFrame(code=code, message=message) if code not in TRY_AGAIN:
                    raise ConnectionLost(f"The connection was lost, and the session with it: {message}")
            return None
        finally:
            if self._socket is not socket:
                await socket.close()

    async def _catch_up(self, socket: ClientConnection, resumed: LoginResponse) -> None:
        """Say again what may not have arrived; where frames were lost, tell from the snapshots how the tasks stand."""
        streams = set(self._streams)
        for request in list(self._requests.values()):
            request.resent = True
            await self._send(request)
        if resumed.lossless is not False:
            return
        before, self._last_seq = self._last_seq, resumed.last_seq or 0
        try:
            held = await self._await_confirmations(socket)
        except ConnectionClosed:
            self._last_seq = before  # so that the next resume tells of these losses again
            raise
        tasks = resumed.tasks or []
        for task_id in streams - {task.task_id for task in tasks}:
            self._end(task_id, ConnectionLost("The connection was lost for so long that the server forgot the task."))
        for frame in (*(frame for task in tasks for frame in _retell(task)), *held):
            await self._dispatch(frame)

    async def _await_confirmations(self, socket: ClientConnection) -> list[AnyServerFrame]:
        """Learn the ids of the tasks asked for before the break; return what else came meanwhile.

        Only then does each snapshot find its stream.
        """
        asked = {key for key, request in self._requests.items() if isinstance(request.frame, frames.AgentRequest)}
        held = []
        while asked & self._requests.keys():
            match await self._receive(socket):
                case (
                    frames.AgentRequestReceived(request_id=request_id)
                    | frames.ErrorFrame(request_id=request_id, task_id=None)
                ) as frame if request_id in asked:
                    await self._dispatch(frame)
                case None:
                    pass
                case frame:
                    held.append(frame)
        return held

    async def _end_all(self, error: ConnectionLost | None) -> None:
        """The connection is gone, without an error where this client closed it: nobody is left waiting."""
        socket, self._socket, self._session = self._socket, None, None
        why = str(error or "This client has closed the connection.")
        for request in self._requests.values():
            request.fail(ConnectionLost(why))
        for stream in self._streams.values():
            stream.end(ConnectionLost(why))
        for listener in self._listeners:
            listener.end(error)
        self._requests.clear()
        self._streams.clear()
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
        if socket is not None:
            await socket.close()


def _decode(text: bytes) -> AnyServerFrame | None:
    """Return none for an event of a newer server; raise ``ConnectionLost`` for what is no frame."""
    try:
        return decode_server_frame(text)
    except ProtocolError as exc:
        if exc.code == ErrorCode.UNKNOWN_EVENT:
            return None
        raise ConnectionLost(f"The server sent what is no frame: {exc}") from exc


def _may_reconnect(close_code: int | None) -> bool:
    return close_code in {1001, 1006, 1011, 1012, 1013} or 4000 <= (close_code or 0) < 4500  # noqa: PLR2004  # the contract


def _answer_key(task_id: str, input_id: str) -> str:
    return f"{task_id}/{input_id}"


def _retell(task: frames.TaskSnapshot) -> Iterator[AnyServerFrame]:
    """Tell how a task stands in the frames that would have told it."""
    yield SnapshotOutput(task_id=task.task_id, output=task.output)
    for question in task.pending_inputs:
        yield InputRequiredFrame(task_id=task.task_id, **question.model_dump())
    match task.status:
        case "completed":
            yield AgentResponseFrame(task_id=task.task_id, response=task.response or "")
        case "cancelled":
            yield frames.TaskCancelled(task_id=task.task_id)
        case "failed":
            yield frames.ErrorFrame(
                task_id=task.task_id, code=task.code or "", message=task.message or "", error_id=task.error_id
            )
