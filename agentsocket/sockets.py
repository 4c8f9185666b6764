"""The sockets that the server listens on: one for each address of its host, all of one port."""

import contextlib
import errno
import socket
from collections.abc import Iterable

ALL_HOSTS = {"", "::"}
"""Hosts that mean every address of both families; ``0.0.0.0`` means those of IPv4."""

ATTEMPTS = 20
"""Free ports that are tried until one is free at every address."""

NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

Address = tuple[socket.AddressFamily, str]


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind every address of ``host`` that this machine has; port 0 picks one that is free at all of them.

    Raises:
        OSError: if the host has no address here, or the port is taken.
    """
    addresses = _addresses(host)
    for _ in range(ATTEMPTS if port == 0 else 0):
        with contextlib.suppress(OSError):
            return _bind(addresses, port)
    return _bind(addresses, port)


def _addresses(host: str) -> list[Address]:
    if host in ALL_HOSTS:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104  # as it was asked for
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(addresses: Iterable[Address], port: int) -> list[socket.socket]:
    with contextlib.ExitStack() as bound:
        sockets: list[socket.socket] = []
        missing: OSError | None = None
        for family, address in addresses:
            try:
                # Each socket has one family, so that an IPv4 client has an IPv4 address.
                listening = socket.create_server((address, port), family=family)
            except OSError as exc:
                if exc.errno not in NO_SUCH_ADDRESS:
                    raise
                missing = exc  # a machine without IPv6, say
                continue
            # What is accepted has it from here: asyncio leaves it out where a listener names no protocol, and then each
            # small frame waits until the peer has confirmed the one before, for up to 40 ms.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets.append(bound.enter_context(listening))
            port = int(listening.getsockname()[1])
        if not sockets and missing is not None:
            raise missing
        bound.pop_all()
    return sockets
