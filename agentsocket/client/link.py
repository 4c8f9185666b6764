"""The connection to the server: how it is opened, how its death is noticed, and when to come back."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from agentsocket.client.address import proxy_for, shown
from agentsocket.client.errors import ConnectionLost, NoAnswer
from agentsocket.protocol.codec import encode
from agentsocket.protocol.frames import Heartbeat, LoginResponse

T = TypeVar("T")

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes of the longest frame taken: a server sends an answer whole."""

OPEN_WITHIN, CLOSE_WITHIN = 10.0, 3.0
"""Seconds for a connection to open, and to close."""

ANSWER_WITHIN = 20.0
"""Seconds for an answer; a server may take ten to stop a task. Then it is probed, and waited for once more."""

PROBE_WITHIN = 5.0
"""Seconds in which a server that was probed is heard of."""

PING_INTERVAL: Final = 15.0
"""Seconds between pings, so that something is heard of any server at all."""

SILENCES: Final = 2.5
"""How many intervals of silence are the end of a connection."""


class Connection(ClientConnection):
    """A connection that ends when nothing is heard of the server: not a frame, not a pong, not a byte."""

    max_message_size: int | None = None
    """Bytes of a message that the server takes, where it has told."""
    takes_files = True
    """Whether files can be uploaded, as far as the server has told."""
    can_beat = False
    """Whether the server answers a heartbeat now; pings it always does."""
    fate = ""
    """Why it ended, where that was for its silence."""
    _heard = 0.0
    _max_silence = SILENCES * PING_INTERVAL
    _watch: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.close_code is None

    def agree(self, terms: LoginResponse) -> None:
        """Keep to what the server has told at the login."""
        self.max_message_size = terms.max_message_size
        self.takes_files = terms.features is None or "files" in terms.features
        self.can_beat = "heartbeat" in (terms.features or ())
        self.watch(SILENCES * (terms.heartbeat or PING_INTERVAL))

    def watch(self, max_silence: float) -> None:
        """End when nothing is heard for so many seconds."""
        self._max_silence, self._heard = max_silence, self.loop.time()
        self._listen_on()

    async def say(self, text: bytes) -> None:
        """Send a message. One that gets nowhere is noticed by the reader, or by whoever waits for the answer."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN):
                await self.send(text, text=True)

    async def probe(self) -> None:
        """Ask for a sign of life, and end where there is none."""
        self.loop.call_later(PROBE_WITHIN, self._expect_heard_since, self.loop.time())
        if self.can_beat:
            await self.say(encode(Heartbeat()))
        else:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(PROBE_WITHIN):
                    await self.ping()

    async def end(self) -> None:
        """Close, whether or not the server takes part in it."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self.close()
        finally:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Note that the server is alive."""
        self._heard = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Listen no longer."""
        self._stop_watch()
        super().connection_lost(exc)

    def _listen_on(self) -> None:
        self._stop_watch()
        self._expect_heard_since(self.loop.time() - self._max_silence)
        if not self.fate:
            # More often than needed, to notice in time when it is this side that does not listen.
            left = self._heard + self._max_silence - self.loop.time()
            self._watch = self.loop.call_later(min(left, self._max_silence / 4), self._listen_on)

    def _expect_heard_since(self, instant: float) -> None:
        if not self.transport.is_reading():
            self._heard = self.loop.time()  # who does not listen hears nothing
        elif self._heard <= instant and self.is_open:
            self.fate = f"nothing was heard of the server for {self.loop.time() - self._heard:.3g} s"
            self.transport.abort()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()


class BareConnection(ClientConnection):
    """A connection on which nothing has been said: its transport is for another protocol than WebSocket."""

    async def handshake(self, *_: Any, **__: Any) -> None:
        """Say nothing."""

    def start_keepalive(self) -> None:
        """Send no pings."""


async def open_connection(uri: str) -> Connection:
    """Open a connection. Raises ``ConnectionLost`` where there is no server, or no way to it."""
    opened = cast("Connection", await _open(uri, Connection))
    opened.watch(SILENCES * PING_INTERVAL)
    return opened


async def open_stream(uri: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the same connection, through the same proxy and TLS, for plain HTTP. Raises as ``open_connection``."""
    transport = (await _open(uri, BareConnection)).transport
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def _open(uri: str, kind: type[ClientConnection]) -> ClientConnection:
    proxy = None
    try:
        proxy = proxy_for(uri)
        return await connect(
            uri,
            proxy=proxy,
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=OPEN_WITHIN,
            close_timeout=2,
            ping_interval=PING_INTERVAL,
            ping_timeout=None,  # the pong may stand behind megabytes; that bytes come is sign enough
            create_connection=kind,
        )
    except (OSError, ValueError, ImportError, WebSocketException) as exc:
        raise ConnectionLost(_why(exc, uri, proxy)) from exc


async def await_answer(answer: asyncio.Future[T], connection: Callable[[], Connection | None]) -> T:
    """Wait for an answer, on each of the connections that there are until it comes.

    Raises:
        NoAnswer: if the server is alive and does not answer.
    """
    probed = None
    while not (await asyncio.wait([answer], timeout=ANSWER_WITHIN))[0]:
        current = connection()
        if current is None or not current.is_open:
            continue  # it is on its way back, and if there is none, the answer is that
        if current is probed:
            raise NoAnswer("The server is there, and has not answered.")
        await current.probe()
        probed = current
    return answer.result()


def full_jitter() -> Iterator[float]:
    """Seconds to wait before each attempt to reconnect; some five minutes in all."""
    for ceiling in (1, 2, 4, 8, 16, *[30] * 18):
        yield random.uniform(0, ceiling)  # noqa: S311  # spreads the clients of a server, hides nothing


def may_reconnect(close_code: int | None) -> bool:
    """Tell whether a client comes back by itself after a connection that ended with this code."""
    return close_code in {1001, 1006, 1011, 1012, 1013} or 4000 <= (close_code or 0) < 4500  # noqa: PLR2004  # the contract


def _why(exc: Exception, uri: str, proxy: str | None) -> str:
    reason = str(exc).replace(uri, shown(uri))
    through = ""
    if proxy:
        reason = reason.replace(proxy, shown(proxy))
        through = f" through the proxy {shown(proxy)}, which the environment names (no_proxy leaves it out)"
    return f"No agent server answers at {shown(uri)}{through}: {reason}"
