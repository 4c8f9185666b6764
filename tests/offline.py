"""What the tests of the agent that ships share: a turn that records."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agentsocket.agent.contract import Agent, AgentError, Attachment
from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.protocol.events import (
    AgentFile,
    AgentOutput,
    AgentReasoning,
    Emitted,
    InputRequired,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from tests.support import BareTurn

PATIENCE = 10.0
"""Seconds: the one bound on every wait."""


class Recorder(BareTurn):
    """A turn that keeps what an agent emits, and answers what it asks.

    ``events`` is what every client is sent, ``reasoning`` and ``progress`` what only some are.
    """

    def __init__(self, answer: JsonValue = None, attachments: Sequence[Attachment] = ()) -> None:
        self.attachments = attachments
        self.events: list[Emitted] = []
        self.reasoning = ""
        self.progress: list[ToolProgress] = []
        self.files: dict[str, tuple[AgentFile, bytes]] = {}
        self.no_room = ""
        """Why no file can be sent, where that is so."""
        self.stopping = False
        self.questions: list[InputRequired] = []
        self.asked = asyncio.Event()
        self.answered = asyncio.Event()
        self._answer = answer
        self._more = asyncio.Event()
        if answer is not None:
            self.answered.set()

    async def emit(self, event: Emitted) -> None:
        if isinstance(event, AgentReasoning):
            self.reasoning += event.reasoning
        elif isinstance(event, ToolProgress):
            self.progress.append(event)
        else:
            self.events.append(event)
        self._more.set()
        await asyncio.sleep(0)

    def emit_blocking(self, event: Emitted) -> None:
        if self.stopping:
            raise asyncio.CancelledError
        assert isinstance(event, ToolProgress)
        self.progress.append(event)

    def send_file_blocking(
        self, path_or_bytes: Any, name: Any = None, media_type: Any = None, tool_call_id: Any = None
    ) -> AgentFile:
        if self.no_room:
            raise AgentError(self.no_room)
        data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
        file = AgentFile(
            tool_call_id=tool_call_id, file_id=name, name=name, media_type=media_type, size=len(data), url=name
        )
        self.files[name] = file, data
        return file

    async def ask(self, question: InputRequired) -> JsonValue:
        self.questions.append(question)
        self.asked.set()
        await self.answered.wait()
        return self._answer

    def answer(self, answer: JsonValue) -> None:
        self._answer = answer
        self.answered.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the events so far are enough."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._more.clear()
                await self._more.wait()

    @property
    def calls(self) -> list[ToolCall]:
        return [event for event in self.events if isinstance(event, ToolCall)]

    @property
    def results(self) -> list[ToolResult]:
        return [event for event in self.events if isinstance(event, ToolResult)]

    @property
    def text(self) -> str:
        return "".join(event.output for event in self.events if isinstance(event, AgentOutput))


async def ask(message: str, agent: Agent | None = None, turn: Recorder | None = None) -> str:
    async with asyncio.timeout(PATIENCE):
        answer = await (agent or OfflineAgent(tick=0)).run(message, turn or Recorder())
    assert isinstance(answer, str)
    return answer
