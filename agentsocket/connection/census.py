"""Who is there: what comes from each address and in all, and the sockets that have not said yet what they want."""

import functools
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from agentsocket.addresses import address_group, parsed
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.census")

SPARE = 16
"""Sockets beyond the connections that are allowed, in all and from one address: for health checks, for the page, and
for the answer that there is no room."""

QUIET = 10.0
"""Seconds between two log lines of the same crowd."""


class Census:
    """Counts by address, and in all. Of IPv6 a whole /64 counts as one: whoever has one address there has them all."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[str] = Counter()

    def of(self, address: str) -> int:
        """Return how many are there of this IP address."""
        return self._counts[address_group(address)]

    def enter(self, address: str) -> Callable[[], None]:
        """Count one more from this IP address; what is returned takes it off again, and is to be called once."""
        group = address_group(address)
        self.total += 1
        self._counts[group] += 1
        return functools.partial(self._leave, group)

    def _leave(self, group: str) -> None:
        self.total -= 1
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]


class Socket(Protocol):
    """A socket as its counter sees it."""

    address: str
    """The peer's IP address."""

    def abort(self) -> None:
        """Close it at once."""


class Lobby:
    """All sockets of a server, from the moment that they are accepted, and with them those that are no WebSocket yet.

    Silence must not hold up anybody: where there is no room, whoever has been here longest without a handshake goes.
    One address, though, only harms itself: beyond its share it is not let in.
    """

    def __init__(self, settings: Settings) -> None:
        share = settings.max_connections_per_address
        self._limit = settings.max_connections + SPARE
        self._share = None if share is None else share + SPARE
        self._proxies = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        self._census = Census()
        self._waiting: dict[Socket, None] = {}
        self._leave: dict[Socket, Callable[[], None]] = {}
        self._quiet_until = 0.0

    def admit(self, socket: Socket) -> bool:
        """Count a socket that was accepted; false, and it is not counted, where its address has too many."""
        if self._share is not None and self._census.of(socket.address) >= self._share and self._is_one(socket.address):
            self._tell("too many sockets from %s: more are closed at once", socket.address)
            return False
        if self._census.total >= self._limit and self._waiting:
            self._tell("too many sockets: those without a handshake are closed, oldest first")
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.abort()
        self._waiting[socket] = None
        self._leave[socket] = self._census.enter(socket.address)
        return True

    def open(self, socket: Socket) -> None:
        """This one has become a WebSocket."""
        self._waiting.pop(socket, None)

    def leave(self, socket: Socket) -> None:
        """This one is gone. May be said twice, and of one that was not admitted."""
        self._waiting.pop(socket, None)
        self._leave.pop(socket, _nothing)()

    def _is_one(self, address: str) -> bool:
        """Whether this is one peer's address, and not that of a proxy, nor of this machine."""
        ip = parsed(address)
        return ip is not None and not ip.is_loopback and not any(ip in network for network in self._proxies)

    def _tell(self, message: str, *arguments: object) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning(message, *arguments)


def _nothing() -> None:
    pass
