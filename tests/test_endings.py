"""Whatever waits for a peer is told when that is gone: in whatever phase a connection ends, soon nothing is left."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentsocket.agent.adapters.plain import PlainAgent
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, InputRequired, ToolResult
from agentsocket.server import AgentServer
from tests.support import Scripted, eventually, serving
from tests.wire import Opcode, Wire, frame, handshake, text, wired

A_SECOND = 1.0
"""What it may take until nothing is left."""

SETTINGS: dict[str, Any] = {
    "handshake_timeout": 0.6,
    "login_timeout": 0.6,
    "ping_interval": 0.6,
    "ping_timeout": 0.2,
    "write_deadline": 0.6,
    "close_timeout": 0.1,
    "resume_window": 0.1,
    "send_buffer": 4096,
}


class Left:
    """What there is at the moment of agents and generators, and when something was last said."""

    agents: ClassVar[int] = 0
    generators: ClassVar[int] = 0
    said: ClassVar[float] = 0.0


async def flood(_: str, turn: Turn) -> str:
    while True:
        await turn.emit(AgentOutput(output="x" * 1000))
        Left.said = time.monotonic()


async def big_result(_: str, turn: Turn) -> str:
    await turn.emit(ToolResult(tool_name="read", tool_output="x" * 3 * 1024 * 1024))
    return "read"


async def last_words(_: str, turn: Turn) -> str:
    try:
        return await flood("", turn)
    finally:
        for _number in range(1000):
            await turn.emit(AgentOutput(output="y" * 1000))


async def ask(_: str, turn: Turn) -> str:
    return str(await turn.ask(InputRequired(prompt="Well?")))


def generate(_: str) -> Iterator[str]:
    Left.generators += 1
    try:
        while True:
            yield "z" * 1000
            Left.said = time.monotonic()
    finally:
        Left.generators -= 1


async def in_a_thread(rest: str, turn: Turn) -> str:
    return str(await PlainAgent(generate).run(rest, turn))


class Counted(Scripted):
    """An agent of which it is counted how many there are."""

    def __init__(self) -> None:
        super().__init__(flood=flood, result=big_result, last=last_words, ask=ask, thread=in_a_thread)
        Left.agents += 1

    async def aclose(self) -> None:
        """Count it no longer."""
        Left.agents -= 1


async def create() -> Counted:
    await asyncio.sleep(0)  # an agent that takes its time
    return Counted()


# ---- Phases: where a connection stands when it ends ------------------------------------------------------------------


async def half_a_handshake(wire: Wire) -> None:
    wire.send(handshake()[:50])


async def upgraded(wire: Wire) -> None:
    await wire.upgrade()


async def logging_in(wire: Wire) -> None:
    await wire.upgrade()
    wire.send(text("login"))


def logged_in(*messages: bytes, **login: Any) -> Callable[[Wire], Awaitable[None]]:
    async def reach(wire: Wire) -> None:
        await wire.upgrade()
        await wire.login(**login)
        wire.send(*messages)
        if messages:
            await wire.receive_event()

    return reach


async def logging_out(wire: Wire) -> None:
    await logged_in(request("last"))(wire)
    await wire.receive_event()  # it speaks
    wire.send(text("logout"))


def request(message: str) -> bytes:
    return text("agent_request", message=message)


PHASES: dict[str, Callable[[Wire], Awaitable[None]]] = {
    "half a handshake": half_a_handshake,
    "before the login": upgraded,
    "in the login": logging_in,
    "idle": logged_in(),
    "idle and resumable": logged_in(resumable=True),
    "at work": logged_in(request("park")),
    "at work and resumable": logged_in(request("park"), resumable=True),
    "asked": logged_in(request("ask")),
    # In what follows the client has stopped to read.
    "a flood": logged_in(request("flood")),
    "a resumable flood": logged_in(request("flood"), resumable=True),
    "many floods": logged_in(*[request("flood")] * 8),
    "a big result": logged_in(request("result")),
    "a big result of a resumable session": logged_in(request("result"), resumable=True),
    "last words": logged_in(request("last")),
    "a generator in a thread": logged_in(request("thread")),
    "a logout": logging_out,
}

UNREAD = 0.05
"""Seconds of silence after which nobody speaks any more that waits for a client to read."""


# ---- Breaks ----------------------------------------------------------------------------------------------------------


def half_close(wire: Wire) -> None:
    if wire.writer.can_write_eof():
        wire.writer.write_eof()
    else:
        wire.writer.close()


BREAKS: dict[str, Callable[[Wire], None]] = {
    "reset": Wire.reset,
    "half-close": half_close,
    "goodbye": lambda wire: wire.send(frame(Opcode.CLOSE, (1000).to_bytes(2))),
    "silence": lambda _: None,
}


def left(server: AgentServer, before: set[asyncio.Task[Any]]) -> dict[str, object]:
    """Return what is left of connections, sessions, tasks and agents."""
    manager = server.manager
    there = {
        "connections": server.connections,
        "sessions": manager.sessions,
        "running": manager.running,
        "bytes": manager.budget.held,
        "agents": Left.agents,
        "generators": Left.generators,
        "asyncio tasks": asyncio.all_tasks() - before,
    }
    return {name: what for name, what in there.items() if what}


@contextlib.asynccontextmanager
async def nothing_left_of(server: AgentServer) -> AsyncIterator[None]:
    """Hold that nothing is left soon after what happens within."""
    before = asyncio.all_tasks()
    yield
    since = time.monotonic()
    await eventually(lambda: not left(server, before) or time.monotonic() > since + A_SECOND)
    assert not left(server, before)


@contextlib.asynccontextmanager
async def in_every_phase(server: AgentServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[Wire]]:
    """Bring one connection into each phase."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [wired(server.port, receive_buffer=4096, tls=tls) for _ in PHASES]
        wires = [await stack.enter_async_context(wire) for wire in opened]
        await asyncio.gather(*[reach(wire) for reach, wire in zip(PHASES.values(), wires, strict=True)])
        await eventually(lambda: time.monotonic() > Left.said + UNREAD)
        yield wires


every_break = pytest.mark.parametrize("end", BREAKS.values(), ids=BREAKS.keys())


@every_break
async def test_nothing_is_left_of_connections_that_end(end: Callable[[Wire], None]) -> None:
    async with serving(create, **SETTINGS) as server, nothing_left_of(server), in_every_phase(server) as wires:
        for wire in wires:
            end(wire)
        await eventually(lambda: not server.connections)  # those that are silent are found out


@every_break
async def test_nothing_is_left_of_those_with_tls_either(
    end: Callable[[Wire], None],
    certificate: tuple[Path, Path],
) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    async with (
        serving(create, tls_cert=cert, tls_key=key, **SETTINGS) as server,
        nothing_left_of(server),
        in_every_phase(server, trusting) as wires,
    ):
        for wire in wires:
            end(wire)
        await eventually(lambda: not server.connections)


@every_break
async def test_nothing_is_left_of_one_that_comes_back_and_reads_nothing(end: Callable[[Wire], None]) -> None:
    async with serving(create, **SETTINGS | {"resume_window": 0.5}) as server, nothing_left_of(server):
        async with wired(server.port) as first:
            await first.upgrade()
            login = await first.login(resumable=True)
            first.send(request("flood"))
            for _ in range(500):
                await first.receive_event()
            first.reset()
        async with wired(server.port, receive_buffer=4096) as wire:
            await wire.upgrade()
            wire.send(text("login", session_id=login["session_id"], resume_token=login["resume_token"], last_seq=1))
            assert (await wire.receive_event())[1]["lossless"]
            await eventually(lambda: any(link.writer.paused for link in server.connections))
            end(wire)
            await eventually(lambda: not server.connections)


async def test_nothing_is_left_when_the_server_ends() -> None:
    async with serving(create, **SETTINGS) as server, nothing_left_of(server), in_every_phase(server):
        await server.shut_down()
