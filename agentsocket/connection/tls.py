"""TLS between the socket and the connection, on every event loop alike, and counted before its handshake."""

import asyncio
import contextlib
import ssl
from asyncio.sslproto import SSLProtocol
from typing import NamedTuple, cast

from agentsocket.connection.connection import AgentConnection

RECORD = 16 * 1024
"""Bytes of the largest TLS record, and so as much as is read at once."""

WRITE_LIMIT = 16 * 1024
"""Bytes of records that the socket's transport holds until more are kept back. Less than the connection's own limit:
then whatever fills that is noticed again when the socket goes on."""


class Tls(NamedTuple):
    """What the TLS of all connections of one server shares."""

    context: ssl.SSLContext
    handshake_timeout: float
    close_timeout: float
    buffer: memoryview
    """What a socket is read into. One for all: what is read is copied on before anybody else reads."""


class TlsProtocol(SSLProtocol):
    """asyncio's TLS, which lacks three things.

    It takes a read buffer of 256 KiB for each connection; it counts what it has handed to the socket's transport as
    sent, however long that lies there, so that a peer that reads nothing goes unseen; and its connection is unknown
    until the handshake is done, which may be never.
    """

    max_size = RECORD

    def __init__(self, connection: AgentConnection, tls: Tls) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            tls.context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=tls.handshake_timeout,  # type: ignore[arg-type]  # typeshed knows of whole seconds
            ssl_shutdown_timeout=tls.close_timeout,
        )
        self._connection: AgentConnection | None = connection
        self._over = False
        self._ssl_buffer = bytearray()
        self._ssl_buffer_view = tls.buffer
        self._app_transport.set_read_buffer_limits(RECORD)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, where there is room for one more."""
        assert self._connection is not None  # noqa: S101  # it is let go of when the socket is lost
        transport = cast("asyncio.Transport", transport)
        if self._connection.be_counted(transport):
            transport.set_write_buffer_limits(WRITE_LIMIT)
            super().connection_made(transport)

    def _do_handshake(self) -> None:
        """Begin with the client's first byte, as it is its turn: OpenSSL takes its buffers when it is called."""
        if self._incoming.pending:  # type: ignore[attr-defined]  # typeshed does not know it
            super()._do_handshake()  # type: ignore[misc]

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the connection, also where it has never come to be one."""
        connection, self._connection = self._connection, None
        super().connection_lost(exc)
        if connection is not None:
            self._loop.call_soon(connection.connection_lost, None)

    def get_buffer(self, n: int) -> memoryview:  # noqa: ARG002  # what would be best matters little
        """Return what the socket may be read into."""
        return self._ssl_buffer_view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read; after the goodbyes nothing."""
        if not self._over:
            super().buffer_updated(nbytes)

    def _on_shutdown_complete(self, shutdown_exc: Exception | None) -> None:
        """Close the socket; of a client that speaks on, hear the rest first, since a reset would cost it our goodbye.

        The time-out of the shutdown goes on.
        """
        if shutdown_exc is None:
            super()._on_shutdown_complete(None)  # type: ignore[misc]  # typeshed does not know it
        elif self._transport is not None and not self._transport.is_closing() and not self._over:
            self._over = True
            self._process_outgoing()  # type: ignore[attr-defined]  # our own goodbye, which typeshed does not know
            with contextlib.suppress(OSError):  # it is gone already
                cast("asyncio.Transport", self._transport).write_eof()

    def _write_appdata(self, list_of_data: list[bytes]) -> None:
        """Write, unless the socket is lost: asyncio would log each such write."""
        if self._transport is not None and not self._transport.is_closing():
            super()._write_appdata(list_of_data)

    def _get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent, here and in the socket's transport: by this asyncio pauses a writer."""
        size: int = super()._get_write_buffer_size()  # type: ignore[misc]  # typeshed does not know it
        socket = cast("asyncio.Transport | None", self._transport)
        return size if socket is None else size + socket.get_write_buffer_size()
