"""The agent of the stress program: it does what each message says, and knows how many of its kind are alive."""

import asyncio
import contextlib
import gc
import json
import random
import time
from collections.abc import Iterator
from typing import ClassVar

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput


def pieces(seed: int, count: int, size: int) -> Iterator[str]:
    """Return the text that an agent says for this seed, piece by piece: numbered, so that a gap shows."""
    letters = random.Random(seed)
    for number in range(count):
        yield f"[{seed}:{number}]".ljust(letters.randint(size // 2, size), letters.choice("abcäöü€😀"))


class StressAgent:
    """One for each session."""

    alive: ClassVar[set["StressAgent"]] = set()

    def __init__(self) -> None:
        self.alive.add(self)

    async def aclose(self) -> None:
        """Count it no longer."""
        self.alive.discard(self)

    async def run(self, message: str, turn: Turn) -> str:
        """Do what the message's first word says."""
        word, *rest = message.split()
        answer: str = await getattr(self, f"_{word}")(turn, *rest)
        return answer

    async def _echo(self, _: Turn, *words: str) -> str:
        return " ".join(words)

    async def _say(self, turn: Turn, seed: str, count: str, size: str, pause: str = "0") -> str:
        """Say ``count`` pieces, one every ``pause`` seconds; answer with all of them."""
        said = []
        started = time.monotonic()
        for number, piece in enumerate(pieces(int(seed), int(count), int(size)), 1):
            said.append(piece)
            await turn.emit(AgentOutput(output=piece))
            if float(pause):
                await asyncio.sleep(max(0, started + number * float(pause) - time.monotonic()))
        return "".join(said)

    async def _flood(self, turn: Turn) -> str:
        while True:
            await turn.emit(AgentOutput(output="x" * 1000))

    async def _park(self, _: Turn) -> str:
        await asyncio.Event().wait()
        return "not reached"

    async def _wait(self, turn: Turn, seconds: str, end: str) -> str:
        """Speak, wait, and end well or badly."""
        await turn.emit(AgentOutput(output="begun"))
        await asyncio.sleep(float(seconds))
        await turn.emit(AgentOutput(output="waited"))
        if end == "badly":
            raise RuntimeError("told to fail")
        return "ended"

    async def _deaf(self, _: Turn, seconds: str) -> str:
        """Resist every cancellation for so long."""
        end = time.monotonic() + float(seconds)
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left)
        return "convinced"

    async def _block(self, _: Turn, seconds: str) -> str:
        await in_thread(time.sleep, float(seconds))
        return "slept"

    async def _state(self, _: Turn) -> str:
        gc.collect()
        return json.dumps({"agents": len(self.alive), "asyncio_tasks": len(asyncio.all_tasks())})
