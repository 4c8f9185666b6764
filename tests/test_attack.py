"""One client against all others: what it sends is counted before it costs anything, and costs nobody else anything."""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from agentsocket.agent.contract import Agent
from agentsocket.connection.census import SPARE, Census, Lobby
from agentsocket.connection.cutter import Cutter
from agentsocket.connection.inbox import EXTRA_BURST, FAIR_SHARE, TURNS, Turns
from agentsocket.connection.limits import TokenBucket
from agentsocket.connection.writer import FrameWriter
from agentsocket.settings import Settings
from tests.server_process import server_process
from tests.support import PATIENCE, Peer, Scripted, eventually, serving
from tests.wire import Opcode, frame, handshake, head, text, upgraded, wired

KILOBYTE = 1024
PONG, PING = frame(Opcode.PONG), frame(Opcode.PING)
EMPTY = frame(Opcode.TEXT, fin=False) + frame(Opcode.CONTINUATION, fin=False) * 998 + frame(Opcode.CONTINUATION)


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest) -> "Iterator[dict[str, Any]]":
    """Settings of a server, and under "client" what a client needs: without TLS, and with it."""
    if request.param == "plain":
        yield {"client": None}
        return
    cert, key = request.getfixturevalue("certificate")
    yield {"tls_cert": cert, "tls_key": key, "client": ssl.create_default_context(cafile=cert)}


# ---- Floods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flood", [PONG * 5000, EMPTY * 5], ids=["pongs", "empty fragments"])
@pytest.mark.parametrize("logged", [False, True], ids=["before the login", "after it"])
async def test_a_flood_of_frames_that_say_nothing_is_cut(
    flood: bytes, *, logged: bool, tls: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = tls.pop("client")
    login = {"resumable": False} if logged else {}
    async with serving(max_errors=None, **tls) as server, upgraded(server.port, tls=client, **login) as wire:
        wire.send(flood)
        assert await wire.close_code() == 4429
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_while_a_flood_is_parsed_the_others_have_their_turn(tls: dict[str, Any]) -> None:
    client = tls.pop("client")
    async with (
        serving(**tls) as server,
        upgraded(server.port, tls=client) as wire,
        upgraded(server.port, tls=client, resumable=False) as neighbour,
    ):
        wire.send(PONG * (EXTRA_BURST - 10), text("login"))
        login = asyncio.create_task(wire.receive_event())
        answers = 0
        while not login.done():
            neighbour.send(text("heartbeat"))
            assert (await neighbour.receive_event())[0] == "heartbeat"
            answers += 1
        # A turn of the loop for each share, and an answer takes a few of them.
        assert answers >= EXTRA_BURST / FAIR_SHARE / 10


async def test_many_that_flood_take_no_more_of_a_turn_than_a_few() -> None:
    taken: list[int] = []
    turns, loop = Turns(), asyncio.get_running_loop()
    for number in range(50):
        turns.wait(functools.partial(taken.append, number))
    for _ in range(5):
        before = len(taken)
        await asyncio.sleep(0)
        assert len(taken) - before <= TURNS
    waited = loop.create_future()
    turns.wait(functools.partial(waited.set_result, None))
    await waited
    assert taken == list(range(50))


async def test_the_pings_of_one_read_are_answered_in_one_write_for_each_share(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    control = FrameWriter.control

    def noted(self: FrameWriter, data: bytes) -> None:
        writes.append(len(data))
        control(self, data)

    async with serving() as server, upgraded(server.port) as wire:
        monkeypatch.setattr(FrameWriter, "control", noted)
        wire.send(PING * FAIR_SHARE)
        for _ in range(FAIR_SHARE):
            assert await wire.receive() == (Opcode.PONG, b"")
        assert len(writes) <= 3


async def test_pings_and_a_reset_make_one_log_line(tls: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    client = tls.pop("client")
    async with serving(**tls) as server:
        caplog.set_level(logging.INFO)
        caplog.set_level(logging.WARNING, "websockets")
        for _ in range(3):
            caplog.clear()
            async with upgraded(server.port, tls=client) as wire:
                (connection,) = server.connections
                wire.send(PING * (64 * KILOBYTE // len(PING)))
                wire.reset()
                await eventually(connection.lost.done)
            assert len(caplog.records) <= 1, [record.getMessage() for record in caplog.records]


async def test_nothing_is_written_to_a_lost_socket(tls: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    client = tls.pop("client")
    async with serving(**tls) as server, upgraded(server.port, tls=client, resumable=False):
        (connection,) = server.connections
        connection.transport.abort()
        for _ in range(20):
            connection.writer.write(b"{}")
            connection.writer.control(PONG)
        await eventually(connection.lost.done)
    assert not caplog.records


@pytest.mark.parametrize("rate", [101, 190, 1000])
def test_whoever_stays_above_the_rate_is_flooding_in_the_end(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket(100, 200)
    for _ in range(rate * 600):
        now += 1 / rate
        bucket.take()
        if bucket.flooded:
            return
    pytest.fail("it goes on for ever")


def test_whoever_pauses_after_too_much_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket(100, 200)
    for _ in range(100):
        taken = [bucket.take() for _ in range(300)]
        assert taken.count(False) == 100
        assert not bucket.flooded
        now += 2.01


# ---- What waits ------------------------------------------------------------------------------------------------------


async def test_a_pong_that_waits_behind_a_slow_login_is_not_missed() -> None:
    gate, agent = asyncio.Event(), Scripted()

    async def create() -> Agent:
        await gate.wait()
        return agent

    async with (
        serving(create, ping_interval=0.05, ping_timeout=0.05, max_queue=4) as server,
        upgraded(server.port) as wire,
    ):
        wire.send(text("login"), *[text("agent_request", message=str(number)) for number in range(10)])
        for _ in range(4):
            assert await wire.receive() == (Opcode.PING, b"")
            wire.send(PONG)
        gate.set()
        while (received := await wire.receive()) is not None and received[0] == Opcode.PING:
            wire.send(PONG)
        assert received is not None
        assert b"login_response" in received[1]
        await eventually(lambda: len(agent.runs) == 10)


async def test_a_late_pong_does_not_lift_the_deadline_of_the_login() -> None:
    gate = asyncio.Event()

    async def create() -> Agent:
        await gate.wait()
        raise RuntimeError("no agent today")

    async with (
        serving(create, ping_interval=0.05, ping_timeout=5, login_timeout=0.3) as server,
        upgraded(server.port) as wire,
    ):
        wire.send(text("login"))
        assert await wire.receive() == (Opcode.PING, b"")
        gate.set()
        event, data = await wire.receive_event()
        assert (event, data["code"]) == ("error", "agent_unavailable")
        wire.send(PONG)
        assert await wire.close_code() == 4502


async def test_what_waits_behind_a_login_is_not_unpacked_before_its_turn() -> None:
    gate = asyncio.Event()

    async def create() -> Agent:
        await gate.wait()
        return Scripted()

    async with (
        serving(create, compression=True, max_queue=4, max_errors=None, rate_limit=None) as server,
        connect(f"ws://127.0.0.1:{server.port}", max_queue=None) as socket,
    ):
        (connection,) = server.connections
        peer = Peer(socket)
        await peer.send("login")
        for _ in range(200):
            await socket.send("x" * 16_000)
        await eventually(lambda: not connection.transport.is_reading())
        inbox = connection._inbox
        assert inbox is not None
        assert sum(len(frame.data) for message in inbox._messages for frame in message) <= 5 * 16 * KILOBYTE
        gate.set()
        await peer.expect("login_response")
        assert (await peer.until("error"))[-1][1]["code"] == "invalid_json"


async def test_a_login_without_heartbeat_hears_none_of_an_earlier_one() -> None:
    async with serving(ping_interval=0.05, ping_timeout=5) as server, upgraded(server.port) as wire:
        await wire.login(features=["heartbeat"])
        wire.send(text("logout"), text("login"))
        said: list[bytes] = []
        while sum(payload == b"" for payload in said) < 3:
            received = await wire.receive()
            assert received is not None
            said.append(received[1])
            if received[0] == Opcode.PING:
                wire.send(PONG)
        login = next(at for at, payload in enumerate(said) if b"login_response" in payload)
        assert not [payload for payload in said[login:] if b"heartbeat" in payload]


# ---- Who is there ----------------------------------------------------------------------------------------------------


class Guest:
    """A socket as the lobby sees it."""

    def __init__(self, address: str) -> None:
        self.address, self.aborted = address, False

    def abort(self) -> None:
        self.aborted = True


def test_beyond_its_share_an_address_is_not_let_in() -> None:
    lobby = Lobby(Settings(max_connections_per_address=2, trusted_proxies=("192.0.2.0/24",)))
    for address in ("198.51.100.1", "2001:db8::1"):
        guests = [Guest(address) for _ in range(2 + SPARE)]
        assert all(lobby.admit(guest) for guest in guests)
        assert not lobby.admit(Guest(address))
        lobby.leave(guests[0])
        lobby.leave(guests[0])
        assert lobby.admit(Guest(address))
        assert not lobby.admit(Guest(address))
    assert not lobby.admit(Guest("::ffff:198.51.100.1"))
    assert not lobby.admit(Guest("2001:db8::2"))
    assert lobby.admit(Guest("2001:db8:0:1::1"))
    for exempt in ("127.0.0.1", "::1", "192.0.2.7"):
        assert all(lobby.admit(Guest(exempt)) for _ in range(100))


def test_where_there_is_no_room_the_oldest_without_a_handshake_goes() -> None:
    lobby = Lobby(Settings(max_connections=2))
    opened, *silent = guests = [Guest("127.0.0.1") for _ in range(2 + SPARE)]
    assert all(lobby.admit(guest) for guest in guests)
    lobby.open(opened)
    for guest in silent:
        assert not guest.aborted
        assert lobby.admit(Guest("127.0.0.1"))
        assert guest.aborted
    assert not opened.aborted


def test_a_census_forgets_who_has_gone() -> None:
    census = Census()
    leave = [census.enter("198.51.100.1") for _ in range(3)]
    assert (census.of("198.51.100.1"), census.total) == (3, 3)
    for leaving in leave:
        leaving()
    assert (census.of("198.51.100.1"), census.total, len(census._counts)) == (0, 0, 0)


async def test_sockets_that_say_nothing_are_counted_and_take_nobodys_place(tls: dict[str, Any]) -> None:
    client = tls.pop("client")
    async with serving(max_connections=4, **tls) as server, contextlib.AsyncExitStack() as stack:
        neighbour = await stack.enter_async_context(upgraded(server.port, tls=client, resumable=False))
        silent = [await stack.enter_async_context(wired(server.port)) for _ in range(60)]
        assert await silent[0].lost(within=2)
        await eventually(lambda: len(server.connections) <= 4 + SPARE)
        async with upgraded(server.port, tls=client, resumable=False):
            neighbour.send(text("heartbeat"))
            assert (await neighbour.receive_event())[0] == "heartbeat"


async def test_whoever_never_finishes_the_handshake_of_tls_is_cut_in_time(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    async with serving(tls_cert=cert, tls_key=key, handshake_timeout=0.2) as server, wired(server.port) as silent:
        async with wired(server.port) as half:
            half.send(bytes.fromhex("1603010200010001fc0303"))
            assert await half.lost(within=2)
            assert await silent.lost(within=2)
        await eventually(lambda: not server.connections)


async def test_an_idle_session_over_tls_takes_little_memory(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting, count = ssl.create_default_context(cafile=cert), 60
    async with (
        server_process("--tls-cert", str(cert), "--tls-key", str(key)) as server,
        contextlib.AsyncExitStack() as stack,
    ):

        async def enter() -> None:
            await stack.enter_async_context(upgraded(server.port, tls=trusting, resumable=False))

        for _ in range(20):
            await enter()
        before = server.memory
        for _ in range(count):
            await enter()
        assert (server.memory - before) / count < 45 * KILOBYTE


async def test_peers_that_are_gone_again_leave_no_traceback_on_uvloop() -> None:
    pytest.importorskip("uvloop")
    async with server_process("--uvloop", "--trusted-proxies", "127.0.0.0/8") as server:
        for late in (False, True) * 30:
            async with wired(server.port) as wire:
                wire.send(handshake(), text("login"), PING * 5, text("agent_request", message="echo x"))
                if late:
                    assert await wire.status() == 101
                else:
                    await asyncio.sleep(0)
                wire.reset()
        async with upgraded(server.port, resumable=False):
            pass
        assert "Traceback" not in server.log


async def test_peers_that_are_gone_before_they_are_hung_up_on_leave_no_traceback_on_uvloop() -> None:
    pytest.importorskip("uvloop")
    async with server_process("--uvloop") as server:
        for _ in range(20):
            async with upgraded(server.port) as wire:
                wire.send(frame(Opcode.TEXT, b"{}") * 8000)
                wire.reset()
        async with upgraded(server.port, resumable=False):
            pass
        assert "Traceback" not in server.log


# ---- Goodbyes, and pieces --------------------------------------------------------------------------------------------


async def test_what_a_client_says_after_its_goodbye_costs_it_no_reset(tls: dict[str, Any]) -> None:
    client = tls.pop("client")
    async with serving(**tls) as server, upgraded(server.port, tls=client) as wire:
        wire.send(frame(Opcode.CLOSE, b"\x03\xe8"), text("login") * 100)
        assert await wire.receive() == (Opcode.CLOSE, b"\x03\xe8")
        await wire.push(text("login") * 1000)
        assert await wire.reader.read() == b""
        assert wire.reader.exception() is None


async def test_a_client_that_is_hung_up_on_while_it_speaks_hears_the_goodbye_of_tls(
    certificate: tuple[Path, Path],
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])

    def flood(port: int) -> bytes:
        heard = b""
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as tcp,
            context.wrap_socket(tcp, server_hostname="localhost", suppress_ragged_eofs=False) as peer,
        ):
            peer.sendall(handshake() + text("login"))
            while b"session_id" not in heard:
                heard += peer.recv(64 * KILOBYTE)
            peer.sendall(text("heartbeat") * 5000)
            while data := peer.recv(64 * KILOBYTE):  # raises where the end comes without a goodbye
                heard = (heard + data)[-100:]
        return heard

    async with server_process("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])) as server:
        for _ in range(10):  # what is unread when it is hung up on depends on the moment
            assert (await asyncio.to_thread(flood, server.port)).endswith(b"\x11\x4dtoo many messages")
        assert "Traceback" not in server.log


FRAMES = [
    PONG,
    frame(Opcode.TEXT, b"x" * 125),
    frame(Opcode.TEXT, b"x" * 126),
    frame(Opcode.BINARY, b"x" * 70_000),
    frame(Opcode.TEXT, b"unmasked", masked=False),
    EMPTY[:6],
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 200_000])
def test_bytes_are_cut_into_frames_however_they_come(size: int) -> None:
    cutter, data = Cutter(), b"".join(FRAMES)
    cut: list[bytes] = []
    for at in range(0, len(data), size):
        cutter.feed(data[at : at + size])
        while (piece := cutter.cut()) is not None:
            if piece.head is None:
                cut[-1] += piece.data
            else:
                assert piece.head == piece.data[0]
                cut.append(piece.data)
    assert cut == FRAMES


def test_a_frame_that_says_it_is_huge_is_not_waited_for() -> None:
    cutter = Cutter()
    cutter.feed(head(Opcode.TEXT, 2**64 - 1) + b"x")
    piece = cutter.cut()
    assert piece is not None
    assert len(piece.data) == len(head(Opcode.TEXT, 2**64 - 1)) + 1
