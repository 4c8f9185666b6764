"""A WebSocket client that does no more than it must, so that thousands of them fit into one process."""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.support import PATIENCE
from tests.wire import ABNORMAL, Opcode, frame, handshake, text

Hear = Callable[[str, dict[str, Any]], None]


class Link(asyncio.Protocol):
    """One connection; ``hear`` is called with each frame's event and data. It is lost when ``lost`` is done."""

    def __init__(self, hear: Hear | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[int] = loop.create_future()
        """The status of the handshake."""
        self.lost: asyncio.Future[int] = loop.create_future()
        """The close code."""
        self.received = 0
        """Bytes."""
        self.discarding = False
        """Whether it reads and does not listen, not even to pings."""
        self._hear = hear
        self._frames: deque[tuple[str, dict[str, Any]]] = deque(maxlen=1000)
        self._more: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._code = ABNORMAL

    def send(self, event: str, **data: Any) -> None:
        """Send a frame."""
        self.transport.write(text(event, **data))

    async def expect(self, event: str) -> dict[str, Any]:
        """Return the data of the next frame of this event, and pass over what comes before it."""
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                while self._frames:
                    name, data = self._frames.popleft()
                    if name == event:
                        return data
                if self.lost.done():
                    raise ConnectionError(f"lost ({self.lost.result()}) while waiting for {event}")
                self._more = asyncio.get_running_loop().create_future()
                ends: list[asyncio.Future[Any]] = [self._more, self.lost]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def ask(self, event: str, answer: str, **data: Any) -> dict[str, Any]:
        """Send a frame, and return the data of its answer."""
        self.send(event, **data)
        return await self.expect(answer)

    def reset(self) -> None:
        """Break the connection with a RST."""
        reset(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(handshake())

    def data_received(self, data: bytes) -> None:
        """Take in frames."""
        self.received += len(data)
        if self.discarding:
            return
        self._buffer += data
        if not self.opened.done():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.opened.set_result(int(self._buffer[9:12]))
            del self._buffer[: end + 4]
        start = 0
        while (found := self._frame_at(start)) is not None:
            opcode, payload, start = found
            self._take(opcode, payload)
        del self._buffer[:start]

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost.set_result(self._code)
        if not self.opened.done():
            self.opened.set_result(0)

    def _frame_at(self, start: int) -> tuple[int, bytes, int] | None:
        buffer = self._buffer
        if len(buffer) < start + 2:
            return None
        size, begin = buffer[start + 1], start + 2
        if size >= 126:
            begin += 2 if size == 126 else 8
            if len(buffer) < begin:
                return None
            size = int.from_bytes(buffer[start + 2 : begin])
        if len(buffer) < begin + size:
            return None
        return buffer[start] & 15, bytes(buffer[begin : begin + size]), begin + size

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            self.transport.write(frame(Opcode.PONG, payload))
        elif opcode == Opcode.CLOSE:
            self._code = int.from_bytes(payload[:2])
            self.transport.write(frame(Opcode.CLOSE, payload[:2]))
        elif opcode == Opcode.TEXT:
            message = json.loads(payload)
            heard = message["event"], message["data"]
            self._frames.append(heard)
            if self._more is not None and not self._more.done():
                self._more.set_result(None)
            if self._hear is not None:
                self._hear(*heard)


def reset(transport: asyncio.WriteTransport) -> None:
    """Break a connection with a RST: no close frame, no FIN."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def link(port: int, hear: Hear | None = None, *, receive_buffer: int | None = None) -> Link:
    """Open a connection.

    Raises:
        OSError: if it cannot be opened, or is refused.
    """
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003  # the standard library's own
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    _, opening = await loop.create_connection(lambda: Link(hear), sock=sock)
    async with asyncio.timeout(2 * PATIENCE):
        status = await opening.opened
    if status != 101:
        opening.transport.abort()
        raise ConnectionRefusedError(f"the handshake was answered with {status}")
    return opening
