"""An agent that remembers, for pages whose server is started anew."""

import asyncio
from typing import Any

from agentsocket.agent.contract import Approval, Turn
from agentsocket.protocol.events import (
    AgentData,
    AgentOutput,
    AgentReasoning,
    AgentResponse,
    InputRequired,
    ToolCall,
    ToolResult,
)
from tests.browser.pictures import png


class Talker:
    """Remembers what it was asked, and does what its first word says."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, message: str, turn: Turn) -> Any:
        script = getattr(self, f"_{message.partition(' ')[0]}", None)
        answer = await script(turn) if script else f"You said {message}."
        self.heard.append(message)
        return answer

    async def save(self) -> list[str]:
        return self.heard

    async def load(self, memory: list[str]) -> None:
        self.heard = memory

    async def _recall(self, turn: Turn) -> str:
        del turn
        return " ".join(self.heard) or "nothing"

    async def _park(self, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="begun"))
        await asyncio.Event().wait()
        return ""

    async def _nap(self, turn: Turn) -> str:
        """Say something, and end half a second later."""
        await turn.emit(AgentOutput(output="Half "))
        await asyncio.sleep(0.5)
        return "Half asleep."

    async def _fail(self, turn: Turn) -> str:
        del turn
        raise ValueError("the details are for the log")

    async def _everything(self, turn: Turn) -> AgentResponse:
        await turn.emit(AgentReasoning(reasoning="First I look, **then** I ask."))
        await turn.emit(AgentOutput(output="Let me look."))
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"where": "here"}, tool_call_id="l"))
        await turn.emit(ToolResult(tool_output="nothing", tool_call_id="l"))
        await turn.emit(ToolCall(tool_name="divide", tool_kwargs={"by": 0}, tool_call_id="d"))
        await turn.emit(ToolResult(tool_output="Division by zero.", tool_call_id="d", is_error=True))
        await turn.emit(AgentData(name="plan", data=["look", "ask"]))
        await turn.send_file(png(40, 30), name="grey.png", media_type="image/png")
        kwargs = {"folder": "/old"}
        asked = InputRequired(prompt="Delete it?", kind="approval", tool_name="delete", tool_kwargs=kwargs)
        approved = Approval.read(await turn.ask(asked)).approved
        text = f"It is **{'gone' if approved else 'still there'}**."
        await turn.emit(AgentOutput(output=text))
        return AgentResponse(response=text, usage={"requests": 2})


class Forgetful:
    """Answers, and remembers nothing."""

    async def run(self, message: str, turn: Turn) -> str:
        del turn
        return f"You said {message}."
