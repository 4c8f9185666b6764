"""A countdown, which takes its time: what a person tries cancelling on."""

import asyncio

from agentsocket.offline_agent.tool import TOOL_CONTEXT, ToolError
from agentsocket.protocol.events import AgentOutput, ToolProgress

MAX_SECONDS = 3600


async def countdown(seconds: int = 10) -> str:
    """Count down aloud, one step a second.

    Args:
        seconds: Where to start: 1 to 3600.
    """
    if not 1 <= seconds <= MAX_SECONDS:
        raise ToolError(f"I can count down from any number between 1 and {MAX_SECONDS}.")
    context = TOOL_CONTEXT.get()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for step in range(seconds):
        await _tell(step, seconds)
        await context.turn.emit(AgentOutput(output=f" {seconds - step}…"))
        # Towards a fixed instant: what a slow client costs does not add up.
        await asyncio.sleep(start + (step + 1) * context.tick - loop.time())
    await _tell(seconds, seconds)
    return f"The countdown from {seconds} is over."


async def _tell(step: int, seconds: int) -> None:
    context, left = TOOL_CONTEXT.get(), seconds - step
    message = f"{left} second{'' if left == 1 else 's'} to go"
    await context.turn.emit(ToolProgress(tool_call_id=context.call_id, progress=step, total=seconds, message=message))
