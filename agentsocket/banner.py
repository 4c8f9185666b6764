"""What the server prints when it is up."""

import fcntl
import socket
import struct

from agentsocket.settings import Settings

SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of a network interface (netdevice(7))."""


def banner(settings: Settings, port: int) -> str:
    """Return the agent that is served, every URL that it is reached at, and what is unsafe about that."""
    scheme = "wss" if settings.tls_cert else "ws"
    hosts = _hosts(settings.host)
    lines = [f"Serving agent {', '.join(settings.agent)}, at"]
    lines += [f"    {scheme}://{host}:{port}" for host in hosts]
    if settings.console:
        lines.append(f"and a console for it at {'https' if settings.tls_cert else 'http'}://{hosts[0]}:{port}/")
    if any(not _is_loopback(host) for host in hosts):
        if settings.auth_token is None:
            lines.append(
                "WARNING: no token is set: whoever can reach this machine can use the agent. "
                "Set one with --auth-token, or listen with --host 127.0.0.1."
            )
        elif settings.tls_cert is None:
            lines.append("WARNING: the token travels in the clear to other machines: set --tls-cert and --tls-key.")
    return "\n".join(lines)


def _hosts(host: str) -> list[str]:
    if host not in {"0.0.0.0", "::", ""}:  # noqa: S104  # compared, not listened on
        return [f"[{host}]" if ":" in host else host]
    addresses = {_address(name) for _, name in socket.if_nameindex()}
    return ["localhost", *sorted(address for address in addresses if address and not _is_loopback(address))]


def _address(interface: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(answer[20:24])


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "[::1]"} or host.startswith("127.")
