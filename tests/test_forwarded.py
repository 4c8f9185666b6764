"""Behind a proxy: whose word is taken for where a client comes from."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

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
    [CLIENT, f" {CLIENT} ", f"10.9.8.7, {CLIENT}", f"{CLIENT}, 198.51.100.4", f"nonsense, {CLIENT}, 198.51.100.4"],
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


@pytest.mark.parametrize("trusted", [(), (CDN,)], ids=["nobody", "somebody else"])
async def test_what_an_untrusted_peer_forwards_is_ignored(trusted: tuple[str, ...]) -> None:
    async with (
        serving(trusted_proxies=trusted, max_connections_per_address=1) as server,
        opened(server, f"X-Forwarded-For: {CLIENT}") as first,
        opened(server, f"X-Forwarded-For: {CLIENT}") as second,
    ):
        assert (first, second) == (101, 101)  # both come from loopback, which has no limit


@pytest.mark.parametrize(
    "forwarded", ["", ",", "unknown", "9.9.9.9, 198.51.100.4%x", "::1%eth0", "[::1]:80", "1.2.3.4:5"]
)
async def test_an_address_that_is_none_is_not_an_error(forwarded: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(**BEHIND) as server, opened(server, f"X-Forwarded-For: {forwarded}") as status:
        assert status == 101
    assert caplog.messages == []


async def test_a_page_on_the_clients_own_machine_is_foreign_to_a_server_behind_a_proxy() -> None:
    public: dict[str, Any] = {**BEHIND, "allowed_hosts": ("agent.example.com",)}
    headers = f"X-Forwarded-For: {CLIENT}", "Origin: http://localhost:3000"
    async with serving(**public) as server, opened(server, *headers, host="agent.example.com") as status:
        assert status == 403
