"""A turn that writes down what an agent says, and can keep it waiting."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import JsonValue

from agentsocket.agent.contract import AgentError, Attachment, Context
from agentsocket.protocol.events import (
    AgentData,
    AgentFile,
    AgentOutput,
    AgentReasoning,
    Emitted,
    InputRequired,
    ToolCall,
    ToolResult,
)
from tests.support import BareTurn

Event = Emitted | AgentFile

UNKNOWN = "application/octet-stream"


@dataclass
class Upload:
    """A file that came with the request."""

    name: str
    media_type: str
    data: bytes
    path: Path = Path("/nowhere")
    id: str = field(default_factory=lambda: token_hex(8))

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self) -> bytes:
        return self.data


class Recorder(BareTurn):
    """``keep_waiting`` names the kind of event whose emitting never returns; ``answers`` are given in order.

    ``context`` says whom it is for, ``attachments`` and ``params`` what the request brings, ``known`` what the
    session has besides. A file that is sent is an
    event too, its bytes stand in ``files`` by its name; there is ``room`` for them, or not.
    """

    def __init__(
        self,
        *answers: JsonValue,
        keep_waiting: type[Event] | None = None,
        context: Context | None = None,
        attachments: Sequence[Attachment] = (),
        known: Iterable[Attachment] = (),
        room: bool = True,
        **params: Any,
    ) -> None:
        self.context, self.params = context or self.context, params
        self.attachments = attachments
        self.session_files: dict[str, Attachment] = {upload.id: upload for upload in (*attachments, *known)}
        self.events: list[Event] = []
        self.files: dict[str, bytes] = {}
        self.questions: list[InputRequired] = []
        self.waiting = asyncio.Event()
        self._answers = list(answers)
        self._keep_waiting = keep_waiting
        self._room = room

    async def emit(self, event: Event) -> None:
        self.events.append(event)
        if self._keep_waiting is type(event):
            await self._wait_for_ever()

    async def send_file(
        self, path_or_bytes: Any, name: Any = None, media_type: Any = None, tool_call_id: Any = None
    ) -> AgentFile:
        if not self._room:
            raise AgentError("There is no room.")
        file = AgentFile(
            tool_call_id=tool_call_id,
            file_id=f"file_{len(self.files)}",
            name=name,
            media_type=media_type or UNKNOWN,
            size=len(path_or_bytes),
            url="/files/none",
        )
        self.files[name] = path_or_bytes
        self.session_files[file.file_id] = Upload(name, file.media_type, path_or_bytes, id=file.file_id)
        self.events.append(file)
        return file

    async def ask(self, question: InputRequired) -> JsonValue:
        self.questions.append(question)
        if not self._answers:
            await self._wait_for_ever()
        return self._answers.pop(0)

    async def _wait_for_ever(self) -> None:
        self.waiting.set()
        await asyncio.get_running_loop().create_future()

    @property
    def calls(self) -> list[ToolCall]:
        return [event for event in self.events if isinstance(event, ToolCall)]

    @property
    def results(self) -> list[ToolResult]:
        return [event for event in self.events if isinstance(event, ToolResult)]

    @property
    def text(self) -> list[str]:
        return [event.output for event in self.events if isinstance(event, AgentOutput)]

    @property
    def reasoning(self) -> list[str]:
        return [event.reasoning for event in self.events if isinstance(event, AgentReasoning)]

    @property
    def data(self) -> list[AgentData]:
        return [event for event in self.events if isinstance(event, AgentData)]
