"""What a peer has said and its reader has not taken yet: handed over in order, and so that others have their turn."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from websockets.frames import Frame, Opcode

from agentsocket.connection.cutter import WHOLE, Cutter, Piece
from agentsocket.connection.limits import TokenBucket
from agentsocket.connection.writer import FrameWriter
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.telemetry import logs

logger = logging.getLogger("agentsocket.inbox")

MAX_FRAGMENTS = 1024
"""Frames of one message: an empty one adds nothing to its size, and yet takes memory."""

EXTRA_RATE, EXTRA_BURST = 200, 2 * MAX_FRAGMENTS
"""Frames a second that are no whole message (fragments, pings, pongs), and how many may come at once."""

FAIR_SHARE = 24
"""Steps of one connection after which it is the others' turn: all that one read brings is there at once."""

FAIR_SIZE = 16 * 1024
"""Bytes after which it is the others' turn as well: a step may be a large message."""

TURNS = 4
"""Shares that are taken of one iteration of the loop by those that have had one already, however many they are."""

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

    def parse(self, piece: Piece) -> None:
        """Take a piece of what came; what it makes of a message is ``put`` into the inbox."""

    def answer(self) -> None:
        """Send what the protocol has to say to what was parsed."""

    def forget(self) -> None:
        """Let go of the inbox: its reader has been told that this is the end."""


class Turns:
    """Who waits for another share, in order: so many of one iteration are for them, and what is left is for others."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, turn: Callable[[], None]) -> None:
        """Have this called when its turn comes."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._come)
        self._waiting.append(turn)

    def _come(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(TURNS, len(self._waiting))):
            loop.call_soon(self._waiting.popleft())
        if self._waiting:
            loop.call_soon(self._come)


class Inbox:
    """What came over one connection, on its way to its reader.

    Nothing is parsed before it is counted, nor as long as more messages wait than may. Meanwhile nothing is read.
    """

    def __init__(self, line: Line, reader: Reader, max_queue: int, turns: Turns) -> None:
        self._line, self._reader, self._max_queue, self._turns = line, reader, max_queue, turns
        self._cutter = Cutter()
        self._extras = TokenBucket(EXTRA_RATE, EXTRA_BURST)
        self._fragments: list[Frame] = []
        self._messages: deque[list[Frame]] = deque()
        self._held = False
        self._due = False
        """Whether it has had its share, and waits for its next turn."""
        self._ended = False
        self.reading = True
        """Whether what the peer says is read."""
        self.reads_since = 0.0
        """When that began, on the loop's clock."""

    def feed(self, data: bytes) -> None:
        """Take what came from the peer."""
        self._cutter.feed(data)
        if not self._due:
            self._take_turn()

    def put(self, frame: Frame) -> None:
        """Add a frame that is a message, or a fragment of one."""
        self._fragments.append(frame)
        if frame.fin or len(self._fragments) > MAX_FRAGMENTS:
            self._messages.append(self._fragments)
            self._fragments = []

    def clear(self) -> None:
        """Drop everything."""
        self._cutter.clear()
        self._fragments = []
        self._messages.clear()
        self._control_flow()

    def stop(self) -> None:
        """Hear nothing more after a goodbye or an error. The reader still gets what is there, and is told then."""
        self._cutter.clear()
        self._ended = True

    def end(self) -> None:
        """Nothing will come any more; the reader still gets what is there, and is told then."""
        if not self._ended:
            self._ended = True
            if not self._due:
                self._take_turn()

    def _take_turn(self) -> None:
        """Take steps, while there is something to do and it is not the others' turn."""
        self._due = self._take_share()
        if self._due:
            self._turns.wait(self._go_on)
        self._line.answer()
        self._control_flow()
        if self._ended and not self._due and not self._held:
            self._reader.end()
            self._line.forget()

    def _take_share(self) -> bool:
        """Return whether there may be more to do."""
        left = FAIR_SIZE
        for _ in range(FAIR_SHARE):
            size = self._take_step()
            if size is None:
                return False
            left -= size
            if left < 0:
                break
        return True

    def _take_step(self) -> int | None:
        """Hand over a message, or else have a frame parsed; return its bytes, none where neither can be done."""
        if self._messages and not self._held:
            if self._line.writer.lag > MAX_UNREAD:
                self._hold(self._line.writer.drained())
                return 0
            self._line.answer()  # to what came before it
            return self._read(self._messages.popleft())
        if len(self._messages) > self._max_queue:
            return None
        piece = self._cutter.cut()
        if piece is None:
            return None
        # Whole messages have a rate of their own, and the rest of a frame was counted with its beginning.
        if piece.head is None or piece.head in WHOLE or self._extras.take():
            self._line.parse(piece)
        else:
            self._line.hang_up(CloseCode.RATE_LIMITED, "too many frames")
        return len(piece.data)

    def _control_flow(self) -> None:
        transport = self._line.transport
        reading = not self._due and len(self._messages) <= self._max_queue
        if reading is self.reading or transport.is_closing():
            return  # uvloop's would raise where it is closing
        self.reading = reading
        if reading:
            self.reads_since = asyncio.get_running_loop().time()
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _read(self, message: list[Frame]) -> int:
        data = message[0].data if len(message) == 1 else b"".join([frame.data for frame in message])
        if message[0].opcode is not Opcode.TEXT:
            self._line.hang_up(CloseCode.UNSUPPORTED_DATA, "a frame is a text message")
        elif len(message) > MAX_FRAGMENTS:
            self._line.hang_up(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        else:
            self._hand_over(data)
        return len(data)

    def _hand_over(self, data: bytes | bytearray | memoryview) -> None:
        try:
            text = str(data, "utf-8")
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
        until.add_done_callback(self._release)

    def _release(self, work: "asyncio.Future[None]") -> None:
        self._held = False
        if not work.cancelled() and (bug := work.exception()) is not None:
            logs.IDS.set(self._line.log_ids)
            logger.error(BUG, exc_info=bug)
            self._line.hang_up(CloseCode.INTERNAL_ERROR, "")
        if not self._due:
            self._go_on()

    def _go_on(self) -> None:
        logs.IDS.set(self._line.log_ids)
        self._take_turn()
