"""What the server does for a WebSocket connection itself: whom it hears, keeps and closes."""

import asyncio
import gc
import logging
import socket
import weakref

import pytest
from websockets.asyncio.client import connect

from agentsocket.agent.contract import Agent, Turn
from agentsocket.connection.inbox import FAIR_SHARE, MAX_UNREAD
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.events import AgentOutput
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Session
from tests.support import Peer, Scripted, connected, eventually, serving
from tests.wire import Opcode, frame, handshake, text, undisturbed, upgraded, wired

LEAVE = frame(Opcode.CLOSE, b"\x03\xe8")


async def test_a_client_that_answers_pings_is_kept_and_pinged_again() -> None:
    async with (
        serving(ping_interval=0.05, ping_timeout=5) as server,
        upgraded(server.port, resumable=False) as wire,
    ):
        for _ in range(3):
            assert await wire.receive() == (Opcode.PING, b"")
            wire.send(frame(Opcode.PONG))
        wire.send(text("agent_request", message="still there"))
        events = [await wire.receive() for _ in range(2)]
        assert b"still there" in b"".join(payload for _, payload in filter(None, events))


async def test_a_client_that_answers_no_ping_is_closed() -> None:
    async with (
        serving(ping_interval=0.05, ping_timeout=0.05) as server,
        upgraded(server.port, resumable=False) as wire,
    ):
        assert await wire.close_code() == 1011


async def count(limit: str, turn: Turn) -> str:
    for number in range(int(limit)):
        await turn.emit(AgentOutput(output=f"{number} ".ljust(1000, ".")))
    return limit


async def test_a_client_that_has_much_to_read_first_is_not_taken_for_a_dead_one() -> None:
    async with (
        serving(lambda: Scripted(count=count), ping_interval=0.05, ping_timeout=0.05, send_buffer=4096) as server,
        upgraded(server.port, receive_buffer=2048, resumable=False) as wire,
    ):
        wire.send(text("agent_request", message="count 100"))
        received = await wire.trickle(b"agent_response", size=4096, pause=0.03)
        assert all(f'"{number} ..'.encode() in received for number in range(100))


async def test_a_client_that_reads_again_is_alive_without_an_answer() -> None:
    async with (
        serving(lambda: Scripted(count=count), ping_interval=0.05, ping_timeout=0.3, send_buffer=4096) as server,
        upgraded(server.port, receive_buffer=2048, resumable=False) as wire,
    ):
        (connection,) = server.connections
        assert await wire.receive() == (Opcode.PING, b"")
        wire.send(text("agent_request", message="count 100"))
        await eventually(lambda: connection.writer.paused)
        frames = [await wire.receive() for _ in range(102)]
        assert all(frame is not None and frame[0] == Opcode.TEXT for frame in frames)
        assert await wire.receive() == (Opcode.PING, b"")


async def test_what_comes_with_the_handshake_is_heard_in_its_order() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, wired(server.port) as wire:
        wire.send(handshake(), text("login"), text("agent_request", message="one"), text("logout"), text("login"))
        assert await wire.status() == 101
        events = [(await wire.receive_event())[0] for _ in range(5)]
        assert events == [
            "login_response",
            "agent_request_received",
            "task_cancelled",
            "logout_response",
            "login_response",
        ]


async def test_what_comes_before_a_goodbye_is_heard() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, upgraded(server.port) as wire:
        wire.send(text("login", resumable=True), text("agent_request", message="park"), LEAVE)
        await agent.parked.wait()
        assert await wire.close_code() == 1000
        (session,) = server.manager.sessions.values()
        assert session.client is None


async def test_a_client_that_says_much_at_once_leaves_the_others_their_turn() -> None:
    agent = Scripted()
    async with (
        serving(lambda: agent, max_tasks=1000, rate_limit="none") as server,
        upgraded(server.port, resumable=False) as first,
        upgraded(server.port, resumable=False) as second,
    ):
        first.send(*(text("agent_request", message="many") for _ in range(300)))
        second.send(text("agent_request", message="one"))
        await eventually(lambda: len(agent.runs) == 301)
        assert agent.runs.index("one") <= 50


async def test_the_last_message_of_a_fair_share_is_waited_for_like_any_other() -> None:
    class SlowToClose(Scripted):
        async def aclose(self) -> None:
            for _ in range(5):
                await asyncio.sleep(0)

    async with serving(SlowToClose) as server, upgraded(server.port, resumable=False) as wire:
        refused = [text("cancel_request", task_id="unknown")] * (FAIR_SHARE - 1)
        wire.send(*refused, text("logout"), text("login"))
        events = [(await wire.receive_event())[0] for _ in range(FAIR_SHARE + 1)]
        assert events[-2:] == ["logout_response", "login_response"]


async def test_a_client_that_leaves_much_unread_has_its_own_messages_wait() -> None:
    async with (
        serving(lambda: Scripted(big=big), send_buffer=4096, max_queue=1) as server,
        upgraded(server.port, receive_buffer=4096, resumable=False) as wire,
    ):
        (connection,) = server.connections
        wire.send(*(text("agent_request", message="big") for _ in range(10)))
        await eventually(lambda: connection.writer.lag > MAX_UNREAD)
        wire.send(*(text("agent_request", message="big") for _ in range(5)))
        await eventually(lambda: not connection.transport.is_reading())
        frames = [await wire.receive() for _ in range(30)]
        assert sum(b"agent_response" in payload for _, payload in filter(None, frames)) == 15


async def big(_rest: str, _turn: Turn) -> str:
    return "x" * 200_000


async def test_what_a_client_says_during_its_login_waits_unread_and_is_heard_then() -> None:
    gate, agent = asyncio.Event(), Scripted()

    async def create() -> Agent:
        await gate.wait()
        return agent

    async with serving(create, max_queue=4) as server, upgraded(server.port) as wire:
        (connection,) = server.connections
        wire.send(text("login"), *(text("agent_request", message=str(number)) for number in range(5)))
        await eventually(lambda: not connection.transport.is_reading())
        wire.send(text("agent_request", message="5"))
        gate.set()
        assert (await wire.receive_event())[0] == "login_response"
        await eventually(lambda: agent.runs == ["0", "1", "2", "3", "4", "5"])


async def test_nothing_runs_on_for_a_client_that_said_much_and_left() -> None:
    async with (
        serving(max_tasks=1000, rate_limit="none", close_timeout=0.2) as server,
        upgraded(server.port, resumable=False) as wire,
    ):
        wire.send(*(text("agent_request", message="park") for _ in range(70)), LEAVE)
        assert await wire.close_code() == 1000
        await eventually(lambda: not server.connections)
        await eventually(lambda: not server.manager.sessions and not server.manager.running)


async def test_a_client_that_leaves_during_its_login_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    gate, agent = asyncio.Event(), Scripted()

    async def create() -> Agent:
        await gate.wait()
        return agent

    async with serving(create, close_timeout=0.2) as server:
        gate.set()
        async with undisturbed(server, caplog):
            gate.clear()
            neighbours = set(server.connections)
            async with upgraded(server.port) as wire:
                (connection,) = server.connections - neighbours
                wire.send(text("login"), text("agent_request", message="unheard"), LEAVE)
                await eventually(connection.lost.done)
            gate.set()
            await eventually(lambda: agent.closed == 1)
            assert len(server.manager.sessions) == 1
            assert connection._timer is not None
            assert connection._timer.cancelled()


async def test_what_a_connection_was_made_of_is_freed_without_the_collector() -> None:
    async with serving() as server:
        gc.disable()
        try:
            async with upgraded(server.port, resumable=False) as wire:
                (connection,) = server.connections
                remains = [weakref.ref(part) for part in (connection, connection.protocol, connection.writer)]
                del connection
                wire.send(text("agent_request", message="x"), LEAVE)
                assert await wire.close_code() == 1000
            await eventually(lambda: not any(part() for part in remains))
        finally:
            gc.enable()


async def test_without_pings_a_client_that_has_logged_in_may_stay() -> None:
    async with (
        serving(ping_interval=None, login_timeout=0.2) as server,
        upgraded(server.port, resumable=False) as wire,
        upgraded(server.port) as idle,
    ):
        assert await idle.close_code() == 4502
        wire.send(text("agent_request", message="x"))
        assert (await wire.receive_event())[0] == "agent_request_received"


async def test_messages_are_compressed_where_both_sides_want_that() -> None:
    message = "say " + "again and " * 5000
    async with serving(compression=True) as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
        assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"]
        peer = Peer(socket)
        await peer.login()
        assert await peer.ask(message) == message


async def test_a_login_that_is_done_during_the_goodbye_does_not_prolong_it() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def create() -> Agent:
        asked.set()
        await gate.wait()
        return Scripted()

    async with serving(create, ping_interval=None, close_timeout=0.2) as server, upgraded(server.port) as wire:
        (connection,) = server.connections
        wire.send(text("login"))
        await asked.wait()
        connection.hang_up(CloseCode.GOING_AWAY, "")
        gate.set()
        await eventually(connection.lost.done)


async def test_a_bug_of_the_server_closes_that_connection_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("a bug")

    async with serving(close_timeout=0.1) as server, upgraded(server.port, resumable=False) as wire:
        monkeypatch.setattr(Session, "start", start)
        wire.send(text("agent_request", message="x"), text("agent_request", message="y"))
        assert await wire.close_code() == 1011
        await eventually(lambda: not server.manager.sessions)
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_so_does_one_in_a_login_that_takes_its_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def create() -> Agent:
        return Scripted()

    def open_session(*_: object) -> None:
        raise RuntimeError("a bug")

    async with serving(create) as server, upgraded(server.port) as wire:
        monkeypatch.setattr(SessionManager, "open", open_session)
        wire.send(text("login"), text("agent_request", message="x"))
        assert await wire.close_code() == 1011
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_what_is_said_bit_by_bit_waits_for_no_acknowledgement() -> None:
    async with serving() as server, connected(server) as peer:
        await peer.login()
        (connection,) = server.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
