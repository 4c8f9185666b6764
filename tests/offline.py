"""What the tests of the agent that ships share: a turn that records."""

import asyncio
from collections.abc import Callable

from pydantic import JsonValue

from agentsocket.agent.contract import Agent
from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.protocol.events import AgentOutput, Emitted, InputRequired, ToolCall, ToolResult
from tests.support import BareTurn

PATIENCE = 10.0
"""Seconds: the one bound on every wait."""


class Recorder(BareTurn):
    """A turn that keeps what an agent emits, and answers what it asks."""

    def __init__(self, answer: JsonValue = None) -> None:
        self.events: list[Emitted] = []
        self.questions: list[InputRequired] = []
        self.asked = asyncio.Event()
        self.answered = asyncio.Event()
        self._answer = answer
        self._more = asyncio.Event()
        if answer is not None:
            self.answered.set()

    async def emit(self, event: Emitted) -> None:
        self.events.append(event)
        self._more.set()
        await asyncio.sleep(0)

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
