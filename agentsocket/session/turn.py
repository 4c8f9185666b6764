"""What one task says: the agent's side of it, made fit for the wire."""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from pydantic import JsonValue

from agentsocket.agent.contract import Context
from agentsocket.protocol.codec import encode
from agentsocket.protocol.events import AgentOutput, InputRequired, ToolCall, ToolResult
from agentsocket.protocol.frames import InputRequiredFrame, PendingInput, ToolCallFrame, ToolResultFrame
from agentsocket.session.big_values import BIG, encode_big, weight
from agentsocket.session.budget import Account
from agentsocket.session.encoding import OUTPUT_LIMIT, OutputEncoder, clean, jsonable
from agentsocket.session.frame_log import FrameLog

T = TypeVar("T")


class TaskTurn:
    """The ``Turn`` of one task: it keeps what every agent would have to keep.

    Calls and results are paired, values made safe for JSON, text kept clean of broken characters, questions matched
    with their answers.
    """

    def __init__(self, task_id: str, log: FrameLog, context: Context, params: Mapping[str, JsonValue]) -> None:
        self.task_id, self.context, self.params = task_id, context, params
        self.ended = False
        """Whether nothing can be said any more."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._elsewhere: set[Future[Any]] = set()
        """What code in threads waits for."""
        self._log = log
        self.max_tool_output: int | None = None
        """Bytes that the result of a tool may have."""
        self._output = OutputEncoder(task_id)
        self._text = None if log.account is None else RecentText(log.account)
        self._open_calls: dict[str, str] = {}
        self._inputs: dict[str, tuple[bytes, asyncio.Future[JsonValue]]] = {}
        self._order = asyncio.Lock()
        self._in_order = 0
        """Events that are said one after the other, since the first of them takes its time to be encoded."""

    async def emit(self, event: ToolCall | ToolResult | AgentOutput) -> None:
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
        if isinstance(event, AgentOutput) and not self._in_order:
            self._say_text(event)  # first, as it comes by the thousand
            return
        big = self._is_big(event)
        if big or self._in_order:
            await self._say_in_order(event, big=big)
        else:
            self._say(event)

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
        frame = encode(InputRequiredFrame(task_id=self.task_id, **pending.model_dump()))
        self._inputs[pending.input_id] = frame, answer
        self._count(len(frame))
        self._log.append(frame)
        try:
            async with asyncio.timeout(question.expires_in):
                return await answer
        finally:
            self._close_input(pending.input_id)

    def emit_blocking(self, event: ToolCall | ToolResult | AgentOutput) -> None:
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
        return True

    def end(self, *, unfinished: str) -> None:
        """Nothing comes after this but the terminal frame. Calls still open are closed as failed, for this reason."""
        self.ended = True
        for input_id in list(self._inputs):
            if (answer := self._close_input(input_id)) is not None:
                answer.cancel()  # something of the task may still wait for it, and would for ever
        for frame in self._output.end():
            self._log.append(frame)
        for call_id, name in self._open_calls.items():
            self._say_result(ToolResult(tool_name=name, tool_call_id=call_id, tool_output=unfinished, is_error=True))
        self._open_calls.clear()

    @property
    def text(self) -> bytes:
        """The text so far, as UTF-8; of a long one the newest part."""
        return b"" if self._text is None else self._text.newest

    def forget_text(self) -> None:
        """Give up the text so far."""
        if self._text is not None:
            self._text.clear()

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

    def _is_big(self, event: ToolCall | ToolResult | AgentOutput) -> bool:
        if isinstance(event, ToolResult):
            most = min(BIG, self.max_tool_output or BIG)
            return weight(event.tool_output, most) > most
        return isinstance(event, ToolCall) and weight(event.tool_kwargs, BIG) > BIG

    async def _say_in_order(self, event: ToolCall | ToolResult | AgentOutput, *, big: bool) -> None:
        """Encode a big value in a thread, while the loop serves the others; what is said meanwhile waits behind it."""
        self._in_order += 1
        try:
            async with self._order:
                self._say(event, await asyncio.to_thread(self._encode, event) if big else None)
        finally:
            self._in_order -= 1

    def _encode(self, event: ToolCall | ToolResult | AgentOutput) -> bytes | None:
        if isinstance(event, ToolResult):
            return encode_big(event.tool_output, self.max_tool_output)
        return encode_big(event.tool_kwargs, None) if isinstance(event, ToolCall) else None

    def _say(self, event: ToolCall | ToolResult | AgentOutput, encoded: bytes | None = None) -> None:
        if isinstance(event, AgentOutput):
            self._say_text(event)
        elif self.ended:
            raise _over()
        elif isinstance(event, ToolCall):
            self._call(event, encoded)
        elif isinstance(event, ToolResult):
            self._result(event, encoded)
        else:
            raise TypeError(f"an agent emits ToolCall, ToolResult and AgentOutput, not {type(event).__name__}")

    def _say_text(self, output: AgentOutput) -> None:
        if self.ended:
            raise _over()
        for frame in self._output.encode(output.output):
            self._log.append(frame)
        if self._text is not None:
            self._text.append(output.output)

    def _call(self, call: ToolCall, encoded: bytes | None) -> None:
        call_id = clean(call.tool_call_id or secrets.token_hex(8))
        if call_id in self._open_calls:
            return  # two frameworks tell a call again after its approval
        name = self._open_calls[call_id] = clean(call.tool_name)
        kwargs = jsonable(call.tool_kwargs) if encoded is None else {}
        if not isinstance(kwargs, dict):
            kwargs = {"arguments": kwargs}
        frame = encode(ToolCallFrame(task_id=self.task_id, tool_name=name, tool_kwargs=kwargs, tool_call_id=call_id))
        if encoded is not None:
            whole = encoded if encoded.startswith(b"{") else b'{"arguments":%s}' % encoded
            # Within a string of JSON, a quotation mark is escaped: these can only be the field.
            frame = frame.replace(b'"tool_kwargs":{}', b'"tool_kwargs":%s' % whole, 1)
        self._log.append(frame)

    def _result(self, result: ToolResult, encoded: bytes | None) -> None:
        call_id = result.tool_call_id and clean(result.tool_call_id)
        name = clean(result.tool_name)
        if call_id is None:
            call_id = next(self._calls_of(name), None)
        name = self._open_calls.pop(call_id or "", name)
        self._say_result(result.model_copy(update={"tool_name": name, "tool_call_id": call_id}), encoded)

    def _calls_of(self, name: str) -> Iterator[str]:
        return (call_id for call_id, called in self._open_calls.items() if name in {called, ""})

    def _say_result(self, result: ToolResult, encoded: bytes | None = None) -> None:
        frame = self._result_frame(result, jsonable(result.tool_output) if encoded is None else None)
        limit = self.max_tool_output
        if encoded is None and limit is not None and len(frame) > limit:  # it looked smaller than it is
            encoded = encode_big(jsonable(result.tool_output), limit)
            frame = self._result_frame(result, None)
        if encoded is not None:
            frame = frame.replace(b'"tool_output":null', b'"tool_output":%s' % encoded, 1)
        self._log.append(frame)

    def _result_frame(self, result: ToolResult, output: JsonValue) -> bytes:
        return encode(
            ToolResultFrame(
                task_id=self.task_id,
                tool_name=result.tool_name,
                tool_output=output,
                tool_call_id=result.tool_call_id,
                is_error=result.is_error or None,  # said only where it is so
            )
        )


class RecentText:
    """The newest part of a long text, held for a client that has missed frames."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._data = bytearray()  # one buffer, where each of many small pieces would take 60 bytes beside its own

    def append(self, piece: str) -> None:
        """Add a piece."""
        before = len(self._data)
        self._data += piece.encode(errors="surrogatepass")
        if len(self._data) > 2 * OUTPUT_LIMIT:
            del self._data[:-OUTPUT_LIMIT]
        self._account.count(len(self._data) - before)

    @property
    def newest(self) -> bytes:
        """At most 256 KiB of it, as UTF-8; the first character may be cut."""
        return bytes(self._data[-OUTPUT_LIMIT:])

    def clear(self) -> None:
        """Forget it so far."""
        size = len(self._data)
        self._data.clear()
        self._account.count(-size)


def _over() -> asyncio.CancelledError:
    return asyncio.CancelledError("the task has ended")


def _pending(question: InputRequired) -> PendingInput:
    fields = {name: jsonable(value) for name, value in question.model_dump().items()}
    return PendingInput.model_validate({**fields, "input_id": secrets.token_hex(8)})
