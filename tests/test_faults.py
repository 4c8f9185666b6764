"""Links that break, hang and trickle: a session outlives them where it may, and ends where it may not."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentsocket.agent.contract import Agent, Turn
from agentsocket.protocol.events import AgentOutput
from agentsocket.server import AgentServer
from tests.support import Scripted, eventually, logged_in, serving
from tests.wire import ABNORMAL, Opcode, Wire, frame, text, undisturbed, upgraded

BREAKS: dict[str, Callable[[Wire], None]] = {
    "a reset": Wire.reset,
    "a half-close": lambda wire: wire.writer.write_eof(),
    "a page that is left": lambda wire: wire.send(frame(Opcode.CLOSE, (1001).to_bytes(2))),
    "a protocol error": lambda wire: wire.send(b"\xff\xff"),
    "a black hole": lambda _: None,  # nothing comes any more, not even a pong
}
KEEPALIVE = {"ping_interval": 0.2, "ping_timeout": 0.3, "close_timeout": 0.1}

every_break = pytest.mark.parametrize("break_link", BREAKS.values(), ids=BREAKS.keys())


def links(server: AgentServer) -> int:
    return len(server.connections)


def credentials(login: dict[str, Any]) -> dict[str, str]:
    return {name: login[name] for name in ("session_id", "resume_token")}


async def resume(wire: Wire, login: dict[str, Any], last_seq: int) -> dict[str, Any]:
    """Take a session up on another connection."""
    return await wire.login(**credentials(login), last_seq=last_seq)


@every_break
async def test_a_session_outlives_its_link(
    break_link: Callable[[Wire], None], caplog: pytest.LogCaptureFixture
) -> None:
    agent = Scripted()
    async with serving(lambda: agent, **KEEPALIVE) as server, undisturbed(server, caplog):
        async with upgraded(server.port) as wire:
            login = await wire.login(resumable=True)
            wire.send(text("agent_request", message="park"))
            assert (await wire.receive_event())[1]["seq"] == 1
            break_link(wire)
            await eventually(lambda: server.manager.sessions[login["session_id"]].client is None)
        agent.gate.set()
        async with upgraded(server.port) as wire:
            assert (await resume(wire, login, 0))["lossless"]
            answers = [await wire.receive_event() for _ in range(2)]
            assert [(event, data["seq"]) for event, data in answers] == [
                ("agent_request_received", 1),
                ("agent_response", 2),
            ]
        assert agent.runs.count("park") == 1


@every_break
async def test_a_session_that_is_not_resumable_ends_with_its_link(
    break_link: Callable[[Wire], None], caplog: pytest.LogCaptureFixture
) -> None:
    agent = Scripted()
    async with (
        serving(lambda: agent, **KEEPALIVE) as server,
        undisturbed(server, caplog),
        upgraded(server.port) as wire,
    ):
        await wire.login()
        wire.send(text("agent_request", message="park"))
        await wire.receive_event()
        break_link(wire)
        await eventually(lambda: agent.closed == 1 and links(server) == 1)
        assert agent.cancelled.is_set()
        assert not server.manager.running
        assert len(server.manager.sessions) == 1


async def flood(_: str, turn: Turn) -> str:
    while True:
        await turn.emit(AgentOutput(output="x" * 16 * 1024))


async def count(limit: str, turn: Turn) -> str:
    for number in range(int(limit)):
        await turn.emit(AgentOutput(output=f"{number} ".ljust(1000, ".")))
    return limit


def streaming() -> Agent:
    return Scripted(flood=flood, count=count)


async def test_a_client_that_stops_reading_is_cut_and_its_task_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(streaming, write_deadline=0.3) as server,
        undisturbed(server, caplog),
        upgraded(server.port, receive_buffer=4096, resumable=False) as wire,
    ):
        started = time.monotonic()
        wire.send(text("agent_request", message="flood"))
        await eventually(lambda: links(server) == 1 and not server.manager.running)
        assert time.monotonic() - started < 1.3
        assert await wire.close_code() == ABNORMAL


async def test_a_client_that_reads_slowly_is_kept_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    # 2 kB every 50 ms, and never a write deadline in which it would have read all of the kernel's buffer.
    async with (
        serving(streaming, write_deadline=0.5, send_buffer=4096) as server,
        undisturbed(server, caplog),
        upgraded(server.port, receive_buffer=2048, resumable=False) as wire,
    ):
        wire.send(text("agent_request", message="count 60"))
        received = await wire.trickle(b"agent_response", size=2048, pause=0.05)
        assert all(f'"{number} ..'.encode() in received for number in range(60))


async def test_of_two_resumes_at_once_the_newer_one_wins_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    agent = Scripted(count=count)
    async with serving(lambda: agent) as server, undisturbed(server, caplog), upgraded(server.port) as first:
        login = await first.login(resumable=True)
        first.send(text("agent_request", message="count 50"), text("agent_request", message="park"))
        await first.receive_event()
        first.reset()
        async with upgraded(server.port) as one, upgraded(server.port) as two:
            said: dict[asyncio.Task[None], list[int]] = {}
            for wire in (one, two):
                wire.send(text("login", **credentials(login), last_seq=0))
                numbers: list[int] = []
                said[asyncio.create_task(follow(wire, numbers))] = numbers
            (loser,), (winner,) = await asyncio.wait(said, return_when=asyncio.FIRST_COMPLETED)
            agent.gate.set()
            await eventually(lambda: said[winner] == list(range(1, 55)))
            winner.cancel()
            assert said[loser][-1] == 4501
            assert said[loser][:-1] == list(range(1, len(said[loser])))


async def follow(wire: Wire, numbers: list[int]) -> None:
    """Note the numbers of all session frames until the end, and last the close code."""
    while (received := await wire.receive()) is not None:
        opcode, payload = received
        if opcode == Opcode.CLOSE:
            numbers.append(int.from_bytes(payload[:2]))
        elif b"login_response" not in payload:
            numbers.append(json.loads(payload)["data"]["seq"])


async def test_a_resume_does_not_wait_for_the_old_link_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(streaming, write_deadline=60, close_timeout=0.2) as server,
        undisturbed(server, caplog),
        upgraded(server.port, receive_buffer=4096) as hanging,
        upgraded(server.port) as wire,
    ):
        login = await hanging.login(resumable=True)
        hanging.send(text("agent_request", message="count 1000"))
        await eventually(lambda: any(link.writer.paused for link in server.connections))
        assert (await resume(wire, login, 0))["lossless"]
        numbers = [(await wire.receive_event())[1]["seq"] for _ in range(1002)]
        assert numbers == list(range(1, 1003))
        await eventually(lambda: links(server) == 2)


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_client_that_is_gone_before_its_login_is_answered_leaves_nothing_behind(
    *, resumable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    agent, asked, gate = Scripted(), asyncio.Event(), asyncio.Event()

    async def create() -> Agent:
        asked.set()
        await gate.wait()
        return agent

    gate.set()
    async with serving(create, resume_window=0.1) as server, undisturbed(server, caplog):
        gate.clear()
        asked.clear()
        async with upgraded(server.port) as wire:
            wire.send(text("login", resumable=resumable))
            await asked.wait()
            wire.reset()
            await eventually(lambda: links(server) == 1)
        gate.set()
        await eventually(lambda: agent.closed == 1)
        assert len(server.manager.sessions) == 1


async def test_a_request_whose_confirmation_is_lost_runs_once_when_it_is_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, undisturbed(server, caplog):
        async with upgraded(server.port) as wire:
            login = await wire.login(resumable=True)
            wire.send(text("agent_request", message="park", request_id="mine"))
            wire.reset()
            await eventually(lambda: links(server) == 1)
        async with upgraded(server.port) as wire:
            await resume(wire, login, 0)
            wire.send(text("agent_request", message="park", request_id="mine"))
            await eventually(agent.parked.is_set)
            agent.gate.set()
            event, data = await wire.receive_event()
            assert (event, data["request_id"], data["seq"]) == ("agent_request_received", "mine", 1)
        assert agent.runs.count("park") == 1


async def test_a_wall_clock_that_jumps_is_not_looked_at(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    agent = Scripted()
    settings = {**KEEPALIVE, "agent_timeout": 60, "rate_limit": 1, "rate_burst": 4}
    async with serving(lambda: agent, **settings) as server, undisturbed(server, caplog), logged_in(server) as peer:
        await peer.request("park")
        for jump in (1e9, -1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
            await peer.request("one")
            await peer.expect("agent_response")
        # A day ahead would have filled the bucket again, and ended the task.
        await peer.send("agent_request", message="one too many")
        assert (await peer.expect("error"))["code"] == "rate_limited"
        agent.gate.set()
        assert (await peer.expect("agent_response"))["response"] == "released"
