"""Who may open a connection: limits, Host and Origin, and the few paths that answer plain HTTP."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from pydantic_core import to_json
from websockets.datastructures import Headers
from websockets.http11 import Response

from agentsocket import __version__
from agentsocket.addresses import address_group, is_loopback
from agentsocket.connection.connection import AgentConnection
from agentsocket.connection.file_response import FileResponse, respond
from agentsocket.connection.origins import Origins, Refusal
from agentsocket.connection.proxies import Proxies
from agentsocket.connection.request import Request
from agentsocket.console.files import Console
from agentsocket.files.store import StoredFile
from agentsocket.session.manager import SessionManager
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.handshake")

DESCRIPTION: Final = Path(__file__).parents[1] / "protocol" / "asyncapi.json"

METHODS: Final = "GET, HEAD, OPTIONS"

SHUTTING_DOWN: Final = Refusal("shutting_down", "The server is shutting down.")
CROWDED: Final = Refusal("connections", "The server has as many connections as it may.", "--max-connections")
CROWDED_ADDRESS: Final = Refusal(
    "connections_per_address",
    "There are too many connections from this address.",
    "--max-connections-per-address",
)

MAX_QUERY: Final = 1024

CROWD_LOG_PAUSE: Final = 10.0
"""Seconds between two log lines about one limit: who runs into it, runs into it often."""


class Gatekeeper:
    """Looks at each request, and lets it pass or answers it."""

    def __init__(self, settings: Settings, manager: SessionManager, ambient: Sequence[str]) -> None:
        """Check by these settings; ``ambient`` headers may speak for a person without that person's doing."""
        self.open = 0
        """Connections that were let pass and are still open."""
        self._downloads = 0
        self._settings, self._manager, self._ambient = settings, manager, ambient
        self._by_address: Counter[str] = Counter()
        self._proxies = Proxies(settings.trusted_proxies)
        self._origins = Origins(settings.allowed_hosts, settings.allowed_origins)
        self._console = Console() if settings.console else None
        self._description = DESCRIPTION.read_text()
        self._started = time.monotonic()
        self._logged: dict[Refusal, float] = {}

    def check(self, connection: AgentConnection, request: Request) -> Response | None:
        """Return what to answer instead of an upgrade; nothing where the connection may become a WebSocket."""
        if not request.upgrades:
            return self._answer_http(connection, request)
        if request.path != self._settings.base_path and self._below_base(request) is None:
            return connection.protocol.reject(HTTPStatus.NOT_FOUND, "There is nothing here.\n")
        if request.has_body:
            return connection.protocol.reject(HTTPStatus.BAD_REQUEST, "A handshake has no body.\n")
        if request.version == "1.0":
            text = "A WebSocket is opened with HTTP/1.1; does a proxy stand in between that speaks 1.0?\n"
            return connection.protocol.reject(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, text)
        address = self._proxies.client_of(connection.address, request.headers)
        origins = request.headers.get_all("Origin")
        refusal = self._refuse(connection, request, address, origins)
        if refusal is None:
            self._let_pass(connection, address)
            return None
        self._log(refusal, request, address, origins)
        return _refused(connection, refusal)

    def _answer_http(self, connection: AgentConnection, request: Request) -> Response:
        if request.method not in METHODS.split(", "):
            response = connection.protocol.reject(HTTPStatus.METHOD_NOT_ALLOWED, "This method is not served.\n")
            response.headers["Allow"] = METHODS
            return response
        if request.method == "OPTIONS":
            headers = Headers({"Date": formatdate(usegmt=True), "Connection": "close", "Allow": METHODS})
            return Response(HTTPStatus.NO_CONTENT, "No Content", headers, b"")
        if "Sec-WebSocket-Key" in request.headers:
            logger.info("a handshake without its Upgrade and Connection: a proxy in between has to pass them on")
        response = self._answer_get(connection, request)
        if request.method == "HEAD":
            response.body = b""
            if isinstance(response, FileResponse):
                response.part = range(0)
        return response

    def _answer_get(self, connection: AgentConnection, request: Request) -> Response:
        path = self._below_base(request)
        if "/healthz" in {path, request.path}:
            return self._health(connection)
        if path == "/asyncapi.json":
            return _json(connection, HTTPStatus.OK, self._description)
        if path == "/refusal":
            return self._tell_refusal(connection, request)
        if path is None and request.path == self._settings.base_path:
            return self._redirect(connection, request)
        if path is not None and (file := self._manager.files.find(path)) is not None:
            return self._give(connection, request, file)
        page = self._console.respond(path) if self._console is not None and path is not None else None
        return page or connection.protocol.reject(HTTPStatus.NOT_FOUND, "There is nothing here.\n")

    def _give(self, connection: AgentConnection, request: Request, file: StoredFile) -> Response:
        """Answer with a file, unless as many are on their way as there may be connections."""
        if self._downloads >= self._settings.max_connections:
            return _refused(connection, CROWDED)
        self._downloads += 1

        def release(_: object) -> None:
            self._downloads -= 1

        connection.lost.add_done_callback(release)
        return respond(file, request)

    def _below_base(self, request: Request) -> str | None:
        """Return the path as it is without ``base_path``; none where it does not lead there."""
        base = self._settings.base_path
        return request.path.removeprefix(base) if request.path.startswith(f"{base}/") else None

    def _redirect(self, connection: AgentConnection, request: Request) -> Response:
        """Send a browser to the folder: what the page names, it names beside itself."""
        response = connection.protocol.reject(HTTPStatus.PERMANENT_REDIRECT, "It is a folder.\n")
        query = f"?{request.query}" if request.query else ""
        response.headers["Location"] = f"{request.path.rpartition('/')[2]}/{query}"
        return response

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

    def _tell_refusal(self, connection: AgentConnection, request: Request) -> Response:
        """Tell a page what a handshake of its own would hear now: a browser keeps that to itself."""
        address = self._proxies.client_of(connection.address, request.headers)
        origins = parse_qs(request.query[:MAX_QUERY]).get("origin") or request.headers.get_all("Origin")
        refusal = self._refuse(connection, request, address, origins)
        told: dict[str, Any] = {"allowed": refusal is None}
        if refusal is not None:
            told |= {"code": refusal.code, "message": refusal.message}
            if refusal.setting is not None:
                told["setting"] = refusal.setting
        return _json(connection, HTTPStatus.OK, f"{to_json(told).decode()}\n")

    def _refuse(
        self, connection: AgentConnection, request: Request, address: str, origins: Sequence[str]
    ) -> Refusal | None:
        tls = self._settings.tls_cert is not None or self._proxies.is_secure(connection.address, request.headers)
        ambient = any(self._speaks(request, name) for name in self._ambient)
        refusal = self._origins.refuse(origins, request.host, address, secure=tls, ambient=ambient)
        return refusal or self._refuse_crowd(address)

    @staticmethod
    def _speaks(request: Request, name: str) -> bool:
        """Whether a header speaks for a person: a bearer's token does not, which no browser adds by itself."""
        values = request.headers.get_all(name)
        return any(not (name == "authorization" and value.lower().startswith("bearer ")) for value in values)

    def _refuse_crowd(self, address: str) -> Refusal | None:
        limit = self._settings.max_connections_per_address
        if self._manager.shutting_down:
            return SHUTTING_DOWN
        if self.open >= self._settings.max_connections:
            return CROWDED
        if limit is not None and self._by_address[address] >= limit and not is_loopback(address):
            return CROWDED_ADDRESS
        return None

    def _log(self, refusal: Refusal, request: Request, address: str, origins: Sequence[str]) -> None:
        if refusal.status is HTTPStatus.FORBIDDEN:
            template = "refused a page of origin %.200r, which asked for host %.200r: see %s"
            logger.warning(template, list(origins), request.host, refusal.setting)
        elif refusal.setting and time.monotonic() - self._logged.get(refusal, -CROWD_LOG_PAUSE) >= CROWD_LOG_PAUSE:
            self._logged[refusal] = time.monotonic()
            logger.warning("refused a connection from %s: %s See %s", address, refusal.message, refusal.setting)

    def _let_pass(self, connection: AgentConnection, address: str) -> None:
        connection.client_address = address
        connection.peer_trusted = self._proxies.trust(connection.address)
        connection.share = "" if is_loopback(address) else address_group(address)
        self.open += 1
        self._by_address[address] += 1

        def release(_: object) -> None:
            self.open -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

        connection.lost.add_done_callback(release)


def _refused(connection: AgentConnection, refusal: Refusal) -> Response:
    hint = f" See {refusal.setting}." if refusal.setting else ""
    response = connection.protocol.reject(refusal.status, f"{refusal.message}{hint}\n")
    if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    return response


def _json(connection: AgentConnection, status: HTTPStatus, text: str) -> Response:
    response = connection.protocol.reject(status, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = "no-store"
    return response
