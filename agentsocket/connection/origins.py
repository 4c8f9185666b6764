"""Which web pages may open a connection: a browser lets any page open a WebSocket to any host."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from agentsocket.addresses import is_address, is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a handshake is refused."""

    code: str
    message: str
    """A sentence for a person."""
    setting: str | None = None
    """The flag that decides it."""
    status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE


FOREIGN_HOST = Refusal(
    "host",
    "Pages may not call this server by this name: it is not among its allowed hosts.",
    "--allowed-hosts",
    HTTPStatus.FORBIDDEN,
)
FOREIGN_ORIGIN = Refusal(
    "origin",
    "A page of this origin may not use this server: it is neither the server's own nor among its allowed origins.",
    "--allowed-origins",
    HTTPStatus.FORBIDDEN,
)


class Origins:
    """The names that the server goes by, and the origins of the pages that may use it."""

    def __init__(self, allowed_hosts: Iterable[str], allowed_origins: Iterable[str]) -> None:
        self._names = {name.lower() for name in ("localhost", socket.gethostname(), *allowed_hosts)}
        self._allowed = {_split(origin) or origin for origin in allowed_origins}

    def refuse(
        self, origins: Sequence[str], host: str, address: str, *, secure: bool | None, ambient: bool = False
    ) -> Refusal | None:
        """Return why a page may not, of its ``Origin``, the ``Host`` that it asked for, and the client's address.

        ``secure`` tells whether the client speaks TLS, as far as that is known. What is no page names no origin.
        ``ambient`` says that the request speaks for a person without that person's doing: then it has to be the very
        same origin or a listed one, and nothing goes without.
        """
        if not origins:
            return FOREIGN_ORIGIN if ambient else None
        own = _split(f"http://{host}")
        if own is None or not (own[1] in self._names or is_address(own[1])):
            return FOREIGN_HOST  # or a foreign name that was pointed at the server's address
        if len(origins) == 1 and self._may(origins[0], host, address, secure=secure, ambient=ambient):
            return None
        return FOREIGN_ORIGIN

    def _may(self, origin: str, host: str, address: str, *, secure: bool | None, ambient: bool) -> bool:
        page = _split(origin)
        if (page or origin) in self._allowed:
            return True
        if page is None:
            return False
        scheme, name, _ = page
        # What stands on an unencrypted page may come from anybody on the way to it. The other way round there is no
        # harm, and a proxy that hears TLS from a proxy before it may say "http".
        if page == _split(f"{scheme}://{host}") and not (secure and scheme == "http"):
            return True
        return not ambient and (name == "localhost" or is_loopback(name)) and is_loopback(address)


def _split(origin: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin of the web; none where it is something else."""
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in DEFAULT_PORTS or not name or more:
        return None
    return parts.scheme, name, DEFAULT_PORTS[parts.scheme] if port is None else port
