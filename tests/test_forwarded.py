"""Behind a proxy: whose word is taken for where a client comes from."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsocket.addresses import plain
from agentsocket.connection.proxies import Proxies
from agentsocket.server import AgentServer
from tests.support import serving
from tests.wire import handshake, wired

CLIENT = "203.0.113.7"
CDN = "198.51.100.0/24"
BEHIND: dict[str, Any] = {"trusted_proxies": ("127.0.0.1", CDN), "max_connections_per_address": 1}


@contextlib.asynccontextmanager
async def opened(server: AgentServer, *headers: str, host: str = "localhost") -> AsyncIterator[int | None]:
    """Open a connection with these headers, and give the status that it got."""
    async with wired(server.port) as wire:
        wire.send(handshake(*headers, host=host))
        yield await wire.status()


@pytest.mark.parametrize(
    "forwarded",
    [
        *(CLIENT, f" {CLIENT} ", f"10.9.8.7, {CLIENT}", f"{CLIENT}, 198.51.100.4", f"nonsense, {CLIENT}, 198.51.100.4"),
        *(f"{CLIENT}:51234", f"[::ffff:{CLIENT}]", f"::ffff:{CLIENT}", f"[::FFFF:{CLIENT}]:443", f'"{CLIENT}"'),
        *(
            f"{CLIENT}, 198.51.100.4:8080",
            f"{CLIENT},::ffff:198.51.100.4",
            f'\t"{CLIENT}:1" , "[::ffff:198.51.100.4]:1"',
        ),
    ],
)
async def test_a_client_behind_proxies_is_counted_by_the_last_address_that_is_no_proxy(forwarded: str) -> None:
    async with (
        serving(**BEHIND) as server,
        opened(server, f"X-Forwarded-For: {CLIENT}") as first,
        opened(server, f"X-Forwarded-For: {forwarded}") as second,
        opened(server, "X-Forwarded-For: 203.0.113.8") as neighbour,
    ):
        assert (first, second, neighbour) == (101, 503, 101)


async def test_several_forwarding_headers_are_one_list() -> None:
    async with (
        serving(**BEHIND) as server,
        opened(server, f"X-Forwarded-For: {CLIENT}") as first,
        opened(server, "X-Forwarded-For: 10.9.8.7", f"X-Forwarded-For: {CLIENT}, 198.51.100.4") as second,
    ):
        assert (first, second) == (101, 503)


@pytest.mark.parametrize("forwarded", ["2001:db8::7", "[2001:db8::7]", "[2001:DB8:0::7]:51234", '"[2001:db8::7]"'])
async def test_an_ipv6_client_is_one_however_its_address_is_written(forwarded: str) -> None:
    async with (
        serving(**BEHIND) as server,
        opened(server, "X-Forwarded-For: 2001:db8::7") as first,
        opened(server, f"X-Forwarded-For: {forwarded}") as second,
    ):
        assert (first, second) == (101, 503)


async def test_the_standards_header_is_not_read_since_proxies_pass_on_what_a_client_wrote() -> None:
    async with (
        serving(**BEHIND) as server,
        opened(server, f"X-Forwarded-For: {CLIENT}", "Forwarded: for=10.9.8.7") as first,
        opened(server, f"X-Forwarded-For: {CLIENT}", "Forwarded: for=10.9.8.6") as second,
    ):
        assert (first, second) == (101, 503)


@pytest.mark.parametrize("network", ["192.0.2.0/24", "::ffff:192.0.2.0/120"])
def test_a_proxy_is_trusted_in_either_notation(network: str) -> None:
    proxies = Proxies([network])
    assert proxies.trust("192.0.2.9")
    assert proxies.trust(plain("::ffff:192.0.2.9"))
    assert not proxies.trust("192.0.3.9")
    assert not proxies.trust("2001:db8::1")


def test_a_peer_that_is_gone_has_no_address_and_no_trust() -> None:
    assert plain("") == ""
    assert not Proxies(["0.0.0.0/0"]).trust("")


def test_an_address_has_one_notation() -> None:
    assert plain("::ffff:203.0.113.7") == CLIENT
    assert plain("2001:DB8:0:0::1") == plain("2001:db8::1") == "2001:db8::1"
    assert plain("fe80::1%eth0") == "fe80::1"


@pytest.mark.parametrize("trusted", [(), (CDN,)], ids=["nobody", "somebody else"])
async def test_what_an_untrusted_peer_forwards_is_ignored(trusted: tuple[str, ...]) -> None:
    async with (
        serving(trusted_proxies=trusted, max_connections_per_address=1) as server,
        opened(server, f"X-Forwarded-For: {CLIENT}") as first,
        opened(server, f"X-Forwarded-For: {CLIENT}") as second,
    ):
        assert (first, second) == (101, 101)  # both come from loopback, which has no limit


@pytest.mark.parametrize(
    "forwarded",
    [
        "",
        ",",
        "unknown",
        "9.9.9.9, 198.51.100.4%x",
        "::1%eth0",
        "[::1]:80",
        "[::1",
        "[::1]x",
        "1.2.3.4:5",
        '"',
        "_hidden",
        "a:b:c",
    ],
)
async def test_an_address_that_is_none_is_not_an_error(forwarded: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(**BEHIND) as server, opened(server, f"X-Forwarded-For: {forwarded}") as status:
        assert status == 101
    assert caplog.messages == []


PUBLIC: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",), "allowed_hosts": ("agent.example.com",)}
NAME = "agent.example.com"


@pytest.mark.parametrize(
    ("origin", "proto", "status"),
    [
        (f"https://{NAME}", "https", 101),
        (f"https://{NAME}", "wss", 101),
        (f"https://{NAME}", None, 101),
        (f"http://{NAME}", "https", 403),  # whoever can change that page may not speak for the encrypted one
        (f"http://{NAME}", "WSS", 403),
        (f"http://{NAME}", "https, http", 403),
        (f"http://{NAME}:80", "https", 403),
        (f"http://{NAME}:443", "https", 403),
        (f"http://{NAME}", "http", 101),
        (f"http://{NAME}", None, 101),
    ],
)
async def test_an_unencrypted_page_may_not_open_an_encrypted_connection(
    origin: str, proto: str | None, status: int
) -> None:
    headers = [f"Origin: {origin}", *([f"X-Forwarded-Proto: {proto}"] if proto else [])]
    async with serving(**PUBLIC) as server, opened(server, *headers, host=NAME) as got:
        assert got == status


async def test_unless_it_is_listed() -> None:
    headers = f"Origin: http://{NAME}", "X-Forwarded-Proto: https"
    listed: dict[str, Any] = {**PUBLIC, "allowed_origins": (f"http://{NAME}",)}
    async with serving(**listed) as server, opened(server, *headers, host=NAME) as status:
        assert status == 101


async def test_whether_a_client_speaks_tls_is_a_trusted_proxys_to_say() -> None:
    headers = f"Origin: http://{NAME}", "X-Forwarded-Proto: https"
    async with serving(allowed_hosts=(NAME,)) as server, opened(server, *headers, host=NAME) as status:
        assert status == 101


async def test_a_page_on_the_clients_own_machine_is_foreign_to_a_server_behind_a_proxy() -> None:
    public: dict[str, Any] = {**BEHIND, "allowed_hosts": ("agent.example.com",)}
    headers = f"X-Forwarded-For: {CLIENT}", "Origin: http://localhost:3000"
    async with serving(**public) as server, opened(server, *headers, host="agent.example.com") as status:
        assert status == 403
