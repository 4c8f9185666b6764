"""Five holes of the library, and what closes them. Each test also runs without the cure, and then sees the hole."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agent_contract import Turn
from agent_server import AgentServer
from connection import AgentConnection
from frame_log import BURST, FrameLog
from protocol import AgentOutput
from tests.support import Scripted, eventually, logged_in, serving
from tests.wire import ABNORMAL, Opcode, frame, text, upgraded

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
MEANWHILE = 1.0
"""Seconds in which a hole shows that nothing closes it."""

both_ways = pytest.mark.parametrize("cured", [True, False], ids=["cured", "not cured"])


async def flood(_: str, turn: Turn) -> str:
    while True:
        await turn.emit(AgentOutput(output="x" * 16 * KILOBYTE))


def flooding() -> Scripted:
    return Scripted(flood=flood)


@contextlib.contextmanager
def stalled(server: AgentServer) -> Iterator[AgentConnection]:
    """Give the server's only connection, and end it afterwards even where nothing else does."""
    (connection,) = server._sockets
    try:
        yield connection
    finally:
        connection.transport.abort()


async def ends(waiting: Awaitable[object], seconds: float = MEANWHILE) -> bool:
    done, _ = await asyncio.wait([asyncio.ensure_future(waiting)], timeout=seconds)
    return bool(done)


@both_ways
async def test_h1_a_client_that_stops_reading_is_cut_where_the_keepalive_would_wait_for_ever(
    cured: bool,  # noqa: FBT001  # one parameter, given by name
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not cured:
        monkeypatch.setattr(AgentConnection, "pause_writing", ServerConnection.pause_writing)
    quick = {"write_deadline": 0.3, "ping_interval": 0.1, "ping_timeout": 0.1}
    async with (
        serving(flooding, **quick) as server,
        upgraded(server.port, receive_buffer=4096, resumable=False) as peer,
    ):
        peer.send(text("agent_request", message="flood"))
        with stalled(server) as connection:
            await eventually(lambda: connection.paused)
            assert await ends(connection.connection_lost_waiter) is cured


@both_ways
async def test_h2_one_client_that_stops_reading_does_not_hold_up_the_shutdown(
    cured: bool,  # noqa: FBT001
) -> None:
    patient = {"write_deadline": 60, "ping_interval": None, "close_timeout": 0.2}
    async with (
        serving(flooding, **patient) as server,
        upgraded(server.port, receive_buffer=4096, resumable=False) as peer,
    ):
        peer.send(text("agent_request", message="flood"))
        with stalled(server) as connection:
            await eventually(lambda: connection.paused)
            library = server._server
            assert library is not None
            shutdown = server.shut_down() if cured else _library_shutdown(library)
            assert await ends(shutdown) is cured
            assert (connection not in server._sockets) is cured


async def _library_shutdown(library: Server) -> None:
    library.close()
    await library.wait_closed()


@both_ways
async def test_h3_pings_whose_answers_nobody_reads_do_not_fill_the_memory(
    cured: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not cured:
        monkeypatch.setattr(AgentConnection, "process_event", ServerConnection.process_event)
    pings = frame(Opcode.PING, bytes(125)) * 1000
    async with serving(login_timeout=60) as server, upgraded(server.port, receive_buffer=4096) as peer:
        with stalled(server) as connection:
            held = 0
            for _ in range(64):  # 8 MB, more than the kernel swallows
                if not await peer.push(pings):
                    break
                held = max(held, connection.transport.get_write_buffer_size())
            await eventually(lambda: connection not in server._sockets or held > 1024 * KILOBYTE)
            assert (held <= 512 * KILOBYTE) is cured


async def impatient(_rest: str, turn: Turn) -> str:
    for _ in range(200):  # 12.5 MB in all
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.emit(AgentOutput(output="x" * BURST)), 0.001)
    return "said"


async def does_not_wait(_: FrameLog) -> None:
    await asyncio.sleep(0)


@both_ways
async def test_h4_an_agent_that_gives_up_waiting_for_a_slow_client_cannot_fill_the_memory(
    cured: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not cured:
        monkeypatch.setattr(FrameLog, "breathe", does_not_wait)
    agent = Scripted(impatient=impatient)
    async with serving(lambda: agent) as server, upgraded(server.port, receive_buffer=4096, resumable=False) as peer:
        peer.send(text("agent_request", message="impatient"))
        with stalled(server) as connection:
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
