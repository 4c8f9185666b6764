"""Where a server is, the way to it, and how both are told without a secret."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def is_here(uri: str) -> bool:
    """Tell whether an address leads to this very machine. Raises ``ValueError`` for what is no address."""
    host = (urlsplit(uri).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def proxy_for(uri: str) -> str | None:
    """Return the proxy that the environment, or the system, names for an address; none for this very machine.

    The order is that of ``websockets``, which would ask the proxy for localhost too.
    """
    parts = urlsplit(uri)
    secure = parts.scheme == "wss"
    if is_here(uri) or proxy_bypass(f"{parts.hostname}:{parts.port or (443 if secure else 80)}"):
        return None
    known = getproxies()
    for kind in ("wss", "socks", "https") if secure else ("ws", "socks", "https", "http"):
        if proxy := known.get(kind):
            # macOS has it this way.
            return proxy.replace("http://", "socks5h://", 1) if kind == "socks" else proxy
    return None


def shown(url: str) -> str:
    """Return an address as it may be shown: without user, password and query."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]
