"""A client that costs next to nothing: raw sockets, and markers looked for in the bytes that come.

It knows as much of WebSocket as it takes to be understood. A conversation is a generator: it yields until when it
waits at most, and is sent what has come by then. One is held alone (``hold``), or many at once (``converse``).
"""

import heapq
import itertools
import json
import select
import socket
import struct
import time
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
Talk = Generator[float | None, bytes, T]
"""Yields the time of ``time.monotonic`` until which it waits (None: as long as it takes), and gets b"" at that time."""

PATIENCE = 30
"""Seconds of silence after which something must be broken."""

CHUNK = 64 * 1024
END_OF_FRAME = b"}}"

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE = 0x81, 0x88


class Link:
    """One connection."""

    def __init__(self, port: int) -> None:
        """Connect to this port of the loopback address; raises ``ConnectionRefusedError`` where nobody listens."""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A time-out of Python's own would cost a system call for each read.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
        self._rest = b""

    def read(self) -> bytes:
        """Return what has come, and wait for it if nothing has; raises ``ConnectionError`` at its end."""
        data = self.socket.recv(CHUNK)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data

    def send(self, event: str, **data: Any) -> None:
        """Send a frame of fewer than 126 bytes."""
        self._send(TEXT, json.dumps({"event": event, "data": data}).encode())

    def close(self) -> None:
        """Say goodbye and hang up."""
        self._send(CLOSE, b"\x03\xe8")
        self.socket.close()

    def log_in(self, **data: Any) -> Talk[None]:
        """Become a WebSocket connection and log in."""
        self.socket.sendall(HANDSHAKE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += yield None
        self.send("login", **data)
        yield from self.until(b"login_response")

    def receive(self, deadline: float | None = None) -> Talk[bytes]:
        """Wait for bytes; return those that are whole frames, so that no marker is ever cut in two."""
        frames, end, self._rest = (self._rest + (yield deadline)).rpartition(END_OF_FRAME)
        return frames + end

    def until(self, marker: bytes, deadline: float | None = None) -> Talk[None]:
        """Wait for a frame with this marker."""
        while marker not in (yield from self.receive(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                return

    def _send(self, opcode: int, payload: bytes) -> None:
        # Masked, as a client's frames must be, with a key that changes nothing.
        self.socket.sendall(bytes((opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload)


def hold(link: Link, talk: Talk[T]) -> T:
    """Hold one conversation, which sets no deadlines; return what it returns."""
    try:
        next(talk)
        while True:
            talk.send(link.read())
    except StopIteration as end:
        result: T = end.value
        return result


def converse(talks: Iterable[tuple[Link, Talk[None]]], *, at_once: int | None = None) -> None:
    """Hold all these conversations, so many of them at once, until each has ended.

    Raises:
        TimeoutError: if all are silent for ``PATIENCE`` seconds.
    """
    waiting = iter(talks)
    with select.epoll() as poll:
        room = _Room(poll)
        room.let_in(itertools.islice(waiting, at_once))
        while room.open:
            room.listen()
            if at_once is not None:
                room.let_in(itertools.islice(waiting, at_once - len(room.open)))


class _Room:
    """The conversations that go on at the moment, by the descriptor of their link."""

    def __init__(self, poll: select.epoll) -> None:
        self.open: dict[int, tuple[Link, Talk[None]]] = {}
        self._poll = poll
        self._deadlines: dict[int, float | None] = {}
        self._alarms: list[tuple[float, int]] = []

    def let_in(self, talks: Iterable[tuple[Link, Talk[None]]]) -> None:
        for link, talk in talks:
            descriptor = link.socket.fileno()
            self.open[descriptor] = link, talk
            self._deadlines[descriptor] = None
            self._poll.register(descriptor, select.EPOLLIN)
            self._go_on(descriptor, None)

    def listen(self) -> None:
        """Wait for bytes or for a deadline, and let the conversations go on that it is for."""
        patience = self._alarms[0][0] - time.monotonic() if self._alarms else PATIENCE
        ready = self._poll.poll(max(0.0, patience))
        if not ready and not self._alarms:
            raise TimeoutError(f"{len(self.open)} clients have waited for {PATIENCE} s, in vain")
        for descriptor, _ in ready:
            self._go_on(descriptor, self.open[descriptor][0].read())
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            deadline, descriptor = heapq.heappop(self._alarms)
            if self._deadlines.get(descriptor) == deadline:
                self._go_on(descriptor, b"")

    def _go_on(self, descriptor: int, data: bytes | None) -> None:
        link, talk = self.open[descriptor]
        try:
            deadline = talk.send(data)  # type: ignore[arg-type]  # a generator is begun with None
        except StopIteration:
            del self.open[descriptor], self._deadlines[descriptor]
            if link.socket.fileno() == descriptor:  # a conversation may close its link, and so the descriptor
                self._poll.unregister(descriptor)
            return
        if deadline is not None and deadline != self._deadlines[descriptor]:
            heapq.heappush(self._alarms, (deadline, descriptor))
        self._deadlines[descriptor] = deadline
