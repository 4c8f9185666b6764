"""Where the server listens, and what it says of that."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import agentsocket.banner
from agentsocket.banner import banner
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from agentsocket.sockets import listen
from tests.support import PATIENCE, logged_in, serving

WARNING = "WARNING: no token is set"


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


async def answers(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        line = await reader.readline()
    writer.transport.abort()
    return line.startswith(b"HTTP/1.1 200")


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "", "localhost"])
async def test_both_families_are_served_at_one_port(host: str) -> None:
    async with serving(host=host) as server:
        assert {port for _, port in server.addresses} == {server.port}
        assert await answers("127.0.0.1", server.port)
        if host != "localhost" or len(server.addresses) == 2:
            assert await answers("::1", server.port)


@needs_ipv6
async def test_an_ipv4_client_has_an_ipv4_address_whatever_the_host() -> None:
    async with serving(host="::") as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.connections:  # noqa: ASYNC110  # it has no event of its own
            await asyncio.sleep(0)
        assert [connection.address for connection in server.connections] == ["127.0.0.1"]
        writer.transport.abort()


async def test_no_frame_waits_until_the_one_before_is_confirmed() -> None:
    async with serving() as server, logged_in(server):
        (connection,) = server.connections
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
async def test_ipv4_alone_is_served_where_that_is_asked_for(host: str) -> None:
    async with serving(host=host) as server:
        assert server.addresses == [(host, server.port)]


@needs_ipv6
def test_a_port_that_is_taken_at_one_address_is_taken() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="already in use"):
            listen("::", port)
        with socket.create_server(("127.0.0.1", port)):
            pass  # nothing of the attempt is left


def test_a_machine_without_ipv6_is_served_at_its_ipv4_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_server

    def without_ipv6(address: tuple[str, int], *, family: socket.AddressFamily) -> socket.socket:
        if family is socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(address, family=family)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    (listening,) = listen("::", 0)
    listening.close()
    with pytest.raises(OSError, match="not supported"):
        listen("::1", 0)


async def told(host: str, **settings: Any) -> list[str]:
    async with serving(host=host, **settings) as server:
        text = banner(Settings(host=host, **settings), server.addresses)
        assert all(f":{server.port}" in line for line in text.splitlines() if "://" in line)
        return text.replace(f":{server.port}", ":PORT").splitlines()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
async def test_a_server_that_others_may_reach_warns_whatever_interfaces_are_up(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "if_nameindex", list)
    monkeypatch.setattr(agentsocket.banner, "IF_INET6", Path("/no/such/file"))
    lines = await told(host)
    assert [line.strip() for line in lines if "ws://" in line] == ["ws://localhost:PORT"]
    assert [line for line in lines if line.startswith(WARNING)]
    assert not [line for line in await told(host, auth_token="secret") if line.startswith(WARNING)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", pytest.param("::1", marks=needs_ipv6)])
async def test_a_server_of_this_machine_alone_does_not_warn(host: str) -> None:
    lines = await told(host)
    shown = f"[{host}]" if ":" in host else host
    assert lines[1:] == [f"    ws://{shown}:PORT", f"and a console for it at http://{shown}:PORT/"]


@needs_ipv6
@pytest.mark.parametrize("host", ["::", ""])
async def test_every_url_of_the_banner_is_answered(host: str) -> None:
    async with serving(host=host) as server:
        for line in banner(Settings(host=host), server.addresses).splitlines():
            if "    ws://" in line:
                name = line.partition("://")[2].rpartition(":")[0].strip("[]")
                assert await answers(name, server.port)


async def test_the_banner_has_the_base_path() -> None:
    lines = await told("127.0.0.1", base_path="/agent")
    assert lines[1:] == ["    ws://127.0.0.1:PORT/agent", "and a console for it at http://127.0.0.1:PORT/agent/"]


async def test_a_server_that_is_not_started_listens_nowhere() -> None:
    assert AgentServer(Settings(), {}).addresses == []
