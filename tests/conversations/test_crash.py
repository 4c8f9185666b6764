"""kill -9 at any moment: what a client was told is done is there, and what was not is told to be interrupted."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.conversations.keeping import history
from tests.server_process import ROOT, server_process
from tests.support import PATIENCE, Peer

AGENT = f"{ROOT / 'tests' / 'conversations' / 'keeping.py'}:Rememberer"

CLIENTS = 4


class Witness:
    """One client: what it has asked, and what it was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.hears: Callable[[], None] = lambda: None
        """Called whenever it is told something."""
        self.conversation_id: str | None = None
        self.accepted: dict[str, str] = {}
        """Messages by their tasks."""
        self.answered: dict[str, str] = {}
        """Answers by their tasks."""
        self._asked = 0

    async def talk(self, port: int) -> None:
        """Ask one question after the other, until the server is gone."""
        with contextlib.suppress(WebSocketException, OSError):
            async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
                peer = Peer(socket)
                await self._enter(peer)
                while True:
                    await self._ask(peer)

    async def _enter(self, peer: Peer) -> None:
        known = {} if self.conversation_id is None else {"conversation_id": self.conversation_id}
        await peer.send("login", **known)
        event, answer = await peer.receive()
        if event == "error":  # nothing was ever asked in it
            assert (answer["code"], self.accepted) == ("conversation_not_found", {})
            answer = await peer.login()
        self.conversation_id = answer["conversation_id"]

    async def _ask(self, peer: Peer) -> None:
        self._asked += 1
        message = f"c{self.number}n{self._asked}"
        await peer.send("agent_request", message=message)
        while True:
            event, data = await peer.receive()
            self.hears()
            if event == "agent_request_received":
                self.accepted[data["task_id"]] = message
            elif event == "agent_response":
                assert "unsaved" not in data
                self.answered[data["task_id"]] = data["response"]
                return

    async def check(self, port: int) -> None:
        """Hold what is kept against what was told."""
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
            peer = Peer(socket)
            await self._enter(peer)
            kept = {turn["task_id"]: turn for turn in await _all_turns(peer)}
            assert set(self.accepted) <= set(kept)
            for task_id, turn in kept.items():
                if task_id in self.answered:
                    assert (turn["status"], turn["response"]) == ("completed", self.answered[task_id])
                else:
                    assert turn["status"] in {"completed", "interrupted"}
            remembered = (await peer.ask("recall")).split()
            assert remembered == [turn["message"] for turn in kept.values() if turn["status"] == "completed"]
            # What it was asked just now is one of the turns too, and the agent does not remember that.
            await peer.send("logout")
            await peer.expect("logout_response")


async def _all_turns(peer: Peer) -> list[dict[str, Any]]:
    turns = await history(peer, limit=100)
    return [turn for turn in turns if turn["message"] != "recall"]


async def _round(folder: Path, witnesses: list[Witness], frames: int) -> None:
    """Have the server killed when the clients have heard so many frames."""
    arguments = ("--store", f"sqlite:{folder / 'c.db'}", "--rate-limit", "none")
    async with server_process(*arguments, agent=AGENT) as server:
        for witness in witnesses:
            await witness.check(server.port)
        left = iter(range(frames))

        def hear() -> None:
            if next(left, None) is None and server.process.returncode is None:
                server.process.kill()

        for witness in witnesses:
            witness.hears = hear
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(witness.talk(server.port) for witness in witnesses))


async def _run(folder: Path, seed: int, rounds: int) -> None:
    chance = random.Random(seed)  # when it is killed is no secret
    accepted = answered = 0
    for _ in range(rounds):
        # A page has a hundred turns, so that each round begins conversations of its own.
        witnesses = [Witness(number) for number in range(CLIENTS)]
        await _round(folder, witnesses, chance.randrange(200))
        await _round(folder, witnesses, chance.randrange(100))
        async with server_process("--store", f"sqlite:{folder / 'c.db'}", agent=AGENT) as server:
            for witness in witnesses:
                await witness.check(server.port)
                accepted += len(witness.accepted)
                answered += len(witness.answered)
    assert accepted > answered > 0, "it was never killed in the midst of something"


async def test_a_crash_loses_nothing_that_was_said_to_be_done(tmp_path: Path) -> None:
    await _run(tmp_path, seed=7, rounds=1)


@pytest.mark.long
async def test_two_hundred_crashes_lose_nothing_that_was_said_to_be_done(tmp_path: Path) -> None:
    await _run(tmp_path, seed=11, rounds=100)
