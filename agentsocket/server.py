"""The listening server: its sockets, its connections, and how it shuts down."""

import asyncio
import functools
import itertools
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from websockets.extensions.base import ServerExtensionFactory

from agentsocket.agent.contract import AgentFactory
from agentsocket.connection.census import Lobby
from agentsocket.connection.connection import AgentConnection, Listener
from agentsocket.connection.handler import ConnectionHandler
from agentsocket.connection.handshake import Gatekeeper
from agentsocket.connection.inbox import Turns
from agentsocket.connection.tls import RECORD, Tls, TlsProtocol
from agentsocket.connection.writer import Batch
from agentsocket.identity.hook import Hook
from agentsocket.identity.method import authenticator_for
from agentsocket.identity.reception import Reception
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.session.manager import SessionManager
from agentsocket.settings import Settings, SettingsError
from agentsocket.sockets import listen

logger = logging.getLogger("agentsocket.server")

AT_ONCE, BACKLOG = 16, 1024
"""Sockets that are accepted in one iteration of the loop, and that may wait for it; asyncio has one number for both."""

SHUTDOWN = 1.4
"""Seconds that a shutdown takes at most beyond its grace."""


class AgentServer:
    """Listens, and serves each of these agents by its name. ``async with`` starts it and shuts it down.

    ``authenticate`` decides about logins, where the settings name no other method: see docs/identity.md.

    Raises:
        SettingsError: if the TLS files are none, or logins cannot be proved as they are to be.
    """

    def __init__(
        self, settings: Settings, agents: Mapping[str, AgentFactory], authenticate: Hook | None = None
    ) -> None:
        self.manager = SessionManager(settings, agents)
        reception = Reception(authenticator_for(settings, authenticate), settings.max_failed_logins)
        self.connections: set[AgentConnection] = set()
        self._settings = settings
        self._gatekeeper = Gatekeeper(settings, self.manager, reception.authenticator.ambient)
        self._listener = Listener(
            settings,
            check=self._gatekeeper.check,
            new_reader=functools.partial(ConnectionHandler, manager=self.manager, reception=reception),
            connections=self.connections,
            lobby=Lobby(settings),
            turns=Turns(),
            extensions=_extensions(settings),
            batch=Batch(),
            ids=itertools.count(1),
        )
        self._servers: list[asyncio.Server] = []
        self._tls = _tls(settings)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: if the address cannot be listened on, or files cannot be written.
            StoreError: if conversations cannot be kept.
        """
        settings = self._settings
        await self.manager.prepare()
        for listening in listen(settings.host, settings.port):
            # Small, so that a slow reader is seen to be slow before megabytes are on their way to it.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)
            loop = asyncio.get_running_loop()
            self._servers.append(await loop.create_server(self._accept, sock=listening, backlog=AT_ONCE))
            with listening.dup() as same:
                same.listen(BACKLOG)

    def _accept(self) -> asyncio.BaseProtocol:
        connection = AgentConnection(self._listener)
        return connection if self._tls is None else TlsProtocol(connection, self._tls)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses that it listens at, each with its port; empty before the start."""
        names = [listening.getsockname() for server in self._servers for listening in server.sockets]
        return [(str(name[0]), int(name[1])) for name in names]

    @property
    def port(self) -> int:
        """The port that it listens on, the same at each of its addresses."""
        return self.addresses[0][1]

    def reload_certificate(self) -> None:
        """Read the TLS files anew, for the connections to come; where they hold no certificate, the old one stays."""
        if self._tls is None:
            return
        try:
            self._tls = _tls(self._settings)
        except SettingsError as exc:
            logger.error("the certificate stays as it was: %s", exc)  # noqa: TRY400  # it says it all
        else:
            logger.info("the certificate was read anew")

    async def shut_down(self) -> None:
        """Let the running tasks end within the grace, stop the rest, say goodbye to every client, close the agents."""
        deadline = asyncio.get_running_loop().time() + self._settings.shutdown_grace + SHUTDOWN
        # Until here a health check still hears "503", and a client that it is refused.
        await self.manager.drain(self._settings.shutdown_grace)
        self._stop_listening()
        for connection in list(self.connections):
            connection.hang_up(CloseCode.GOING_AWAY, "the server is shutting down")
        left = min(self._settings.close_timeout, deadline - asyncio.get_running_loop().time())
        closing = asyncio.create_task(self.manager.close())
        gone = [connection.lost for connection in self.connections]
        await asyncio.wait([closing, *gone], timeout=left)
        self.abort()
        await self.manager.close_store()

    def abort(self) -> None:
        """Close whatever is still open, at once."""
        self._stop_listening()
        for connection in list(self.connections):
            connection.transport.abort()
        self.manager.release()

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.shut_down()


def _extensions(settings: Settings) -> Sequence[ServerExtensionFactory] | None:
    if not settings.compression:
        return None
    from websockets.extensions.permessage_deflate import enable_server_permessage_deflate  # noqa: PLC0415  # seldom

    return enable_server_permessage_deflate(None)


def _tls(settings: Settings) -> Tls | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as exc:
        raise SettingsError(f"--tls-cert and --tls-key: no certificate and its key ({exc.strerror or exc})") from exc
    return Tls(context, settings.handshake_timeout, settings.close_timeout, memoryview(bytearray(RECORD)))
