"""The agent's side of one task: what it says goes out in order, what it asks is answered, from whatever thread."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple, TypeVar

from pydantic import JsonValue
from pydantic_core import to_json

from agentsocket.agent.contract import AgentError, Context
from agentsocket.files.store import StoredFile
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ProtocolError
from agentsocket.protocol.events import AgentFile, AgentOutput, Emitted, InputRequired
from agentsocket.protocol.frames import InputRequiredFrame, PendingInput
from agentsocket.session.encoding import jsonable
from agentsocket.session.speech import Speech

T = TypeVar("T")

Source = str | os.PathLike[str] | bytes
"""A file of an agent's: its path, or its bytes."""

EVENT = 1024
"""Bytes that an event counts for beside its frame: many small ones take their time to be encoded, and where the client
understands nothing of them there is no frame, yet others are to have their turn."""

AddFile = Callable[[Source, str | None, str | None], Awaitable[StoredFile]]
"""Keeps a copy of a file for the session, under a name and a media type; raises what ``Shelf.add`` raises."""


class Files(NamedTuple):
    """What a turn may do with the files of its session."""

    add: AddFile
    readable: Callable[[], Mapping[str, StoredFile]]


class TaskTurn:
    """The ``Turn`` of one task."""

    def __init__(
        self,
        speech: Speech,
        context: Context,
        params: Mapping[str, JsonValue],
        attachments: Sequence[StoredFile],
        files: Files,
    ) -> None:
        self.speech = speech
        """What it has said."""
        self.context, self.params, self.attachments = context, params, attachments
        self.ended = False
        """Whether nothing can be said any more."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._elsewhere: set[Future[Any]] = set()
        """What code in threads waits for."""
        self._log, self._files = speech.log, files
        self._inputs: dict[str, tuple[bytes, asyncio.Future[JsonValue]]] = {}
        self._order = asyncio.Lock()
        self._in_order = 0
        """Events that are said one after the other, since the first of them takes its time to be encoded."""

    @property
    def features(self) -> Collection[str]:
        """What the client understands beyond the base, as it has last said."""
        return self._log.features

    @property
    def session_files(self) -> Mapping[str, StoredFile]:
        """The files of its session that the agent may read, by their ids."""
        return self._files.readable()

    async def emit(self, event: Emitted) -> None:
        """Send an event; waits while the client lags.

        Raises:
            asyncio.CancelledError: when the task has ended and something of it still runs.
            TypeError: if it is no event.
        """
        if asyncio.get_running_loop() is not self._loop:
            await asyncio.wrap_future(self._at_home(self.emit(event)))
            return
        if self._log.room < 0:
            # Before it is said: an agent that gives up waiting has said nothing, so that it cannot pile up either.
            await self._log.breathe()
        if self._in_order or not isinstance(event, AgentOutput):
            await self._say_in_order(event)
        elif self.ended:
            raise _over()
        else:
            self.speech.output(event.output)  # here, as it comes by the thousand

    async def send_file(
        self,
        path_or_bytes: Source,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Send a copy of a file; return what the client is told of it.

        Raises:
            AgentError: where there is no room for it, in a sentence that the client may read.
            asyncio.CancelledError: as ``emit``.
            OSError: if there is no file to be read at that path.
        """
        if asyncio.get_running_loop() is not self._loop:
            return await asyncio.wrap_future(
                self._at_home(self.send_file(path_or_bytes, name, media_type, tool_call_id))
            )
        if self.ended:
            raise _over()
        try:
            file = await self._files.add(path_or_bytes, name, media_type)
        except ProtocolError as exc:
            raise AgentError(exc.message) from exc
        event = AgentFile(
            tool_call_id=tool_call_id,
            file_id=file.id,
            name=file.name,
            media_type=file.media_type,
            size=file.size,
            url=file.url,
        )
        await self._say_in_order(event)
        return event

    async def ask(self, question: InputRequired) -> JsonValue:
        """Ask the client, and wait for its answer.

        Raises:
            TimeoutError: if there is none within ``expires_in`` seconds.
            asyncio.CancelledError: when the task has ended and something of it still runs.
        """
        if asyncio.get_running_loop() is not self._loop:
            return await asyncio.wrap_future(self._at_home(self.ask(question)))
        if self._in_order:
            async with self._order:
                pass  # what was said before it goes first
        if self.ended:
            raise _over()
        pending = _pending(question)
        answer: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        frame = encode(InputRequiredFrame(task_id=self.speech.task_id, **pending.model_dump()))
        self._inputs[pending.input_id] = frame, answer
        self._count(len(frame))
        self._log.append(frame)
        if self.speech.transcript is not None:
            self.speech.transcript.add(frame, pending.input_id)
        try:
            async with asyncio.timeout(question.expires_in):
                return await answer
        finally:
            self._close_input(pending.input_id)

    def emit_blocking(self, event: Emitted) -> None:
        """Send an event from a thread; waits while the client lags.

        Raises:
            asyncio.CancelledError: as ``emit``, and as soon as the task is to stop.
        """
        self._wait_for(self.emit(event))

    def ask_blocking(self, question: InputRequired) -> JsonValue:
        """Ask from a thread, and wait for the answer.

        Raises:
            TimeoutError: as ``ask``.
            asyncio.CancelledError: as ``ask``, and as soon as the task is to stop.
        """
        return self._wait_for(self.ask(question))

    def send_file_blocking(
        self,
        path_or_bytes: Source,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Send a file from a thread.

        Raises:
            AgentError: as ``send_file``.
            asyncio.CancelledError: as ``emit``, and as soon as the task is to stop.
            OSError: as ``send_file``.
        """
        return self._wait_for(self.send_file(path_or_bytes, name, media_type, tool_call_id))

    def stop(self) -> None:
        """Let no thread wait any more: the task is to end, and a thread hears of that by nothing else."""
        self._stopping = True
        for waiting in list(self._elsewhere):
            waiting.cancel()

    def _at_home(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it on the turn's own loop, for code in a thread, which may have a loop of its own."""
        if self._stopping:
            coroutine.close()
            raise _over()
        waiting = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._elsewhere.add(waiting)
        waiting.add_done_callback(self._elsewhere.discard)
        if self._stopping:  # since just now: looked at last, as it is set first
            waiting.cancel()
        return waiting

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # the public one raises where there is none
            coroutine.close()
            raise RuntimeError("this would block the event loop: await emit() or ask() there")
        try:
            return self._at_home(coroutine).result()
        except CancelledError:  # an Exception, other than asyncio's
            raise asyncio.CancelledError from None

    def answer(self, input_id: str, response: JsonValue) -> bool:
        """Give a question its answer; false where no such question is open."""
        answer = self._close_input(input_id)
        if answer is None or answer.done():
            return False
        answer.set_result(response)
        if self.speech.transcript is not None:
            self.speech.transcript.answer(input_id, to_json(response))
        return True

    def end(self, *, unfinished: str) -> None:
        """Nothing comes after this but the terminal frame; why something is left unfinished is said of it."""
        self.ended = True
        for input_id in list(self._inputs):
            if (answer := self._close_input(input_id)) is not None:
                answer.cancel()  # something of the task may still wait for it, and would for ever
        self.speech.end(unfinished=unfinished)

    @property
    def questions(self) -> list[bytes]:
        """The frames of the questions that wait for an answer, oldest first."""
        return [frame for frame, _ in self._inputs.values()]

    def _close_input(self, input_id: str) -> asyncio.Future[JsonValue] | None:
        frame, answer = self._inputs.pop(input_id, (b"", None))
        self._count(-len(frame))
        return answer

    def _count(self, size: int) -> None:
        if self._log.account is not None:
            self._log.account.count(size)

    async def _say_in_order(self, event: Emitted | AgentFile) -> None:
        """Say an event.

        A big value is encoded in a thread, while the loop serves the others; what is said meanwhile waits behind it.
        """
        big = self.speech.is_big(event)
        if not big and not self._in_order:
            self._say(event, None)
            return
        self._in_order += 1
        try:
            async with self._order:
                self._say(event, await asyncio.to_thread(self.speech.encode, event) if big else None)
        finally:
            self._in_order -= 1

    def _say(self, event: Emitted | AgentFile, encoded: bytes | None) -> None:
        if self.ended:
            raise _over()
        self._log.room -= EVENT
        self.speech.say(event, encoded)


def _over() -> asyncio.CancelledError:
    return asyncio.CancelledError("the task has ended")


def _pending(question: InputRequired) -> PendingInput:
    fields = {name: jsonable(value) for name, value in question.model_dump().items()}
    return PendingInput.model_validate({**fields, "input_id": secrets.token_hex(8)})
