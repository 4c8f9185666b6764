"""Five holes of the library's asyncio layer, and what closes them. Each test has a twin that sees the hole."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agentsocket.agent.contract import Turn
from agentsocket.connection.connection import AgentConnection
from agentsocket.protocol.events import AgentOutput
from agentsocket.server import AgentServer
from agentsocket.session.frame_log import BURST, FrameLog
from tests.support import PATIENCE, Scripted, eventually, logged_in, serving
from tests.wire import ABNORMAL, Opcode, Wire, frame, text, upgraded

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
MEANWHILE = 1.0
"""Seconds in which a hole shows that nothing closes it."""

FLOOD = "x" * 16 * KILOBYTE
PINGS = frame(Opcode.PING, bytes(125)) * 1000


async def flood(_: str, turn: Turn) -> str:
    while True:
        await turn.emit(AgentOutput(output=FLOOD))


async def library_flood(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.send(FLOOD)


async def library_listen(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


@contextlib.asynccontextmanager
async def stalled(**settings: Any) -> AsyncIterator[tuple[AgentServer, AgentConnection, Wire]]:
    """Have a client that is logged in and does not read."""
    async with (
        serving(lambda: Scripted(flood=flood), **settings) as server,
        upgraded(server.port, receive_buffer=4096, resumable=False) as peer,
    ):
        (connection,) = server.connections
        try:
            yield server, connection, peer
        finally:
            connection.transport.abort()


@contextlib.asynccontextmanager
async def stalled_at_library(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[Server, ServerConnection, Wire]]:
    """Have the same at the library's own server, with a handler that does the same."""
    connected = asyncio.get_running_loop().create_future()

    async def handle(connection: ServerConnection) -> None:
        connected.set_result(connection)
        await handler(connection)

    async with (
        serve(handle, "127.0.0.1", 0, **options) as server,
        upgraded(server.sockets[0].getsockname()[1], receive_buffer=4096) as peer,
    ):
        connection = await asyncio.wait_for(connected, PATIENCE)
        try:
            yield server, connection, peer
        finally:
            connection.transport.abort()


async def ends(waiting: Awaitable[object], seconds: float = MEANWHILE) -> bool:
    done, _ = await asyncio.wait([asyncio.ensure_future(waiting)], timeout=seconds)
    return bool(done)


async def test_h1_a_client_that_stops_reading_is_cut() -> None:
    async with stalled(write_deadline=0.3, ping_interval=0.1, ping_timeout=0.1) as (_, connection, peer):
        peer.send(text("agent_request", message="flood"))
        await eventually(lambda: connection.writer.paused)
        assert await ends(connection.lost)


async def test_h1_not_cured_the_keepalive_waits_for_ever_behind_what_is_not_read() -> None:
    async with stalled_at_library(library_flood, ping_interval=0.1, ping_timeout=0.1) as (_, connection, _peer):
        await eventually(lambda: connection.paused)
        assert not await ends(connection.connection_lost_waiter)


async def test_h2_one_client_that_stops_reading_does_not_hold_up_the_shutdown() -> None:
    async with stalled(write_deadline=60, ping_interval=None, close_timeout=0.2) as (server, connection, peer):
        peer.send(text("agent_request", message="flood"))
        await eventually(lambda: connection.writer.paused)
        assert await ends(server.shut_down())
        assert connection not in server.connections


async def test_h2_not_cured_the_shutdown_waits_for_that_client_for_ever() -> None:
    async with stalled_at_library(library_flood, ping_interval=None, close_timeout=0.2) as (server, connection, _):
        await eventually(lambda: connection.paused)
        server.close()
        assert not await ends(server.wait_closed())


async def test_h3_pings_whose_answers_nobody_reads_do_not_fill_the_memory() -> None:
    async with stalled() as (server, connection, peer):
        assert await _fill(peer, connection.transport, lambda: connection not in server.connections) <= 512 * KILOBYTE


async def test_h3_not_cured_the_answers_pile_up() -> None:
    async with stalled_at_library(library_listen) as (_, connection, peer):
        assert await _fill(peer, connection.transport, lambda: False) > 512 * KILOBYTE


async def _fill(peer: Wire, transport: asyncio.Transport, cut: Callable[[], bool]) -> int:
    """Ping without reading; return how many bytes of answers the server held at most."""
    held = 0

    def over() -> bool:
        nonlocal held
        held = max(held, transport.get_write_buffer_size())
        return cut() or held > MEGABYTE

    for _ in range(64):  # 8 MB, more than the kernel swallows
        if not await peer.push(PINGS):
            break
    await eventually(over)
    return held


async def impatient(_rest: str, turn: Turn) -> str:
    for _ in range(200):  # 12.5 MB in all
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.emit(AgentOutput(output="x" * BURST)), 0.001)
    return "said"


async def does_not_wait(_: FrameLog) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("cured", [True, False], ids=["cured", "not cured"])
async def test_h4_an_agent_that_gives_up_waiting_for_a_slow_client_cannot_fill_the_memory(
    cured: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not cured:
        monkeypatch.setattr(FrameLog, "breathe", does_not_wait)
    agent = Scripted(impatient=impatient)
    async with serving(lambda: agent) as server, upgraded(server.port, receive_buffer=4096, resumable=False) as peer:
        (connection,) = server.connections
        peer.send(text("agent_request", message="impatient"))
        await eventually(lambda: bool(agent.runs) and not server.manager.running)
        assert (connection.writer.lag < MEGABYTE) is cured


async def lone_surrogates(_: str, turn: Turn) -> str:
    await turn.emit(AgentOutput(output="a\ud800b"))
    return "c\udfffd"


async def test_h5_a_lone_surrogate_in_what_an_agent_says_reaches_the_client_as_a_replacement_character() -> None:
    async with serving(lambda: Scripted(lone=lone_surrogates)) as server, logged_in(server) as peer:
        await peer.request("lone")
        assert (await peer.expect("agent_output"))["output"] == "a\ufffdb"
        assert (await peer.expect("agent_response"))["response"] == "c\ufffdd"
        assert await peer.ask("still there") == "still there"


async def test_h5_not_cured_a_lone_surrogate_ends_the_connection() -> None:
    async def say(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send("a\ud800b")

    async with serve(say, "127.0.0.1", 0) as server, upgraded(server.sockets[0].getsockname()[1]) as peer:
        assert await peer.close_code() == ABNORMAL
