"""The agent that is served while the server is measured: it does what the message says."""

import asyncio
import time

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput

TEXT = "some thirty-five characters of text"


class Scripted:
    """Understands ``burst OUTPUTS``, ``pace OUTPUTS SECONDS`` and ``work OUTPUTS SECONDS``; answers "done"."""

    async def run(self, message: str, turn: Turn) -> str:
        """Do what the message says."""
        match message.split():
            case ["burst", outputs]:
                await burst(turn, int(outputs))
            case ["pace" | "work", outputs, seconds]:
                await pace(turn, int(outputs), float(seconds))
        return "done"


async def burst(turn: Turn, outputs: int) -> None:
    """Emit without a pause."""
    for _ in range(outputs):
        await turn.emit(AgentOutput(output=TEXT))


async def pace(turn: Turn, outputs: int, seconds: float) -> None:
    """Emit texts that carry their time, so many seconds apart."""
    for _ in range(outputs):
        await asyncio.sleep(seconds)
        await turn.emit(AgentOutput(output=f"{time.monotonic_ns()} characters to pace"))
