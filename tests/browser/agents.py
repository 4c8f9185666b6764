"""The scripts of the agent that the pages talk to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from agentsocket.agent.contract import Approval, Turn
from agentsocket.protocol.events import AgentOutput, InputRequired, ToolCall, ToolResult
from agentsocket.server import AgentServer
from tests.support import Scripted, serving


class Stage(Scripted):
    """One agent for every page of a test, so that the test can hold its runs and let them go."""

    def __init__(self) -> None:
        names = ("stream", "tools", "approve", "question", "fail", "resist", "burst", "calls", "emit", "hostile")
        super().__init__(**{name: getattr(self, f"_{name}") for name in names})
        self.steps: asyncio.Queue[str] = asyncio.Queue()
        """What "stream" says, piece by piece; an empty piece ends it."""
        self.may_stop = asyncio.Event()
        """What "resist" waits for when it is cancelled."""
        self.answers: list[Any] = []
        self.hostile: list[Any] = []
        """What "hostile" emits."""

    async def _stream(self, _: str, turn: Turn) -> str:
        said = ""
        while piece := await self.steps.get():
            said += piece
            await turn.emit(AgentOutput(output=piece))
        return said

    async def _tools(self, _: str, turn: Turn) -> str:
        """Two calls of one tool at once, whose results come in the other order, and one that fails."""
        await turn.emit(AgentOutput(output="Let me look. "))
        for call, city in (("a", "Tokyo"), ("b", "Paris")):
            await turn.emit(ToolCall(tool_name="get_time", tool_kwargs={"city": city}, tool_call_id=call))
        await self.gate.wait()
        await turn.emit(ToolResult(tool_output="noon in Paris", tool_call_id="b"))
        await turn.emit(ToolResult(tool_output={"time": "night in Tokyo"}, tool_call_id="a"))
        await turn.emit(ToolCall(tool_name="divide", tool_kwargs={"by": 0}, tool_call_id="c"))
        await turn.emit(ToolResult(tool_output="Division by zero.", tool_call_id="c", is_error=True))
        await turn.emit(AgentOutput(output="It is noon "))
        return "It is noon somewhere."

    async def _approve(self, _: str, turn: Turn) -> str:
        kwargs = {"folder": "/old", "depth": 2, "dry_run": True, "tags": ["a"]}
        question = InputRequired(prompt="Delete the folder?", kind="approval", tool_name="delete", tool_kwargs=kwargs)
        approval = Approval.read(await turn.ask(question))
        self.answers.append(approval)
        return "deleted" if approval.approved else "left alone"

    async def _question(self, schema: str, turn: Turn) -> str:
        schemas = {
            "text": None,
            "choice": {"enum": ["red", "green"]},
            "form": {"type": "object", "properties": {"age": {"type": "integer"}, "keen": {"type": "boolean"}}},
        }
        answer = await turn.ask(InputRequired(prompt="Which?", response_schema=schemas[schema], expires_in=300))
        self.answers.append(answer)
        return f"answered {answer!r}"

    async def _fail(self, _: str, turn: Turn) -> str:
        del turn
        raise RuntimeError("the details are for the log")

    async def _resist(self, _: str, turn: Turn) -> str:
        del turn
        self.parked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_stop.wait()
        return ""

    async def _burst(self, count: str, turn: Turn) -> str:
        for i in range(int(count)):
            await turn.emit(AgentOutput(output=f"word{i} " if i % 20 else f"word{i}\n\n"))
        return ""

    async def _calls(self, count: str, turn: Turn) -> str:
        for i in range(int(count)):
            await turn.emit(ToolCall(tool_name="look", tool_kwargs={"number": i}, tool_call_id=f"call-{i}"))
            await turn.emit(ToolResult(tool_output=f"found {i}", tool_call_id=f"call-{i}"))
        return "All found."

    async def _emit(self, text: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output=text.replace("\\n", "\n")))
        return text.replace("\\n", "\n")

    async def _hostile(self, _: str, turn: Turn) -> str:
        for event in self.hostile:
            await turn.emit(event)
        return "done"


@contextlib.asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[tuple[Stage, AgentServer]]:
    """Run a server whose sessions all share one scripted agent."""
    agent = Stage()
    async with serving(lambda: agent, **settings) as server:
        yield agent, server
