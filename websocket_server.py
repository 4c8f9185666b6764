"""Serve an AI agent over WebSocket: ``python websocket_server.py``. ``--help`` tells what can be set.

Here everything is put together: the connection handler, the start, and the end.
"""

import gc

gc.disable()  # nothing that is imported is garbage, and to look for some takes a tenth of the start

import asyncio
import functools
import itertools
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve

import logs
from agent_contract import AgentFactory
from agent_loader import AgentNotLoadable, load_agents
from banner import banner
from connection import AgentConnection, CloseCode
from connection_handler import ConnectionHandler
from handshake import Gatekeeper
from session import SessionManager
from settings import Settings, SettingsError, load_settings
from watchdog import Watchdog
from writer import Batch

gc.freeze()
gc.enable()

logger = logging.getLogger("server")

SHUTDOWN = 1.8
"""Seconds that a shutdown takes at most beyond its grace."""

THREADS = "agent-thread"
"""How the names of the threads that run synchronous agents begin."""

GC_THRESHOLDS = (20_000, 5, 5)
"""For ``gc.set_threshold``: a session is some hundred objects, so the default of 700 looks after every few of them."""

RESERVED_DESCRIPTORS = 64
"""Open files that are not connections: the listener, logs, what agents open."""


class AgentServer:
    """Listens, and serves each of these agents by its name. ``async with`` starts it and shuts it down.

    Raises:
        SettingsError: if the TLS files are none.
    """

    def __init__(self, settings: Settings, agents: Mapping[str, AgentFactory]) -> None:
        self.manager = SessionManager(settings, agents)
        self._settings = settings
        self._gatekeeper = Gatekeeper(settings, self.manager)
        self._sockets: set[AgentConnection] = set()
        self._server: Server | None = None
        self._tls = _tls(settings)
        self._ids = itertools.count(1)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: if the address cannot be listened on.
        """
        settings = self._settings
        self._server = await serve(
            self._handle,
            settings.host,
            settings.port,
            process_request=self._gatekeeper.check,  # type: ignore[arg-type]  # its connections are all ours
            # A factory does as well as the class that the library asks for.
            create_connection=functools.partial(  # type: ignore[arg-type]
                AgentConnection, batch=Batch(), sockets=self._sockets, write_deadline=settings.write_deadline
            ),
            ssl=self._tls,
            server_header=None,
            compression="deflate" if settings.compression else None,
            open_timeout=settings.handshake_timeout,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            close_timeout=settings.close_timeout,
            max_size=settings.max_login_size,
            max_queue=settings.max_queue,
            backlog=1024,
        )
        for listener in self._server.sockets:
            # Small, so that a slow reader is seen to be slow before megabytes are on their way to it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None  # noqa: S101  # asked for before the start: a bug of the caller's
        return int(self._server.sockets[0].getsockname()[1])

    async def shut_down(self) -> None:
        """Let the running tasks end within the grace, stop the rest, say goodbye to every client, close the agents."""
        assert self._server is not None  # noqa: S101
        deadline = asyncio.get_running_loop().time() + self._settings.shutdown_grace + SHUTDOWN
        # Until here a health check still hears "503", and a client that it is refused.
        await self.manager.drain(self._settings.shutdown_grace)
        self._server.close(close_connections=False)
        for connection in list(self._sockets):
            connection.hang_up(CloseCode.GOING_AWAY, "the server is shutting down")
        left = min(self._settings.close_timeout, deadline - asyncio.get_running_loop().time())
        closing = asyncio.create_task(self.manager.close())
        gone = [connection.connection_lost_waiter for connection in self._sockets]
        await asyncio.wait([closing, *gone], timeout=left)
        self.abort()

    def abort(self) -> None:
        """Close whatever is still open, at once."""
        if self._server is not None:
            self._server.close(close_connections=False)
        for connection in list(self._sockets):
            connection.transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.shut_down()

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, AgentConnection)  # noqa: S101  # see create_connection
        logs.IDS.set(f" connection={next(self._ids)}")
        await ConnectionHandler(connection, self.manager).run()


def main() -> int:
    """Run the server until it is told to stop.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 if the address cannot be listened on, 2 if a setting is wrong or the
        agent cannot be loaded.
    """
    _read_env_file(Path.cwd() / ".env")
    try:
        settings = load_settings(sys.argv[1:], os.environ)
        logs.configure(settings.log_level)
        settings = _fit_to_descriptors(settings)
        server = AgentServer(settings, load_agents(settings.agent))
    except (SettingsError, AgentNotLoadable) as exc:
        print(f"websocket_server.py: {exc}", file=sys.stderr)
        return 2
    return asyncio.run(_run(settings, server))


async def _run(settings: Settings, server: AgentServer) -> int:
    threads = ThreadPoolExecutor(settings.max_threads, THREADS)
    asyncio.get_running_loop().set_default_executor(threads)
    asyncio.get_running_loop().set_exception_handler(logs.LoopErrors())
    told = asyncio.Event()
    _on_signal(told.set)
    try:
        await server.start()
    except OSError as exc:
        where = f"{settings.host}:{settings.port}"
        print(f"websocket_server.py: cannot listen on {where}: {exc.strerror or exc}", file=sys.stderr)
        return 1
    print(banner(settings, server.port), flush=True)
    # What is there now stays: the collector need not look at it again each time that sessions come and go.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with Watchdog(settings.block_warning):
        await told.wait()
        await _shut_down(server)
    threads.shutdown(wait=False, cancel_futures=True)
    _leave_behind(server)
    return 0


async def _shut_down(server: AgentServer) -> None:
    """Shut down; a second signal skips what that waits for."""
    logger.info("shutting down")
    shutdown = asyncio.create_task(server.shut_down())
    _on_signal(shutdown.cancel)
    await asyncio.wait([shutdown])
    if shutdown.cancelled():
        server.abort()
    else:
        shutdown.result()


def _on_signal(callback: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, callback)


def _leave_behind(server: AgentServer) -> None:
    """End the process now if an agent resists: neither a thread nor a coroutine that does not want to can be ended."""
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(0.05)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
    if threads or server.manager.running:
        logger.warning(
            "%d tasks and %d threads of agents still run: ending without them",
            len(server.manager.running),
            len(threads),
        )
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _read_env_file(path: Path) -> None:
    if path.is_file():
        from dotenv import load_dotenv  # noqa: PLC0415  # most starts have no such file, and are the quicker for it

        load_dotenv(path)


def _fit_to_descriptors(settings: Settings) -> Settings:
    """Raise the limit of open files, and stay below it: a server that has none left cannot even say so."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - RESERVED_DESCRIPTORS
    if 0 < room < settings.max_connections:
        logger.warning("only %d files may be open: %d connections at most", hard, room)
        return settings.model_copy(update={"max_connections": room})
    return settings


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as exc:
        raise SettingsError(f"--tls-cert and --tls-key: no certificate and its key ({exc.strerror or exc})") from exc
    return context


if __name__ == "__main__":
    sys.exit(main())
