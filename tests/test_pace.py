"""A client that reads slowly is kept and one that reads nothing is not, also over TLS, where buffers hide it."""

import asyncio
import logging
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.connection.pace import STEPS, Pace
from agentsocket.protocol.events import AgentOutput
from agentsocket.telemetry import logs
from tests.support import PATIENCE, Scripted, eventually, serving
from tests.wire import handshake, text, upgraded

MEGABYTE = 1024 * 1024


async def count(limit: str, turn: Turn) -> str:
    for number in range(int(limit)):
        await turn.emit(AgentOutput(output=f"{number} ".ljust(1000, ".")))
    return limit


async def big(_rest: str, _turn: Turn) -> str:
    return "x" * MEGABYTE


def talking() -> Scripted:
    return Scripted(count=count, big=big)


def read_slowly(port: int, trusting: ssl.SSLContext, request: bytes, end: bytes) -> bytes:
    """Read some 80 kB a second: asyncio's own TLS would read ahead."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", port))
        with trusting.wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(handshake() + text("login") + request)
            received = b""
            while end not in received and (data := tls.recv(4096)):
                received += data
                threading.Event().wait(0.05)
            return received


async def test_over_tls_a_slow_reader_is_kept_and_loses_nothing(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    settings = {"write_deadline": 0.5, "ping_interval": 0.2, "ping_timeout": 0.2, "send_buffer": 4096}
    async with serving(talking, tls_cert=cert, tls_key=key, **settings) as server:
        request = text("agent_request", message="count 80")
        received = await asyncio.to_thread(read_slowly, server.port, trusting, request, b"agent_response")
    assert all(f'"{number} ..'.encode() in received for number in range(80))


@pytest.mark.parametrize("pings", [None, 0.1], ids=["without pings", "with pings"])
@pytest.mark.parametrize("message", ["big", "count 1000"])
async def test_over_tls_whoever_reads_nothing_is_cut(
    message: str, pings: float | None, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    caplog.set_level(logging.INFO, "agentsocket.connection")
    async with (
        serving(talking, tls_cert=cert, tls_key=key, write_deadline=0.3, ping_interval=pings, ping_timeout=5) as server,
        upgraded(server.port, tls=trusting, receive_buffer=4096, resumable=False) as wire,
    ):
        (connection,) = server.connections
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's writer has the whole transport
        wire.send(text("agent_request", message=message))
        await eventually(lambda: connection.writer.paused)
        started = time.monotonic()
        await eventually(connection.lost.done)
        assert time.monotonic() - started < 2
    assert [record.getMessage() for record in caplog.records if "read nothing" in record.getMessage()]


async def test_a_line_about_a_connection_names_it_in_whoevers_name_its_timer_was_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "agentsocket.connection")
    ids: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if "read nothing" in record.getMessage():
            ids.append(logs.IDS.get())
        return True

    caplog.handler.addFilter(note)
    async with serving(write_deadline=0.1) as server, upgraded(server.port, resumable=False):
        (connection,) = server.connections
        logs.IDS.set(" somebody else")
        connection.pause_writing()  # as where the frames of somebody else were flushed together with its own
        await eventually(connection.lost.done)
        assert ids == [connection.log_ids]


class Taking:
    """A writer whose peer takes what the test says."""

    taken = 0


async def test_whoever_was_seen_to_read_in_large_steps_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    writer = Taking()
    pace = Pace(writer, 10)  # type: ignore[arg-type]  # it looks at nothing else
    pace.watch()
    now = 9.0
    assert pace.look()
    writer.taken += 1
    assert pace.look()
    now += 9 * STEPS - 0.1
    assert pace.look()
    now += 0.2
    assert pace.look() is None


async def test_whoever_read_until_just_now_is_waited_for_as_long_as_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    writer = Taking()
    pace = Pace(writer, 10)  # type: ignore[arg-type]  # it looks at nothing else
    pace.watch()
    for _ in range(100):
        now += 0.5
        writer.taken += 1
        assert pace.look()
    now += 10
    assert pace.look() is None
