"""Who may open a connection: limits, Host and Origin, and the few paths that answer plain HTTP."""

import ipaddress
import logging
import socket
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic_core import to_json
from websockets.http11 import Request, Response

from agentsocket import __version__
from agentsocket.connection.connection import AgentConnection
from agentsocket.console.files import Console
from agentsocket.identity.reception import address_group
from agentsocket.session.manager import SessionManager
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.handshake")

DEFAULT_PORTS = {"http": 80, "https": 443}
DESCRIPTION: Final = Path(__file__).parents[1] / "protocol" / "asyncapi.json"


class Gatekeeper:
    """Looks at each opening handshake, and lets it pass or answers it."""

    def __init__(self, settings: Settings, manager: SessionManager) -> None:
        self.open = 0
        """Connections that were let pass and are still open."""
        self._settings, self._manager = settings, manager
        self._by_address: Counter[str] = Counter()
        self._proxies = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        names = {"localhost", socket.gethostname(), *settings.allowed_hosts}
        self._own_names = {name.lower() for name in names}
        self._console = Console() if settings.console else None
        self._description = DESCRIPTION.read_text()
        self._started = time.monotonic()

    def check(self, connection: AgentConnection, request: Request) -> Response | None:
        """Return what to answer instead of an upgrade; nothing where the connection may become a WebSocket."""
        if request.method != "GET":
            return None  # the library's answer is right: 405
        if "Upgrade" not in request.headers:
            return self._answer_http(connection, request)
        address = self._address_of(connection, request)
        refusal = self._refuse_origin(connection, request, address) or self._refuse_crowd(connection, address)
        if refusal is None:
            self._let_pass(connection, address)
        return refusal

    def _answer_http(self, connection: AgentConnection, request: Request) -> Response:
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return self._health(connection)
        if path == "/asyncapi.json":
            return _json(connection, HTTPStatus.OK, self._description)
        page = self._console.respond(path) if self._console is not None else None
        return page or connection.protocol.reject(HTTPStatus.NOT_FOUND, "There is nothing here.\n")

    def _health(self, connection: AgentConnection) -> Response:
        down = self._manager.shutting_down
        state = {
            "status": "shutting_down" if down else "ok",
            "version": __version__,
            "uptime": round(time.monotonic() - self._started, 3),
            "connections": self.open,
            "sessions": len(self._manager.sessions),
            "tasks": len(self._manager.running),
        }
        status = HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK
        return _json(connection, status, f"{to_json(state).decode()}\n")

    def _refuse_origin(self, connection: AgentConnection, request: Request, address: str) -> Response | None:
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1:
            return connection.protocol.reject(HTTPStatus.BAD_REQUEST, "A request has one Host.\n")
        if not origins or (len(origins) == 1 and self._may_use(origins[0], hosts[0], address)):
            return None
        logger.warning("refused a page of origin %.200r, which asked for host %.200r", origins, hosts[0])
        return connection.protocol.reject(HTTPStatus.FORBIDDEN, "This origin may not use this server.\n")

    def _may_use(self, origin: str, host: str, address: str) -> bool:
        """Whether a page of this origin may: a browser lets any page open a WebSocket to any host."""
        if origin in self._settings.allowed_origins:
            return self._is_own(host)
        scheme, host_name, port = _split_origin(origin)
        if not self._is_own(host) or host_name is None:
            return False
        _, own_name, own_port = _split_origin(f"{scheme}://{host}")
        if (host_name, port) == (own_name, own_port):
            return True
        return _is_loopback(host_name) and _is_loopback(address)

    def _is_own(self, host: str) -> bool:
        """Whether this is a name of this server, and not a foreign one that was pointed at its address."""
        _, name, _ = _split_origin(f"http://{host}")
        return name is not None and (name in self._own_names or _is_address(name))

    def _refuse_crowd(self, connection: AgentConnection, address: str) -> Response | None:
        limit = self._settings.max_connections_per_address
        if self._manager.shutting_down:
            text = "The server is shutting down.\n"
        elif self.open >= self._settings.max_connections:
            text = "The server has as many connections as it may.\n"
        elif limit is not None and self._by_address[address] >= limit and not _is_loopback(address):
            text = "There are too many connections from this address.\n"
        else:
            return None
        response = connection.protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, text)
        response.headers["Retry-After"] = "5"
        return response

    def _let_pass(self, connection: AgentConnection, address: str) -> None:
        connection.client_address = address
        connection.peer_trusted = bool(self._proxies) and self._is_trusted(connection.address)
        connection.share = "" if _is_loopback(address) else address_group(address)
        self.open += 1
        self._by_address[address] += 1

        def release(_: object) -> None:
            self.open -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

        connection.lost.add_done_callback(release)

    def _address_of(self, connection: AgentConnection, request: Request) -> str:
        """Return the client's address: that of the peer, or what trusted proxies say of it."""
        address = connection.address
        if not self._proxies:
            return address
        forwarded = ",".join(request.headers.get_all("X-Forwarded-For")).split(",")
        while forwarded and self._is_trusted(address) and _is_address(forwarded[-1].strip()):
            address = forwarded.pop().strip()
        return address

    def _is_trusted(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in self._proxies)


def _json(connection: AgentConnection, status: HTTPStatus, text: str) -> Response:
    response = connection.protocol.reject(status, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = "no-store"
    return response


def _split_origin(origin: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(origin)
        return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", None, None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
