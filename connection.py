"""The library's connection, hardened: what keeps one peer from holding a connection, memory or the whole server.

The library trusts its peer to read what it is sent. Five things follow from that trust, and are cured here: a
keepalive that hangs behind its own unread ping, a close that never ends, pongs that pile up without bound, a time-out
around ``send`` that bounds nothing, and (in ``encoding``) text that the wire has no form for.
"""

import asyncio
import logging
from enum import IntEnum
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import CloseCode as StandardCloseCode
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from limits import TokenBucket
from writer import Batch, FrameWriter

logger = logging.getLogger("server.connection")

MAX_HANDSHAKE = 32 * 1024
"""Bytes of a handshake. A megabyte of valid headers costs half a second of CPU, before anybody has logged in."""

END_OF_REQUEST = b"\r\n\r\n"

READ_SIZE = 64 * 1024
"""Bytes that are read at once."""

PING_RATE, PING_BURST = 10, 100
"""Pings a second that are answered, and how many may come at once: what is answered may never be read."""


class CloseCode(IntEnum):
    """Close codes. From 4000 on they are the server's own, and from 4500 on a client must not reconnect by itself."""

    GOING_AWAY = StandardCloseCode.GOING_AWAY
    UNSUPPORTED_DATA = StandardCloseCode.UNSUPPORTED_DATA
    TOO_SLOW = 4000
    RATE_LIMITED = 4429
    AUTHENTICATION_FAILED = 4500
    TAKEN_OVER = 4501
    LOGIN_TIMEOUT = 4502
    TOO_MANY_ERRORS = 4509


class AgentConnection(ServerConnection):
    """One connection, its one writer, and the deadlines that the library lacks."""

    def __init__(
        self,
        protocol: ServerProtocol,
        server: Server,
        *,
        batch: Batch,
        sockets: "set[AgentConnection]",
        write_deadline: float,
        **options: Any,
    ) -> None:
        super().__init__(protocol, server, **options)
        self._sockets = sockets
        self.writer = FrameWriter(self, batch)
        self._write_deadline = write_deadline
        self._watch: asyncio.TimerHandle | None = None
        self._unread = 0
        self._unread_since = 0.0
        self._pings = TokenBucket(PING_RATE, PING_BURST)
        self._handshake = self._early = b""

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Say what is left to say and close. Does not wait: a peer that does not answer is cut off in time."""
        if self.protocol.state is State.OPEN:
            self.writer.finish()
            self.protocol.fail(code, reason)
            self.send_data()
            self.loop.call_later(self.close_timeout or 0, self.transport.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the open connections."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            # Else asyncio takes 256 KiB of fresh memory for each read, which costs more than all that a small message
            # needs; and what one read brings is parsed before anybody else has a turn.
            transport.max_size = READ_SIZE
        self._sockets.add(self)

    async def handshake(self, *args: Any, **options: Any) -> None:
        """Answer the opening handshake, then take what came too early."""
        await super().handshake(*args, **options)
        early, self._early, self._handshake = self._early, b"", b""
        if early and self.protocol.state is State.OPEN:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Take data from the peer, as long as it is fair."""
        if self.protocol.state is State.CONNECTING:
            data = self._take_handshake(data)
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Take a frame of the peer's, unless it floods the server with pings."""
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.PING and not self._pings.take():
            if not self.transport.is_closing():
                logger.info("a peer pings too often: aborted")
            self.transport.abort()

    def _take_handshake(self, data: bytes) -> bytes:
        """Return what of this belongs to the request: the library trips over what comes before it has answered that."""
        known = len(self._handshake)
        self._handshake += data
        if len(self._handshake) > MAX_HANDSHAKE:
            logger.info("handshake of more than %d bytes from %s", MAX_HANDSHAKE, self.remote_address)
            self.transport.abort()
            return b""
        end = self._handshake.find(END_OF_REQUEST)
        if end < 0:
            return data
        end += len(END_OF_REQUEST)
        self._early = self._handshake[end:]
        return data[: max(0, end - known)]

    def pause_writing(self) -> None:
        """Start to watch a peer that does not read."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._unread_since = self.loop.time()
        self._watch = self.loop.call_later(self._write_deadline, self._check_reading)

    def resume_writing(self) -> None:
        """It reads again: go on."""
        super().resume_writing()
        self._stop_watching()
        self.writer.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everybody who waits for this peer."""
        self._sockets.discard(self)
        self._stop_watching()
        super().connection_lost(exc)
        self.writer.abandon()

    def _check_reading(self) -> None:
        unread, now = self.transport.get_write_buffer_size(), self.loop.time()
        if unread < self._unread:
            # Slow, but reading: a whole answer of some megabytes may take a while.
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since >= self._write_deadline:
            logger.info("a peer read nothing for %g s: aborted (%d)", now - self._unread_since, CloseCode.TOO_SLOW)
            self.transport.abort()
            return
        self._watch = self.loop.call_later(min(0.5, self._write_deadline), self._check_reading)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
