"""What a peer has said and its reader has not taken yet: handed over in order, and so that others have their turn."""

import asyncio
import logging
from collections import deque
from typing import Protocol

from websockets.frames import Frame, Opcode

from agentsocket.connection.writer import FrameWriter
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.telemetry import logs

logger = logging.getLogger("agentsocket.inbox")

MAX_FRAGMENTS = 1024
"""Frames of one message: an empty one adds nothing to its size, and yet takes memory."""

FAIR_SHARE = 50
"""Messages of one connection after which it is the others' turn: all that one read brings is there at once."""

MAX_UNREAD = 1024 * 1024
"""Bytes that a client may leave unread before its own messages have to wait."""

BUG = "a bug of the server: the connection is closed"


class Reader(Protocol):
    """Whoever reads a connection."""

    def receive(self, message: str) -> asyncio.Task[None] | None:
        """Take a message. Where a task comes back, the next message waits until that is done."""

    def end(self) -> None:
        """There will be no more messages."""


class Line(Protocol):
    """What an inbox needs of its connection."""

    transport: asyncio.Transport
    writer: FrameWriter
    log_ids: str

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Close the connection; what is in the inbox is dropped."""


class Inbox:
    """The messages of one connection on their way to its reader."""

    def __init__(self, line: Line, reader: Reader, max_queue: int) -> None:
        self._line, self._reader, self._max_queue = line, reader, max_queue
        self._fragments: list[Frame] = []
        self._messages: deque[list[Frame]] = deque()
        self._held = False
        self._ended = False

    def put(self, frame: Frame) -> None:
        """Add a frame that is a message, or a fragment of one."""
        self._fragments.append(frame)
        if frame.fin or len(self._fragments) > MAX_FRAGMENTS:
            self._messages.append(self._fragments)
            self._fragments = []

    def clear(self) -> None:
        """Drop everything."""
        self._messages.clear()
        self._control_flow()

    def end(self) -> None:
        """Nothing will be added; the reader still gets what is there, and is told then."""
        self._ended = True
        self.hand_over()

    def hand_over(self) -> None:
        """Hand over messages, while the reader has time, the client itself reads, and it is not the others' turn."""
        for _ in range(FAIR_SHARE):
            if self._held or not self._messages:
                break
            if self._line.writer.lag > MAX_UNREAD:
                self._hold(self._line.writer.drained())
            else:
                self._read(self._messages.popleft())
        if self._messages and not self._held:
            self._held = True
            asyncio.get_running_loop().call_soon(self._go_on)
        self._control_flow()
        if self._ended and not self._held:
            self._reader.end()

    def _control_flow(self) -> None:
        transport = self._line.transport
        if transport.is_closing():
            return  # uvloop's would raise
        if len(self._messages) > self._max_queue:
            transport.pause_reading()
        elif not self._messages and not transport.is_reading():
            transport.resume_reading()

    def _read(self, message: list[Frame]) -> None:
        if message[0].opcode is not Opcode.TEXT:
            self._line.hang_up(CloseCode.UNSUPPORTED_DATA, "a frame is a text message")
            return
        if len(message) > MAX_FRAGMENTS:
            self._line.hang_up(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            return
        try:
            text = b"".join([frame.data for frame in message]).decode()
        except UnicodeDecodeError:
            self._line.hang_up(CloseCode.INVALID_DATA, "a text message is UTF-8")
            return
        try:
            work = self._reader.receive(text)
        except Exception:
            logger.exception(BUG)
            self._line.hang_up(CloseCode.INTERNAL_ERROR, "")
            return
        if work is not None:
            self._hold(work)

    def _hold(self, until: "asyncio.Future[None]") -> None:
        self._held = True
        until.add_done_callback(self._go_on)

    def _go_on(self, work: "asyncio.Future[None] | None" = None) -> None:
        logs.IDS.set(self._line.log_ids)
        if work is not None and not work.cancelled() and (bug := work.exception()) is not None:
            logger.error(BUG, exc_info=bug)
            self._line.hang_up(CloseCode.INTERNAL_ERROR, "")
        self._held = False
        self.hand_over()
