"""One WebSocket connection: asyncio's transport below, the library's Sans-I/O protocol within, its reader above.

The library's own asyncio layer is left out. It trusts its peer to read what it is sent: its keepalive hangs behind its
own unread ping, its close never ends, its pongs pile up without bound. And each message passes through a queue, a
future and a task, which costs as much as all the rest of a round trip. Here a message is handed over where it comes,
and nothing waits for a peer without a deadline.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple, cast

from websockets.extensions.base import ServerExtensionFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from agentsocket.addresses import plain
from agentsocket.connection.census import Lobby
from agentsocket.connection.cutter import CLOSE, Piece
from agentsocket.connection.download import send
from agentsocket.connection.file_response import FileResponse
from agentsocket.connection.inbox import Inbox, Reader, Turns
from agentsocket.connection.limits import TokenBucket
from agentsocket.connection.pace import Pace
from agentsocket.connection.request import BadRequest, Request, RequestReader
from agentsocket.connection.writer import Batch, FrameWriter
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.settings import Settings
from agentsocket.telemetry import logs

logger = logging.getLogger("agentsocket.connection")
library_logger = logging.getLogger("websockets.server")

ANY_REQUEST = b"GET / HTTP/1.1\r\n\r\n"
"""What the library takes for the request that it waits for: the true one is read here."""

READ_SIZE = 64 * 1024
"""Bytes that are read at once."""

LAST_LOOK = 0.05
"""Seconds between the end of the time for a pong and the end of patience: where the loop stood still, the pong may be
there and unread."""

WRITE_LIMIT = 32 * 1024
"""Bytes that the transport holds for a slow peer until its writer has to wait."""

PING_RATE, PING_BURST = 10, 100
"""Pings a second that are answered, and how many may come at once: what is answered may never be read."""


class Listener(NamedTuple):
    """What the connections of one listening server share."""

    settings: Settings
    check: "Callable[[AgentConnection, Request], Response | None]"
    """Returns the answer to a request that is not to become a WebSocket."""
    new_reader: "Callable[[AgentConnection], Reader]"
    """Makes the reader of a connection that was opened."""
    connections: "set[AgentConnection]"
    """Those that are open."""
    lobby: Lobby
    turns: Turns
    extensions: Sequence[ServerExtensionFactory] | None
    batch: Batch
    ids: Iterator[int]


class AgentConnection(asyncio.Protocol):
    """One connection, its one writer, and its deadlines."""

    transport: asyncio.Transport
    writer: FrameWriter

    def __init__(self, listener: Listener) -> None:
        self.protocol = ServerProtocol(
            extensions=listener.extensions, max_size=listener.settings.max_login_size, logger=library_logger
        )
        self.request: Request | None = None
        self.address = ""
        """The peer's IP address, as ``plain`` writes it; empty where it had gone again when the socket was accepted."""
        self.client_address = ""
        """The client's IP address: the peer's, or what trusted proxies say of it."""
        self.peer_trusted = False
        """Whether the peer itself is a trusted proxy."""
        self.share = ""
        """What the client's address counts as, for what one address may have; empty where that has no limit."""
        self.log_ids = f" connection={next(listener.ids)}"
        """What stands in each log line about it."""
        self._loop = asyncio.get_running_loop()
        self.lost = self._loop.create_future()
        """Done when the connection is closed."""
        self._listener, self._settings = listener, listener.settings
        self._request_reader: RequestReader | None = RequestReader()
        self._inbox: Inbox | None = None
        self._pings = TokenBucket(PING_RATE, PING_BURST)
        self._awaits_pong = False
        self._pinged, self._written_then, self._taken_then = 0.0, 0, 0
        self._counted = False
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._downloading: asyncio.Task[None] | None = None

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Say what is left to say and close. Does not wait: a peer that does not answer is cut off in time."""
        if self.protocol.state is OPEN:
            if self._inbox is not None:
                self._inbox.clear()
            self.writer.finish()
            self.protocol.fail(code, reason)
            self._send()

    def expect(self, seconds: float, code: CloseCode, reason: str) -> None:
        """Hang up in so many seconds, unless ``keep_alive`` comes before. A pong that comes late is none of that."""
        self._awaits_pong = False
        if self.protocol.state is OPEN:
            self._wait(seconds, functools.partial(self.hang_up, code, reason))

    def take_messages(self, size: int) -> None:
        """Take messages of up to so many bytes."""
        # Its name was another one before the library's release 16.
        vars(self.protocol).update(max_message_size=size, max_size=size)

    def keep_alive(self) -> None:
        """Keep the connection, as long as its peer answers pings."""
        self._awaits_pong = False
        if self.protocol.state is not OPEN:
            return
        if self._settings.ping_interval is None:
            self._stop(self._timer)
        else:
            self._wait(self._settings.ping_interval, self._ping)

    def beat(self, heartbeat: bytes | None) -> None:
        """Say this whenever nothing else was said for a keepalive's interval: a page sees no pings, and must know.

        With none it stops.
        """
        self._stop(self._beating)
        interval = self._settings.ping_interval
        if interval is None or heartbeat is None or self.protocol.state is not OPEN:
            return
        silent = self.writer.silent
        if silent >= interval:
            self.writer.write(heartbeat)
            silent = 0.0
        self._beating = self._later(interval - silent, functools.partial(self.beat, heartbeat))

    def abort(self) -> None:
        """Close at once: nothing more is said or heard."""
        if self._inbox is not None:
            self._inbox.clear()
        self.transport.abort()

    # ---- Opening and closing -----------------------------------------------------------------------------------------

    def be_counted(self, transport: asyncio.Transport) -> bool:
        """Be counted as soon as the socket is accepted; false, and the socket is closed, where that is too many."""
        logs.IDS.set(self.log_ids)
        self._counted = True
        self._use(transport)
        self._listener.connections.add(self)
        self.address = plain(str((transport.get_extra_info("peername") or ("",))[0]))
        if self.address and self._listener.lobby.admit(self):
            return True
        transport.abort()
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a handshake."""
        transport = cast("asyncio.Transport", transport)
        if not self._counted and not self.be_counted(transport):
            return
        self._use(transport)
        transport.set_write_buffer_limits(WRITE_LIMIT)
        if hasattr(transport, "max_size"):
            # Else asyncio takes 256 KiB of fresh memory for each read, which costs more than all that a small message
            # needs; and what one read brings is parsed before anybody else has a turn.
            transport.max_size = READ_SIZE
        self._wait(self._settings.handshake_timeout, self.transport.abort)

    def eof_received(self) -> bool:
        """Close: a peer that will say nothing more is gone; unless it is to get a file, and may well read on."""
        if self._downloading is not None and not self._downloading.done() and self.transport.can_write_eof():
            return True  # not with TLS, whose transport closes in any case
        if self._request_reader is not None and self._request_reader.begun:
            self._turn_away(BadRequest(HTTPStatus.BAD_REQUEST, "Half a request is none."))
        if self._inbox is None or self._inbox.reading:
            self.protocol.receive_eof()
            self._send()
        # Else there is something left to parse. With TLS only: the transport closes by itself then.
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why is no matter
        """Let go of everybody who waits for this peer."""
        if self.lost.done():
            return  # TLS may tell it twice
        logs.IDS.set(self.log_ids)
        self._listener.connections.discard(self)
        self._listener.lobby.leave(self)
        self._stop(self._timer)
        self._stop(self._watch)
        self._stop(self._beating)
        self.writer.abandon()
        self.lost.set_result(None)
        if self._inbox is not None:
            self._inbox.end()
        else:
            self.forget()

    def forget(self) -> None:
        """Let go of what only the garbage collector could part: nothing will be parsed any more."""
        self.protocol.receive_eof()
        self.protocol.parser.close()  # its frame holds the protocol
        self._inbox = None

    def _use(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.writer = FrameWriter(self.protocol, transport, self._listener.batch)
        self._pace = Pace(self.writer, self._settings.write_deadline)

    def _take_handshake(self, reader: RequestReader, data: bytes) -> None:
        """Take the request, then what came behind it: that has to wait until the request is answered."""
        try:
            request = reader.feed(data)
        except BadRequest as exc:
            self._turn_away(exc)
            return
        if request is not None:
            self._open(request)
            if self._inbox is not None:
                self._inbox.feed(reader.early)

    def _turn_away(self, why: BadRequest) -> None:
        logger.info("no request from %s: %d, %s", self.address, why.status, why)
        self._answer(self.protocol.reject(why.status, f"{why}\n"))

    def _open(self, request: Request) -> None:
        self.request = request
        self._answer(self._listener.check(self, request) or self.protocol.accept(request.for_library()))
        if self.protocol.state is OPEN:
            self._listener.lobby.open(self)
            self._inbox = Inbox(self, self._listener.new_reader(self), self._settings.max_queue, self._listener.turns)

    def _answer(self, response: Response) -> None:
        """Answer the one request of this connection."""
        self._request_reader = None
        self.protocol.receive_data(ANY_REQUEST)
        self.protocol.events_received()
        self.protocol.send_response(response)
        if isinstance(response, FileResponse) and response.part:
            self._listener.lobby.open(self)
            self._stop(self._timer)  # from now on it is the pace that counts
            self._downloading = self._loop.create_task(self._send_file(response))
        else:
            self._send()

    async def _send_file(self, response: FileResponse) -> None:
        self.writer.control(b"".join(self.protocol.data_to_send()))
        await send(response, self.writer, self.transport.abort)
        self._close()

    def _send(self) -> None:
        """Send what the protocol itself has to say, all of it in one write."""
        said = self.protocol.data_to_send()
        self.writer.control(b"".join(said))
        if said and not said[-1]:
            self._close()

    def _close(self) -> None:
        """Send nothing more. The peer is heard to its end, but not for long: what is not read would mean a reset."""
        if self.transport.is_closing():
            return  # uvloop's would raise
        if not self.transport.can_write_eof():
            self.transport.close()
        else:
            with contextlib.suppress(OSError):  # it is gone already
                self.transport.write_eof()
        self._wait(self._settings.close_timeout, self.transport.abort)

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take data from the peer."""
        logs.IDS.set(self.log_ids)
        if self._request_reader is not None:
            self._take_handshake(self._request_reader, data)
        elif self._inbox is not None and self.protocol.state is OPEN:
            self._inbox.feed(data)

    def parse(self, piece: Piece) -> None:
        """Have a piece of a frame parsed, and take the frame when it is whole."""
        if piece.head == CLOSE:
            # A goodbye may come within a message, which the library takes for an error. Its name for what it looks at
            # was another one before its release 16.
            vars(self.protocol).update(current_size=None, cur_size=None)
        self.protocol.receive_data(piece.data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if self.protocol.state is not OPEN and self._inbox is not None:
            self._inbox.stop()

    def answer(self) -> None:
        """Send what the protocol has to say to what was parsed."""
        if self.protocol.writes:
            self._send()

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                assert self._inbox is not None  # noqa: S101  # it is the one that has frames parsed
                self._inbox.put(frame)
            case Opcode.PING:
                self._count_ping()
            case Opcode.PONG if self._awaits_pong:
                self.keep_alive()

    def _count_ping(self) -> None:
        if not self._pings.take() and not self.transport.is_closing():
            logger.info("a peer pings too often: aborted")
            self.abort()

    # ---- Deadlines ---------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        """Do this in so many seconds, in place of what was to be done before: it waits for one thing at a time."""
        self._stop(self._timer)
        self._timer = self._later(seconds, then)

    def _later(self, seconds: float, then: Callable[[], object]) -> asyncio.TimerHandle:
        """Do this in so many seconds, in this connection's name: a timer has that of whoever has set it."""
        return self._loop.call_later(seconds, self._do, then)

    def _do(self, then: Callable[[], object]) -> None:
        logs.IDS.set(self.log_ids)
        then()

    def _ping(self) -> None:
        self._awaits_pong = True
        self.protocol.send_ping(b"")
        self._send()
        self._pinged = self._loop.time()
        self._written_then, self._taken_then = self.writer.written, self.writer.taken
        self._wait(self._settings.ping_timeout, functools.partial(self._wait, LAST_LOOK, self._miss_pong))

    def _miss_pong(self) -> None:
        if self._may_have_answered():
            self.keep_alive()
        else:
            self.hang_up(CloseCode.INTERNAL_ERROR, "no answer to a ping")

    def _may_have_answered(self) -> bool:
        """Whether the pong may wait where we did not read, or the ping behind what the peer reads slowly."""
        assert self._inbox is not None  # noqa: S101  # nobody is pinged before the handshake
        deaf = not self._inbox.reading or self._inbox.reads_since > self._pinged
        # Slow is whoever has taken something since, and not all that stood before the ping.
        return deaf or self.writer.paused or self._taken_then < self.writer.taken < self._written_then

    def pause_writing(self) -> None:
        """Start to watch a peer that does not read."""
        self.writer.paused = True
        self._stop(self._watch)
        self._watch = self._later(self._pace.watch(), self._look)

    def resume_writing(self) -> None:
        """It reads again, and so it is alive: go on."""
        self.writer.paused = False
        self._stop(self._watch)
        self._pace.moved()
        if self._awaits_pong:
            self.keep_alive()
        self.writer.flush()

    def _look(self) -> None:
        seconds = self._pace.look()
        if seconds is not None:
            self._watch = self._later(seconds, self._look)
        else:
            logger.info("a peer read nothing for %.3g s: aborted (%d)", self._pace.still, CloseCode.TOO_SLOW)
            self.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
