"""A peer below the protocol: any bytes, over TCP, and whatever comes back."""

import asyncio
import base64
import contextlib
import gc
import json
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from enum import IntEnum
from typing import Any

import pytest

from agentsocket.server import AgentServer
from tests.support import PATIENCE, logged_in

ABNORMAL = 1006
"""What a peer sees that was sent no close frame."""


KEY = base64.b64encode(bytes(16)).decode()
"""The nonce of a handshake."""


class Opcode(IntEnum):
    """The opcodes of RFC 6455."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


def head(opcode: int, length: int, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """Return what stands before a payload of this length; its mask, where it has one, changes nothing."""
    first, mask = fin << 7 | reserved << 4 | opcode, masked << 7
    if length < 126:
        return struct.pack("!BB", first, mask | length) + bytes(4) * masked
    if length < 65536:
        return struct.pack("!BBH", first, mask | 126, length) + bytes(4) * masked
    return struct.pack("!BBQ", first, mask | 127, length) + bytes(4) * masked


def frame(opcode: int, payload: bytes = b"", **options: Any) -> bytes:
    """Return a frame of the WebSocket protocol."""
    return head(opcode, len(payload), **options) + payload


def text(event: str, **data: Any) -> bytes:
    """Return a text frame with a frame of the server's protocol in it."""
    return frame(Opcode.TEXT, json.dumps({"event": event, "data": data}).encode())


def handshake(
    *more: str,
    method: str = "GET",
    path: str = "/",
    host: str | None = "localhost",
    upgrade: bool = True,
) -> bytes:
    """Return the request that opens a connection, with ``more`` header lines."""
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host is not None else [])]
    if upgrade:
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


class Wire:
    """One TCP connection. Every wait has one bound."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *data: bytes) -> None:
        """Send bytes. Does not wait, and does not mind if nobody takes them any more."""
        self.writer.write(b"".join(data))

    async def push(self, data: bytes) -> bool:
        """Send bytes and wait until the kernel has them; false where the connection is lost."""
        self.writer.write(data)
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.drain()
        except OSError:
            return False
        return True

    async def status(self) -> int | None:
        """Return the status of the next HTTP response, and read all of it; none where the connection is lost."""
        try:
            async with asyncio.timeout(PATIENCE):
                response = await self.reader.readuntil(b"\r\n\r\n")
                lines = response.decode().lower().split("\r\n")
                for line in lines:
                    if line.startswith("content-length:"):
                        await self.reader.readexactly(int(line.partition(":")[2]))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return int(lines[0].split()[1])

    async def upgrade(self) -> None:
        """Open the WebSocket connection."""
        self.send(handshake())
        assert await self.status() == 101

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame's opcode and payload; none where the connection is lost."""
        try:
            async with asyncio.timeout(PATIENCE):
                first, length = await self.reader.readexactly(2)
                if length >= 126:
                    length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
                return first & 15, await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def receive_event(self) -> tuple[str, dict[str, Any]]:
        """Return the event and data of the next text frame."""
        received = await self.receive()
        assert received is not None
        assert received[0] == Opcode.TEXT, received
        event = json.loads(received[1])
        return event["event"], event["data"]

    async def login(self, **data: Any) -> dict[str, Any]:
        """Log in."""
        self.send(text("login", **data))
        event, response = await self.receive_event()
        assert event == "login_response", response
        return response

    async def trickle(self, end: bytes, *, size: int, pause: float) -> bytes:
        """Read ``size`` bytes, pause so many seconds, read on, until ``end`` has come; return what came."""
        received = b""
        async with asyncio.timeout(PATIENCE):
            while end not in received:
                received += await self.reader.read(size)
                await asyncio.sleep(pause)  # the slow reader itself: nothing is waited for
        return received

    async def close_code(self) -> int:
        """Read on until the end; return the code of the close frame, or ``ABNORMAL`` where none came."""
        code = ABNORMAL
        while (received := await self.receive()) is not None:
            if received[0] == Opcode.CLOSE and code == ABNORMAL:
                code = int.from_bytes(received[1][:2]) if received[1] else 1005
        return code

    async def lost(self, within: float = PATIENCE) -> bool:
        """Wait until the server has closed the connection, whatever it says before; false if it has not by then."""
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(within):
                while await self.reader.read(65536):
                    pass
        return self.reader.at_eof() or self.reader.exception() is not None

    def reset(self) -> None:
        """Break the connection as a crash does: no close frame, no FIN, but a RST."""
        sock: socket.socket | None = self.writer.get_extra_info("socket")
        if sock is not None:  # it has not been closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def wired(
    port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """Open a TCP connection. With a small ``receive_buffer`` whoever does not read is soon noticed."""
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003  # the standard library's own
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    # The limit is that of the stream's own buffer, which would read ahead of a test that does not read.
    name = "localhost" if tls is not None else None
    reader, writer = await asyncio.open_connection(
        sock=sock, limit=receive_buffer or 2**20, ssl=tls, server_hostname=name
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def upgraded(
    port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None, **login: Any
) -> AsyncIterator[Wire]:
    """Open a WebSocket connection, and log in where there is something to log in with."""
    async with wired(port, receive_buffer=receive_buffer, tls=tls) as wire:
        await wire.upgrade()
        if login:
            await wire.login(**login)
        yield wire


@contextlib.asynccontextmanager
async def undisturbed(server: AgentServer, log: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Have a neighbour beside what happens within; hold that it is served as before, and that the log stays calm.

    Calm means: one line at most beside those that say that a session opens or ends, no traceback, nothing unprintable.
    """
    log.set_level(logging.INFO)
    log.set_level(logging.WARNING, "websockets")
    async with logged_in(server) as neighbour:
        assert await neighbour.ask("before") == "before"
        log.clear()
        yield
        assert await neighbour.ask("after") == "after"
        gc.collect()  # what an abandoned task or future has to say, it says now
    lines = [record for record in log.records if not record.getMessage().startswith("session ")]
    assert len(lines) <= 1, [record.getMessage() for record in lines]
    for record in log.records:
        assert record.exc_info is None, record.exc_info
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 500
