"""The client of an agent server, to embed."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, overload

from pydantic import JsonValue

from agentsocket.client.asking import Asking
from agentsocket.client.conversations import Conversations
from agentsocket.client.credentials import FEATURES, Credentials, Token
from agentsocket.client.download import fetch, fetch_to
from agentsocket.client.errors import NoAnswer, ServerError
from agentsocket.client.exchange import Exchange, Request, SnapshotOutput, TaskEvent
from agentsocket.client.inbox import Inbox
from agentsocket.client.link import full_jitter, open_connection
from agentsocket.client.printing import one_line, say
from agentsocket.client.reader import Reader
from agentsocket.client.renewal import Renewal
from agentsocket.client.sources import Attachable, File, Source
from agentsocket.client.uploads import OnUpload, Uploads
from agentsocket.protocol import frames
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.events import AgentFile
from agentsocket.protocol.frames import AgentCard, AgentResponseFrame, InputRequiredFrame, UserCard

__all__ = ["File", "SnapshotOutput", "TaskEvent", "WebSocketClient", "full_jitter"]


class WebSocketClient(Conversations):
    """A session on an agent server. ``async with`` connects and logs in, and closes at the end.

    One task of its own reads the connection and feeds everybody: any number of streams, requests and listeners at once.
    When the connection is lost, whoever waits gets ``ConnectionLost``. A ``resumable`` client first tries to reconnect
    after each of the delays of ``backoff()``; streams and requests then go on as if nothing had happened. A connection
    on which nothing is heard any more counts as lost, and no wait but that for a task's own work is without an end.

    ``token`` is text, or a function that gives it, plain (it runs in a thread) or async, or None where there is none to
    give. The function is asked before each connection, whose login has that token, and ten seconds before the login
    ends (half of what is left, where that is less), for ``refresh``. What it raises is raised by ``connect`` or
    ``login``. In a session that goes on, it is logged by its type and asked again while there is time, also where the
    token does not come in 20 s; a token that is refused there is logged too, and after the second one the login ends.
    ``agent`` is the name of the one that is wanted, of a server with several.
    ``params`` is a JSON object that the agent is to know of the session.
    ``features`` are what the server may say beyond the base: all that this client knows, or else None, the base alone.
    ``conversation_id`` is that of an earlier conversation, to go on with; a server that keeps any tells the id of each.
    A ``resumable`` client then goes on with it by itself where its session is gone, after a restart of the server say.
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
        token: Token = None,
        agent: str | None = None,
        params: Mapping[str, JsonValue] | None = None,
        features: Iterable[str] | None = FEATURES,
        conversation_id: str | None = None,
        resumable: bool = False,
        on_input: Callable[[InputRequiredFrame], Any] | None = None,
        on_connection: Callable[[bool], object] | None = None,
        backoff: Callable[[], Iterable[float]] = full_jitter,
    ) -> None:
        self._uri, self._resumable, self._backoff = uri, resumable, backoff
        self._credentials = Credentials(token, agent, params, features, conversation_id)
        self._exchange = Exchange(lambda request: self._asking.send(request), self.answer)  # noqa: PLW0108  # made below
        self._asking = Asking(self._exchange, lambda: self._reader.socket)
        self._uploads = Uploads(self._asking.say, lambda: self._reader.socket)
        self._renewal = Renewal(self._credentials, self._asking.anew)
        self._reader = Reader(
            uri=uri,
            credentials=self._credentials,
            renewal=self._renewal,
            exchange=self._exchange,
            uploads=self._uploads,
            on_input=on_input,
            on_connection=on_connection,
            backoff=backoff,
        )
        self._reading: asyncio.Task[None] | None = None

    @property
    def agent(self) -> AgentCard | None:
        """The session's agent, where there is a session and the server tells."""
        return self._reader.session.agent if self._reader.session else None

    @property
    def agents(self) -> list[AgentCard]:
        """The agents that a login may name, where there is a session and the server tells."""
        return (self._reader.session.agents if self._reader.session else None) or []

    @property
    def user(self) -> UserCard | None:
        """Who is logged in, where there is a session and the server knows."""
        return self._reader.session.user if self._reader.session else None

    @property
    def session_id(self) -> str | None:
        """The session's id, where there is one; after a break it may be another."""
        return self._reader.session.session_id if self._reader.session else None

    @property
    def conversation_id(self) -> str | None:
        """The session's conversation, where there is a session and the server keeps conversations."""
        return self._reader.session.conversation_id if self._reader.session else None

    @property
    def memory(self) -> Literal["restored", "none"] | None:
        """Of a conversation that goes on in a new session: whether the agent remembers it."""
        return self._reader.session.memory if self._reader.session else None

    @property
    def expires_in(self) -> float | None:
        """Seconds until the login ends as it stands now, where it does; zero once it has ended."""
        left = self._renewal.left
        return None if left is None else max(0.0, left)

    async def connect(self) -> None:
        """Open the connection; an earlier one is closed.

        Raises ``ConnectionLost`` where there is no server, and what a function for the token raises.
        """
        await self.close()
        await self._credentials.prepare()
        self._reader.socket = socket = await open_connection(self._uri)
        reading = self._reader.run(socket, self.stable_after)
        self._reading = asyncio.create_task(reading, name="websocket client reader")

    async def login(self, conversation_id: str | None = None) -> str:
        """Open a session and return its id; with a ``conversation_id`` go on with that one, not with the client's.

        Raises:
            ServerError: ``authentication_failed`` for a bad token, ``agent_unavailable`` for an unknown agent,
                ``conversation_not_found``, also where the server keeps none, or ``conversation_busy``.
        """
        self._asking.connected()
        chosen = {} if conversation_id is None else {"conversation_id": conversation_id}
        login = await self._credentials.login(resumable=self._resumable or None, **chosen)
        session_id: str = await self._asking.request("login", Request(login))
        if login.conversation_id is not None and self.conversation_id is None:
            await self.logout()
            raise ServerError(ErrorCode.CONVERSATION_NOT_FOUND, "This server keeps no conversations.")
        return session_id

    async def logout(self) -> None:
        """End the session, and return when every task in it has ended. Raises ``ServerError``."""
        self._asking.connected().can_beat = (
            False  # the server reads on when all is stopped, and then nobody is logged in
        )
        await self._asking.request("logout", Request(frames.Logout()))

    async def close(self) -> None:
        """Close the connection, and with it the session. May be repeated."""
        if self._reading is None:
            return
        if self._reader.session is not None and self._reader.session.resume_token:
            # Nobody else could resume it, and its tasks would run on for as long as the server keeps it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._asking.send(Request(frames.Logout()))
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._reading = None
        await self._reader.end()  # for one that was cancelled before its first step

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
        self,
        message: str,
        *,
        params: Mapping[str, JsonValue] | None = None,
        attachments: Sequence[Attachable] = (),
        on_upload: OnUpload | None = None,
        on_start: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[TaskEvent, None]:
        """Ask the agent, and yield the events of the task; the last one is its ``AgentResponseFrame``.

        ``params`` is a JSON object that the agent is to know of this request.
        ``attachments`` are at most 20 files: paths and bytes, which are uploaded first; what ``upload`` has returned,
        or the agent sent. ``on_upload`` is told of each how many of its bytes have arrived.
        ``on_start`` is given the task's id as soon as there is one, for ``cancel_request``.

        A consumer that is cancelled or leaves early cancels the task on the server: with ``break``, as soon as nothing
        refers to the generator; within ``contextlib.aclosing``, for certain at the end of the block.

        Raises:
            TaskCancelled: if the task was cancelled, also because its consumer is too far behind.
            ServerError: if it was refused, or failed.
            MessageTooLong: if the server would not take a message of that size.
            TaskInterrupted: if the server ended in the midst of it, and its conversation goes on.
            ConnectionLost: if its end cannot be known.
            FileError, OSError: if an attachment cannot be read, or has changed.
        """
        inbox = Inbox[TaskEvent](self.max_behind, self.patience)
        task_id = await self._start(message, params, attachments, on_upload, inbox)
        try:
            if on_start:
                on_start(task_id)
            while events := await inbox.take():
                for event in events:
                    yield event
        finally:
            inbox.end()
            if self._exchange.leave(task_id):
                await self._exchange.stop(task_id)

    async def ask(
        self,
        message: str,
        *,
        params: Mapping[str, JsonValue] | None = None,
        attachments: Sequence[Attachable] = (),
        on_upload: OnUpload | None = None,
    ) -> str:
        """Ask the agent and return its answer; raises like ``stream``."""
        response = ""
        async for event in self.stream(message, params=params, attachments=attachments, on_upload=on_upload):
            if isinstance(event, AgentResponseFrame):
                response = event.response
        return response

    async def send_agent_request(
        self,
        message: str,
        *,
        params: Mapping[str, JsonValue] | None = None,
        attachments: Sequence[Attachable] = (),
        on_upload: OnUpload | None = None,
    ) -> str:
        """Start a task and return the id that the server has given it. Raises like ``stream``."""
        return await self._start(message, params, attachments, on_upload, None)

    async def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        media_type: str | None = None,
        progress: OnUpload | None = None,
    ) -> File:
        """Upload a file, a path or bytes, for any number of requests of this session; goes on after a break.

        Name and type are the path's own where they are not given. Raises like ``stream``.
        """
        return (await self._uploads.send(source, name, media_type, progress))[0]

    @overload
    async def download(self, file: AgentFile, to: None = None) -> bytes: ...

    @overload
    async def download(self, file: AgentFile, to: str | PathLike[str]) -> Path: ...

    async def download(self, file: AgentFile, to: str | PathLike[str] | None = None) -> bytes | Path:
        """Return the bytes of a file of the agent's, or write them to ``to``, in place of what is there.

        It goes on after a break. A file is there as long as its session is.

        Raises:
            FileError: if it cannot be had; OSError: if it cannot be written.
        """
        if to is None:
            return await fetch(self._uri, file, self._backoff)
        return await fetch_to(Path(to), self._uri, file, self._backoff)

    async def cancel_request(self, task_id: str) -> None:
        """Cancel a task, and return when it has really ended.

        Raises:
            ServerError: ``unknown_task`` where it had ended before, ``cancel_failed`` where it does not stop.
        """
        await self._asking.request(task_id, Request(frames.CancelRequest(task_id=task_id)))

    async def answer(self, task_id: str, input_id: str, response: Any) -> None:
        """Answer an ``InputRequiredFrame`` with a JSON value, for an approval a bool or ``{"approved": ...}``.

        Raises:
            MessageTooLong: if the server would not take an answer of that size.
        """
        frame = frames.InputResponse(task_id=task_id, input_id=input_id, response=response)
        request = Request(frame)
        self._asking.check(request)
        self._exchange.keep_answer(request, frame, self.answers_kept)
        await self._asking.send(request)

    async def listen_for_events(self, show: Callable[[str], object] | None = None) -> None:
        """Show every frame as it comes, as one line of JSON, until ``close``. ``show`` prints it if it is not given."""
        self._asking.connected()
        inbox = Inbox[str](self.max_behind, self.patience)
        self._reader.listeners.add(inbox)
        try:
            while texts := await inbox.take():
                for text in texts:
                    (show or say)(one_line(text))
        finally:
            self._reader.listeners.discard(inbox)
            inbox.end()

    # ---- Requests ----------------------------------------------------------------------------------------------------

    async def _start(
        self,
        message: str,
        params: Mapping[str, JsonValue] | None,
        attachments: Sequence[Attachable],
        on_upload: OnUpload | None,
        inbox: Inbox[TaskEvent] | None,
    ) -> str:
        wanted = None if params is None else dict(params)
        frame = frames.AgentRequest(message=message, request_id=uuid.uuid4().hex, params=wanted)
        self._asking.check(Request(frame))  # before files are uploaded for nothing
        async with self._uploads.attached(attachments, on_upload) as ids:
            return await self._start_task(frame.model_copy(update={"attachments": ids}), inbox)

    async def _start_task(self, frame: frames.AgentRequest, inbox: Inbox[TaskEvent] | None) -> str:
        request = Request(frame, inbox)
        try:
            task_id: str = await self._asking.request(frame.request_id or "", request)
            return task_id
        except (asyncio.CancelledError, NoAnswer):
            # Nobody will know the id of the task: it is stopped as soon as that comes, or here if it has just come.
            if not request.answer.cancel() and not request.answer.exception():
                self._exchange.leave(request.answer.result())
                await self._exchange.stop(request.answer.result())
            raise
