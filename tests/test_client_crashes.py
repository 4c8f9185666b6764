"""kill -9 at any moment, as the client sees it: whatever was asked ends, and what is told of it is true."""

import asyncio
import contextlib
import itertools
import random
from pathlib import Path

import pytest

from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import TaskInterrupted
from tests.server_process import ROOT, server_process
from tests.support import PATIENCE

AGENT = f"{ROOT / 'tests' / 'conversations' / 'keeping.py'}:Rememberer"

AT_ONCE = 3


class Asker:
    """Asks one thing after the other, several at once, and notes what it was told."""

    def __init__(self, client: WebSocketClient) -> None:
        self._client = client
        self._numbers = itertools.count()
        self.told: dict[str, str] = {}
        """By message: its answer, or "interrupted"."""
        self.heard = asyncio.Event()
        self.stopped = False

    async def ask(self) -> None:
        """Ask until it is told to stop."""
        while not self.stopped:
            message = f"n{next(self._numbers)}"
            try:
                self.told[message] = await self._client.ask(message)
            except TaskInterrupted:
                self.told[message] = "interrupted"
            self.heard.set()

    async def hear(self, times: int) -> None:
        """Wait until something was told so many times."""
        for _ in range(times):
            self.heard.clear()
            await self.heard.wait()


async def all_turns(client: WebSocketClient) -> dict[str, str]:
    """Return how every turn ended, by what was asked; nothing was asked twice."""
    kept: dict[str, str] = {}
    before: str | None = None
    while True:
        page = await client.history(before=before)
        for turn in page.turns:
            assert turn.message not in kept
            kept[turn.message] = turn.response or turn.status
        if (before := page.next) is None:
            return kept


async def run(folder: Path, seed: int, crashes: int) -> list[str]:
    """Have the server killed so often; return what was told."""
    chance = random.Random(seed)  # when it is killed is no secret
    arguments = ["--store", f"sqlite:{folder / 'c.db'}", "--rate-limit", "none", "--port", "0"]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(server_process(*arguments, agent=AGENT))
        arguments[-1] = str(server.port)
        client = WebSocketClient(f"ws://127.0.0.1:{server.port}", resumable=True, backoff=lambda: itertools.repeat(0.1))
        async with client:
            asker = Asker(client)
            asking = [asyncio.create_task(asker.ask()) for _ in range(AT_ONCE)]
            for _ in range(crashes):
                async with asyncio.timeout(6 * PATIENCE):
                    await asker.hear(chance.randrange(1, 30))
                    await asyncio.sleep(chance.random() / 500)
                    server.process.kill()
                    await server.process.wait()
                server = await stack.enter_async_context(server_process(*arguments, agent=AGENT))
            async with asyncio.timeout(6 * PATIENCE):
                await asker.hear(1)
                asker.stopped = True
                await asyncio.gather(*asking)
            assert await all_turns(client) == asker.told
    return list(asker.told.values())


async def test_what_the_client_tells_of_a_crash_is_true(tmp_path: Path) -> None:
    told = await run(tmp_path, seed=3, crashes=2)
    assert any(each != "interrupted" for each in told)


@pytest.mark.long
async def test_what_the_client_tells_of_a_hundred_crashes_is_true(tmp_path: Path) -> None:
    told = await run(tmp_path, seed=5, crashes=100)
    assert "interrupted" in told
