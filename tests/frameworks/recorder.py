"""A turn that writes down what an agent says, and can keep it waiting."""

import asyncio
from typing import Any

from pydantic import JsonValue

from agentsocket.agent.contract import Context
from agentsocket.protocol.events import AgentOutput, Emitted, InputRequired, ToolCall, ToolResult
from tests.support import BareTurn

Event = Emitted


class Recorder(BareTurn):
    """``keep_waiting`` names the kind of event whose emitting never returns; ``answers`` are given in order.

    ``context`` says whom it is for, ``params`` what the request brings.
    """

    def __init__(
        self,
        *answers: JsonValue,
        keep_waiting: type[Event] | None = None,
        context: Context | None = None,
        **params: Any,
    ) -> None:
        self.context, self.params = context or self.context, params
        self.events: list[Event] = []
        self.questions: list[InputRequired] = []
        self.waiting = asyncio.Event()
        self._answers = list(answers)
        self._keep_waiting = keep_waiting

    async def emit(self, event: Event) -> None:
        self.events.append(event)
        if self._keep_waiting is type(event):
            await self._wait_for_ever()

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
