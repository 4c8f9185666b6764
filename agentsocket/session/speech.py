"""What one task says: the agent's events, made fit for the wire."""

import secrets
import sys
from collections.abc import Iterator

from pydantic import JsonValue
from pydantic_core import to_json

from agentsocket.protocol.codec import encode
from agentsocket.protocol.events import (
    AgentData,
    AgentFile,
    AgentOutput,
    AgentReasoning,
    Emitted,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from agentsocket.protocol.frames import (
    AgentDataFrame,
    AgentFileFrame,
    ToolCallFrame,
    ToolProgressFrame,
    ToolResultFrame,
)
from agentsocket.session.big_values import BIG, encode_big, weight
from agentsocket.session.encoding import TextEncoder, clean, jsonable
from agentsocket.session.frame_log import FrameLog
from agentsocket.session.shown import RecentText, Shown
from agentsocket.session.transcript import Transcript


class Speech:
    """Keeps what every agent would have to keep.

    Calls and results are paired, values made safe for JSON, text kept clean of broken characters. Whoever says
    something looks first whether its client understands it.
    """

    def __init__(
        self, task_id: str, log: FrameLog, max_tool_output: int | None, transcript: Transcript | None = None
    ) -> None:
        """Speak into this log, and where the conversation is kept into its transcript.

        The result of a tool may have ``max_tool_output`` bytes.
        """
        self.transcript = transcript
        self.task_id, self.log, self._max_tool_output = task_id, log, max_tool_output
        self._output = TextEncoder("agent_output", "output", task_id)
        self._reasoning: TextEncoder | None = None
        self._text = None if log.account is None else RecentText(log.account)
        self._shown: Shown | None = None
        self._open_calls: dict[str, str] = {}

    def output(self, text: str) -> None:
        """Say the next piece of text."""
        for frame in self._output.encode(text):
            self.log.append(frame)
        if self._text is not None:
            self._text.append(text)
        if self.transcript is not None:
            self.transcript.text("output", text)

    def reasoning(self, text: str) -> None:
        """Say the next piece of what the model thinks."""
        if self.transcript is not None:
            self.transcript.text("reasoning", text)
        if not self.log.understands("reasoning"):
            return
        if self._reasoning is None:
            self._reasoning = TextEncoder("agent_reasoning", "reasoning", self.task_id)
        for frame in self._reasoning.encode(text):
            self.log.append(frame)

    def is_big(self, event: Emitted | AgentFile) -> bool:
        """Whether the event's value would take too long to be encoded on the event loop."""
        match event:
            case ToolResult():
                most = min(BIG, self._max_tool_output or BIG)
                return weight(event.tool_output, most) > most
            case ToolCall():
                return weight(event.tool_kwargs, BIG) > BIG
            case AgentData():
                return self._is_wanted("data") and weight(event.data, BIG) > BIG
        return False

    def encode(self, event: Emitted | AgentFile) -> bytes | None:
        """Encode the value of an event; to be called in a thread where it is big."""
        match event:
            case ToolResult():
                return encode_big(event.tool_output, self._max_tool_output)
            case ToolCall():
                return encode_big(event.tool_kwargs, None)
            case AgentData():
                return encode_big(event.data, None)
        return None

    def say(self, event: Emitted | AgentFile, encoded: bytes | None = None) -> None:
        """Say an event; its value is ``encoded`` already where it is big.

        Raises:
            TypeError: if it is no event.
        """
        match event:
            case AgentOutput():
                self.output(event.output)
            case AgentReasoning():
                self.reasoning(event.reasoning)
            case ToolCall():
                self._call(event, encoded)
            case ToolResult():
                self._result(event, encoded)
            case ToolProgress():
                self._progress(event)
            case AgentData():
                self._data(event, encoded)
            case AgentFile():
                self._file(event)
            case _:
                name = type(event).__name__
                raise TypeError(
                    "an agent emits ToolCall, ToolResult, AgentOutput, AgentReasoning, ToolProgress and AgentData, "
                    f"not {name}"
                )

    def end(self, *, unfinished: str) -> None:
        """Say what is still held. Calls still open are closed as failed, for this reason."""
        for encoder in (self._output, self._reasoning):
            for frame in encoder.end() if encoder is not None else ():
                self.log.append(frame)
        for call_id, name in self._open_calls.items():
            self._say_result(ToolResult(tool_name=name, tool_call_id=call_id, tool_output=unfinished, is_error=True))
        self._open_calls.clear()

    @property
    def text(self) -> bytes:
        """The text so far, as UTF-8; of a long one the newest part."""
        return b"" if self._text is None else self._text.newest

    @property
    def shown(self) -> list[bytes]:
        """The frames of files and data that stay to be seen, oldest first."""
        return [] if self._shown is None else self._shown.frames

    def forget(self) -> None:
        """Give up what was said so far."""
        for each in (self._text, self._shown):
            if each is not None:
                each.clear()

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
        self._append(frame)

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
        limit = self._max_tool_output
        if encoded is None and limit is not None and len(frame) > limit:  # it looked smaller than it is
            encoded = encode_big(jsonable(result.tool_output), limit)
            frame = self._result_frame(result, None)
        if encoded is not None:
            frame = frame.replace(b'"tool_output":null', b'"tool_output":%s' % encoded, 1)
        self._append(frame)

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

    def _progress(self, progress: ToolProgress) -> None:
        frame = ToolProgressFrame(
            task_id=self.task_id,
            tool_call_id=progress.tool_call_id and clean(progress.tool_call_id),
            progress=_number(progress.progress),
            total=_number(progress.total),
            message=progress.message and clean(progress.message),
        )
        self._say_to_whom("progress", encode(frame), progress.tool_call_id or "")

    def _data(self, data: AgentData, encoded: bytes | None) -> None:
        if not self._is_wanted("data"):
            return
        name, data_id = clean(data.name), data.id and clean(data.id)
        value = to_json(jsonable(data.data)) if encoded is None else encoded
        model = AgentDataFrame(task_id=self.task_id, name=name, data=None, id=data_id, transient=data.transient or None)
        frame = encode(model).replace(b'"data":null', b'"data":%s' % value, 1)
        self._say_to_whom("data", frame, data_id, passing=bool(data.transient))
        if data_id is not None:
            self._keep("data", data_id, frame)

    def _file(self, file: AgentFile) -> None:
        said = file.model_copy(update={"tool_call_id": file.tool_call_id and clean(file.tool_call_id)})
        frame = encode(AgentFileFrame(task_id=self.task_id, **said.model_dump()))
        self._say_to_whom("files", frame, file.file_id)
        self._keep("files", file.file_id, frame)

    def _is_wanted(self, feature: str) -> bool:
        return self.transcript is not None or self.log.understands(feature)

    def _append(self, frame: bytes) -> None:
        self.log.append(frame)
        if self.transcript is not None:
            self.transcript.add(frame)

    def _say_to_whom(self, feature: str, frame: bytes, replaces: str | None, *, passing: bool = False) -> None:
        """Say a frame to a client that understands it, and keep it unless it is a passing one."""
        if self.log.understands(feature):
            self.log.append(frame)
        if self.transcript is not None and not passing:
            self.transcript.add(frame, replaces)

    def _keep(self, feature: str, name: str, frame: bytes) -> None:
        if self.log.account is not None and self.log.understands(feature):
            self._shown = self._shown or Shown(self.log.account)
            self._shown.keep(feature, name, frame)


def _number(value: float | None) -> float | None:
    """Return a number where there is one that everybody can read: neither NaN, nor beyond what a float may be."""
    return value if value is not None and abs(value) <= sys.float_info.max else None
