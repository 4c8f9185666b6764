"""Where a client comes from: addresses in one notation, and what trusted proxies say of them."""

import ipaddress
from collections.abc import Iterable

from websockets.datastructures import Headers

from agentsocket.addresses import parsed, plain

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

MAX_HOPS = 32
"""Proxies behind one another whose words are read."""


class Proxies:
    """The proxies whose word is taken for where their clients come from."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [_plain_network(ipaddress.ip_network(network)) for network in networks]

    def client_of(self, address: str, headers: Headers) -> str:
        """Return the client's address: the peer's, or what trusted proxies say of it.

        The standard's ``Forwarded`` is not read: proxies that write the usual header pass it on as a client wrote it.
        """
        if not self.trust(address):
            return address
        forwarded = ",".join(headers.get_all("X-Forwarded-For")).rsplit(",", MAX_HOPS)
        while forwarded and self.trust(address) and (hop := forwarded_address(forwarded.pop())):
            address = hop
        return address

    def is_secure(self, address: str, headers: Headers) -> bool | None:
        """Tell whether the client speaks TLS to the peer, a proxy; none where it is no trusted one, or does not say."""
        said = ",".join(headers.get_all("X-Forwarded-Proto")).lower() if self.trust(address) else ""
        schemes = {scheme.strip(' "') for scheme in said.split(",")} - {""}
        return bool(schemes & {"https", "wss"}) if schemes else None

    def trust(self, address: str) -> bool:
        """Tell whether this address, in the notation of ``plain``, is a trusted proxy's."""
        found = parsed(address) if self._networks else None
        return found is not None and any(found in network for network in self._networks)


def forwarded_address(text: str) -> str:
    """Return the address in an item of ``X-Forwarded-For``, whether or not a port stands behind it; empty for none."""
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        return plain(inner) if closed and (not rest or rest.startswith(":")) else ""
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return plain(text)


def _plain_network(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ipaddress.IPv4Network((str(mapped), network.prefixlen - MAPPED.prefixlen))
    return network
