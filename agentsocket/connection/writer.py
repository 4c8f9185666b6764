"""The one writer of a connection: many frames, few writes."""

import asyncio
import time

from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from agentsocket.connection.kernel import unsent
from agentsocket.session.frame_log import BURST

ON_ITS_HEELS = 50e-6
"""Seconds after a write within which the next frame is one of many: a loop's iteration takes about as long."""

SHORT_HEADS = [bytes((0x81, length)) for length in range(126)]


class Batch:
    """The writers of all connections that have gathered frames; flushed together when the loop's iteration ends."""

    def __init__(self) -> None:
        self._writers: list[FrameWriter] = []

    def add(self, writer: "FrameWriter") -> None:
        """Flush this writer when the iteration ends."""
        if not self._writers:
            asyncio.get_running_loop().call_soon(self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.flush()


class FrameWriter:
    """Writes a frame at once, and gathers those that follow on its heels into one write at the iteration's end.

    A system call for each frame would cost more than everything else that is done for it; gathering the first one
    too would delay a lone frame, and cost the loop an iteration for each.
    """

    def __init__(self, protocol: ServerProtocol, transport: asyncio.Transport, batch: Batch) -> None:
        self.lag = 0
        """Bytes that were written here and that the socket has not taken yet."""
        self.paused = False
        """Whether the socket takes nothing more for now."""
        self.written = 0
        """Bytes that were handed to the socket so far."""
        self._abandoned = False
        self._protocol, self._transport, self._batch = protocol, transport, batch
        self._wrote = 0.0
        self._frames: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []

    def write(self, frame: bytes) -> None:
        """Take a frame; never waits. A connection that is closing or lost drops it."""
        if self._frames or self.paused or time.perf_counter() - self._wrote < ON_ITS_HEELS:
            self.gather(frame)
        else:
            self._send(self._framed(frame))

    def gather(self, frame: bytes) -> None:
        """Take a frame that others will follow at once; never waits."""
        if self._abandoned:
            return  # the socket of a lost peer stays paused for good: what is kept for it would never be taken
        if not self._frames and not self.paused:
            self._batch.add(self)
        framed = self._framed(frame)
        self._frames.append(framed)
        self.lag += len(framed)

    @property
    def silent(self) -> float:
        """Seconds since something was handed to the socket."""
        return time.perf_counter() - self._wrote

    @property
    def taken(self) -> int:
        """Bytes of those written that the peer has taken, as far as is known here; with TLS about."""
        return self.written - self._transport.get_write_buffer_size() - unsent(self._transport)

    @property
    def closing(self) -> bool:
        """Whether nothing is taken any more."""
        return self._abandoned or self._transport.is_closing()

    def flush(self) -> None:
        """Hand frames to the socket as long as it takes them."""
        while self._frames and not self.paused:
            self._send(b"".join(self._take()))
        if self.lag <= BURST and self._waiters:
            self._wake()

    def finish(self) -> None:
        """Hand over everything, whether or not the socket takes it: the connection is about to close."""
        self._send(b"".join(self._frames))
        self.abandon()

    def abandon(self) -> None:
        """Forget what nobody will read any more, and take nothing from now on: it lags no longer, whoever waits."""
        self._abandoned = True
        self._frames, self.lag = [], 0
        self._wake()

    def drained(self) -> asyncio.Future[None]:
        """Return what is done when the reader lags by less than ``BURST``, or is gone."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self._abandoned:
            self._wake()
        return waiter

    def _take(self) -> list[bytes]:
        """Take frames of some ``BURST`` bytes, at least one."""
        if self.lag <= BURST:
            frames, self._frames, self.lag = self._frames, [], 0
            return frames
        size = count = 0
        while size < BURST:
            size += len(self._frames[count])
            count += 1
        frames = self._frames[:count]
        del self._frames[:count]
        self.lag -= size
        return frames

    def control(self, data: bytes) -> None:
        """Hand to the socket what the WebSocket protocol itself has to say; a lost one drops it."""
        if data and not self._transport.is_closing():
            self.written += len(data)
            self._transport.write(data)

    def _send(self, data: bytes) -> None:
        if self._protocol.state is OPEN and not self._transport.is_closing():
            self._wrote = time.perf_counter()
            self.written += len(data)
            self._transport.write(data)

    def _framed(self, frame: bytes) -> bytes:
        """Return what a frame is on the wire."""
        if not self._protocol.extensions:
            return _head(len(frame)) + frame
        if self._protocol.state is not OPEN:
            return b""  # the library would refuse it
        self._protocol.send_text(frame)
        return b"".join(self._protocol.data_to_send())

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _head(length: int) -> bytes:
    """Return the head of an unfragmented, unmasked text frame (RFC 6455, section 5.2).

    The library makes the same one, in 0.8 µs: a third of all that a frame costs.
    """
    if length < len(SHORT_HEADS):
        return SHORT_HEADS[length]
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)
