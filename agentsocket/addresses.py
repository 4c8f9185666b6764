"""IP addresses: one notation for each, and what counts as one peer."""

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

REMEMBERED = 1024
"""Texts whose address is remembered: to read one takes a while, and each login asks for its own several times."""


@lru_cache(REMEMBERED)
def parsed(text: str) -> Address | None:
    """Return the address that a text stands for, none where it is none. A mapped IPv4 address is that address."""
    if ":" in text:
        text = text.partition("%")[0]  # which interface it was seen at
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def plain(address: str) -> str:
    """Return an address in the one notation that it is compared and counted by; empty where it is none.

    ``::ffff:192.0.2.1``, as a socket of both families has it, is ``192.0.2.1``.
    """
    found = parsed(address)
    return "" if found is None else str(found)


def is_address(text: str) -> bool:
    """Tell whether this is an IP address."""
    return parsed(text) is not None


def is_loopback(address: str) -> bool:
    """Tell whether an address is of this machine; what is no address is not."""
    found = parsed(address)
    return found is not None and found.is_loopback


@lru_cache(REMEMBERED)
def address_group(address: str) -> str:
    """Return what counts as one peer: an IPv4 address, or the /64 of an IPv6 one, whose owner has all of it."""
    found = parsed(address)
    if isinstance(found, ipaddress.IPv6Address) and not found.is_loopback:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address if found is None else str(found)
