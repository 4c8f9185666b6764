"""The reader of a client: what it does with each frame, and the way back when its connection is lost."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NoReturn

from websockets.exceptions import ConnectionClosed

from agentsocket.client.credentials import Credentials
from agentsocket.client.errors import ConnectionLost, NoToken, ServerError, TaskCancelled
from agentsocket.client.exchange import Exchange, error_of, retell
from agentsocket.client.fates import LOST, Fates
from agentsocket.client.inbox import Inbox
from agentsocket.client.link import ANSWER_WITHIN, Connection, may_reconnect, open_connection
from agentsocket.client.renewal import Renewal
from agentsocket.client.uploads import Uploads
from agentsocket.protocol import frames
from agentsocket.protocol.codec import decode_server_frame, encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import AgentResponseFrame, AnyServerFrame, InputRequiredFrame, LoginResponse

TRY_AGAIN: Final = {
    ErrorCode.SHUTTING_DOWN,
    ErrorCode.RATE_LIMITED,
    ErrorCode.TOO_MANY_SESSIONS,
    ErrorCode.AUTHENTICATION_UNAVAILABLE,
    ErrorCode.CONVERSATION_BUSY,
    ErrorCode.STORE_UNAVAILABLE,
}
"""Why a login may be refused now and granted later."""


class Reader:
    """Reads a client's connection, and where that breaks the next one; it feeds everybody who waits for a frame."""

    def __init__(  # noqa: PLR0913  # all by name
        self,
        *,
        uri: str,
        credentials: Credentials,
        renewal: Renewal,
        exchange: Exchange,
        uploads: Uploads,
        on_input: Callable[[InputRequiredFrame], Any] | None,
        on_connection: Callable[[bool], object] | None,
        backoff: Callable[[], Iterable[float]],
    ) -> None:
        """Start without a connection; the client says what each of these is."""
        self._uri, self._credentials, self._renewal, self._exchange = uri, credentials, renewal, exchange
        self._uploads = uploads
        self._on_input, self._on_connection, self._backoff = on_input, on_connection, backoff
        self.socket: Connection | None = None
        """The connection; after a break the old one, until the session is taken up on another."""
        self.session: LoginResponse | None = None
        self.listeners: set[Inbox[str]] = set()
        self._last_seq = 0
        self._fates = Fates(exchange, credentials.features)
        self._kept = False
        """Whether there is something of the conversation to go on with: nothing is kept before its first request."""

    async def run(self, socket: Connection, stable_after: float) -> None:
        """Read until there is no connection any more, then tell everybody.

        A connection that lasted for ``stable_after`` seconds has earned a fresh back-off.
        """
        error: ConnectionLost | None = ConnectionLost("The client itself has failed.")
        try:
            await self._read(socket, stable_after)
        except ConnectionLost as exc:
            error = exc
        except asyncio.CancelledError:
            error = None
            raise
        finally:
            await self.end(error)

    async def end(self, error: ConnectionLost | None = None) -> None:
        """The connection is gone, without an error where this client closed it: nobody is left waiting."""
        socket, self.socket, self.session = self.socket, None, None
        self._renewal.end()
        for listener in self.listeners:
            listener.end(error)
        why = str(error or "This client has closed the connection.")
        self._uploads.abandon(why)
        self._fates.clear()
        await self._exchange.abandon(why)
        if socket is not None:
            await socket.end()

    # ---- Frames ------------------------------------------------------------------------------------------------------

    async def _receive(self, socket: Connection) -> AnyServerFrame | None:
        """Read a frame; none where it came before the break already, or only a newer server knows it.

        A sign of life is none either: it is the connection's, and nobody else's.
        """
        text = await socket.recv(decode=False)
        frame = _decode(text)
        if isinstance(frame, frames.HeartbeatFrame):
            return None
        if isinstance(frame, LoginResponse):
            socket.agree(frame)
        if frame is not None and frame.seq is not None:
            if frame.seq <= self._last_seq:
                return None
            self._last_seq = frame.seq
        for listener in tuple(self.listeners):
            await listener.put(text.decode())
        return frame

    async def _dispatch(self, frame: AnyServerFrame | None) -> None:
        exchange = self._exchange
        match frame:
            case InputRequiredFrame():
                if self._on_input is not None:
                    exchange.consult(self._on_input, frame)
                await exchange.pass_on(frame)
            case AgentResponseFrame():
                exchange.conclude(frame)
            case frames.TaskCancelled():
                exchange.end(frame.task_id, TaskCancelled("The task was cancelled.", unsaved=bool(frame.unsaved)))
            case frames.AgentRequestReceived():
                self._kept = True
                await exchange.confirm(frame)
            case (
                frames.UploadProgress(upload_id=upload_id)
                | frames.UploadComplete(upload_id=upload_id)
                | frames.ErrorFrame(upload_id=str(upload_id))
            ):
                self._uploads.take(upload_id, frame)
            case frames.ErrorFrame():
                exchange.refuse(frame)
            case frames.TaskFrame():
                await exchange.pass_on(frame)
            case frame:
                self._take_answer(frame)

    def _take_answer(self, frame: AnyServerFrame | None) -> None:
        match frame:
            case LoginResponse():
                self._last_seq = frame.last_seq or 0
                self._kept = frame.memory is not None or frame.resumed is True
                self._enter(frame)
                self._exchange.answered("login", frame.session_id)
            case frames.RefreshResponse():
                self._renewal.extend(frame.expires_in)
                self._exchange.answered(frame.request_id or "")
            case frames.LogoutResponse():
                self.session = None
                self._renewal.end()
                self._uploads.abandon("The session has ended.")
                self._exchange.answered("logout")
            case (
                frames.Conversations(request_id=str(key))
                | frames.ConversationFrame(request_id=str(key))
                | frames.ConversationUpdated(request_id=str(key))
                | frames.ConversationDeleted(request_id=str(key))
            ):
                self._exchange.answered(key, frame)

    def _enter(self, session: LoginResponse) -> None:
        self.session = session
        self._renewal.begin(session.expires_in)

    # ---- The way back ------------------------------------------------------------------------------------------------

    async def _read(self, socket: Connection, stable_after: float) -> NoReturn:
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
                self._renewal.end()
                self._tell_connection(connected=False)
                if not (self.session and self.session.resume_token and may_reconnect(socket.close_code)):
                    why = f"The connection was lost: {socket.fate or exc}."
                    raise ConnectionLost(why, socket.close_code) from exc
            if loop.time() - since > stable_after:
                delays = iter(self._backoff())
            socket, resumed = await self._resume(self.session, delays)
            self._tell_connection(connected=True)

    def _tell_connection(self, *, connected: bool) -> None:
        if self._on_connection:
            self._on_connection(connected)

    async def _resume(self, session: LoginResponse, delays: Iterator[float]) -> tuple[Connection, LoginResponse]:
        """Take the session up on a new connection. Raises ``ConnectionLost`` when it is gone, or the delays are."""
        why, wait = "", 0.0
        for delay in delays:
            await asyncio.sleep(wait + delay)
            wait = 0.0
            try:
                await self._credentials.prepare_again()
                socket = await open_connection(self._uri)
            except (ConnectionLost, NoToken) as exc:
                why = f" {exc}"
                continue
            try:
                if resumed := await self._log_in_again(socket, session):
                    return socket, resumed
            except ServerError as exc:
                why, wait = f" {exc}", exc.retry_after or 0.0
            except (ConnectionClosed, TimeoutError):
                pass
        raise ConnectionLost(f"The connection was lost, and the server could not be reached again.{why}")

    async def _log_in_again(self, socket: Connection, session: LoginResponse) -> LoginResponse | None:
        """Return the answer, none where that is something else. Raises ``ServerError`` where it says to try again."""
        login = await self._credentials.login_again(session, self._last_seq)
        try:
            await socket.say(encode(login))
            async with asyncio.timeout(ANSWER_WITHIN):
                answer = await self._receive(socket)
            match answer:
                case LoginResponse() as response:
                    self.socket = socket
                    self._take_up(session, response)
                    return response
                case frames.ErrorFrame(code=ErrorCode.CONVERSATION_NOT_FOUND) if not self._kept:
                    session.session_id, session.conversation_id = "", None  # the next login begins another one
                    return None
                case frames.ErrorFrame(code=code) if code in TRY_AGAIN:
                    raise error_of(answer)
                case frames.ErrorFrame(message=message):
                    raise ConnectionLost(f"The connection was lost, and the session with it: {message}")
            return None
        finally:
            if self.socket is not socket:
                await socket.end()

    def _take_up(self, session: LoginResponse, response: LoginResponse) -> None:
        if response.session_id != session.session_id:
            self._last_seq = 0
            self._fates.lose_session()
        fields: dict[str, Any] = {"tasks": None, "resume_token": response.resume_token or session.resume_token}
        if response.session_id == session.session_id:
            fields["memory"] = session.memory
        self._enter(response.model_copy(update=fields))

    async def _catch_up(self, socket: Connection, resumed: LoginResponse) -> None:
        """Say again what may not have arrived; where frames were lost, tell from the snapshots how the tasks stand."""
        requests = self._exchange.requests
        later = {key for key, request in requests.items() if self._fates.waits_for(key, request)}
        await self._say_again(socket, set(requests) - later)
        await self._uploads.go_on()
        if resumed.lossless is False:
            await self._make_up(socket, resumed)
        if self._fates.unknown and await self._settle(socket):
            await self._say_again(socket, later)

    async def _say_again(self, socket: Connection, keys: Collection[str]) -> None:
        for key, request in list(self._exchange.requests.items()):
            if key in keys:
                request.resent = True
                await socket.say(request.text)

    async def _settle(self, socket: Connection) -> bool:
        """Find out what became of what another session had. Where that cannot be told now, break the connection off."""

        async def look_up(question: frames.GetConversation) -> frames.ConversationFrame:
            await socket.say(encode(question))
            async with asyncio.timeout(ANSWER_WITHIN):
                while True:
                    match frame := await self._receive(socket):
                        case frames.ConversationFrame(request_id=question.request_id):
                            return frame
                        case frames.ErrorFrame(request_id=question.request_id):
                            raise error_of(frame)
                        case frames.ErrorFrame(task_id=str(task_id)) if self._fates.concerns(task_id):
                            pass  # another session has never heard of it, and the conversation has
                        case _:
                            await self._dispatch(frame)

        try:
            await self._fates.settle(look_up)
        except (ServerError, TimeoutError) as exc:
            if isinstance(exc, TimeoutError) or exc.code in TRY_AGAIN:
                socket.transport.abort()
                return False
            self._fates.give_up()
        return True

    async def _make_up(self, socket: Connection, resumed: LoginResponse) -> None:
        """Tell from the snapshots how the tasks stand."""
        streams = set(self._exchange.streams)
        before, self._last_seq = self._last_seq, resumed.last_seq or 0
        try:
            held = await self._await_confirmations(socket)
        except ConnectionClosed:
            self._last_seq = before  # so that the next resume tells of these losses again
            raise
        self._exchange.have_gap()
        tasks = resumed.tasks or []
        forgotten = streams - {task.task_id for task in tasks}
        if resumed.conversation_id is not None:
            self._fates.lose(forgotten)
        else:
            for task_id in forgotten:
                self._exchange.end(task_id, ConnectionLost(LOST))
        for frame in (*(frame for task in tasks for frame in retell(task)), *held):
            await self._dispatch(frame)

    async def _await_confirmations(self, socket: Connection) -> list[AnyServerFrame]:
        """Learn the ids of the tasks asked for before the break; return what else came meanwhile.

        Only then does each snapshot find its stream.
        """
        asked = {
            key: request.answer
            for key, request in self._exchange.requests.items()
            if isinstance(request.frame, frames.AgentRequest) and not self._fates.waits_for(key, request)
        }
        held = []
        # One whose asker waits no longer does not hold up the others.
        while not all(answer.done() for answer in asked.values()):
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


def _decode(text: bytes) -> AnyServerFrame | None:
    """Return none for an event of a newer server; raise ``ConnectionLost`` for what is no frame."""
    try:
        return decode_server_frame(text)
    except ProtocolError as exc:
        if exc.code == ErrorCode.UNKNOWN_EVENT:
            return None
        raise ConnectionLost(f"The server sent what is no frame: {exc}") from exc
