"""What the server prints when it is up."""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from agentsocket.settings import Settings

ALL_IPV4, ALL_IPV6 = "0.0.0.0", "::"  # noqa: S104  # compared, not listened on

SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of a network interface (netdevice(7))."""

IF_INET6 = Path("/proc/net/if_inet6")
"""Linux: the IPv6 addresses of this machine: the digits, the interface's number, prefix length, scope and more."""

GLOBAL_SCOPE = "00"


def banner(settings: Settings, addresses: Sequence[tuple[str, int]]) -> str:
    """Return the agent that is served, every URL that it is reached at, and what is unsafe about that.

    ``addresses`` are those that the server listens at, each with its port.
    """
    secure = settings.tls_cert is not None
    port = addresses[0][1]
    places = [f"{host}:{port}{settings.base_path}" for host in _hosts(settings.host, [name for name, _ in addresses])]
    lines = [f"Serving agent {', '.join(settings.agent)}, at"]
    lines += [f"    {'wss' if secure else 'ws'}://{place}" for place in places]
    if settings.console:
        lines.append(f"and a console for it at {'https' if secure else 'http'}://{places[0]}/")
    if not all(ipaddress.ip_address(name.partition("%")[0]).is_loopback for name, _ in addresses):
        if settings.is_open:
            lines.append(
                "WARNING: no token is set: whoever can reach this machine can use the agent. "
                "Set one with --auth-token, or another method of docs/identity.md, or listen with --host 127.0.0.1."
            )
        elif not secure:
            lines.append("WARNING: logins travel in the clear to other machines: set --tls-cert and --tls-key.")
    return "\n".join(lines)


def _hosts(host: str, addresses: Sequence[str]) -> list[str]:
    """Return what stands in a URL: the host that was asked for, or this machine's addresses where that was all."""
    if host not in {ALL_IPV4, ALL_IPV6, ""}:
        return [f"[{host}]" if ":" in host else host]
    found: list[str] = []
    if ALL_IPV4 in addresses:
        found += sorted(filter(None, (_address(name) for _, name in socket.if_nameindex())))
    if ALL_IPV6 in addresses:
        found += [f"[{address}]" for address in _ipv6_addresses()]
    return ["localhost", *(address for address in found if not address.startswith("127."))]


def _address(interface: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(answer[20:24])


def _ipv6_addresses() -> list[str]:
    try:
        rows = [line.split() for line in IF_INET6.read_text().splitlines()]
    except OSError:  # a machine without IPv6, or another system
        return []
    return sorted(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])) for row in rows if row[3] == GLOBAL_SCOPE)
