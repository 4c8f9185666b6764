"""What ``docs/deployment.md`` says of nginx and Caddy, held by a real one of each in front of a real server."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput
from agentsocket.server import AgentServer
from tests.deployment.proxies import KINDS, NAME, Kind, Proxy, documented_settings, running
from tests.support import PATIENCE, Peer, Scripted, eventually, serving
from tests.wire import handshake

SETTINGS = documented_settings()
TOKEN = SETTINGS["auth_token"]
SOMEBODY = {"X-Forwarded-For": "203.0.113.7"}

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for a certificate")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found = KINDS[request.param]
    if found.binary is None:
        pytest.skip(f"needs {found.name}: apt-get install {found.name}")
    return found


@contextlib.asynccontextmanager
async def deployed(
    kind: Kind,
    folder: Path,
    agent: Scripted | None = None,
    *,
    which: int = 0,
    changes: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[AgentServer, Proxy]]:
    """Run a server with the document's settings behind a proxy with the document's configuration."""
    async with (
        serving(lambda: agent or Scripted(), **{**SETTINGS, **settings}) as server,
        running(kind, folder, server.port, which=which, changes=changes) as proxy,
    ):
        yield server, proxy


@contextlib.asynccontextmanager
async def logged_in(proxy: Proxy, **options: Any) -> AsyncIterator[Peer]:
    async with proxy.connected(**options) as peer:
        await peer.login(token=TOKEN)
        yield peer


async def status(proxy: Proxy, *headers: str, path: str = "/", upgrade: bool = True) -> int | None:
    async with proxy.wired() as wire:
        wire.send(handshake(*headers, host=proxy.host, path=path, upgrade=upgrade))
        return await wire.status()


async def test_text_arrives_piece_by_piece(kind: Kind, tmp_path: Path) -> None:
    read = asyncio.Event()

    async def stream(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="first "))
        await read.wait()
        await turn.emit(AgentOutput(output="second"))
        return "done"

    async with deployed(kind, tmp_path, Scripted(stream=stream)) as (_, proxy), logged_in(proxy) as peer:
        await peer.request("stream")
        assert (await peer.expect("agent_output"))["output"] == "first "
        read.set()
        assert (await peer.expect("agent_output"))["output"] == "second"
        assert (await peer.expect("agent_response"))["response"] == "done"


async def test_a_cancel_stops_the_task(kind: Kind, tmp_path: Path) -> None:
    agent = Scripted()
    async with deployed(kind, tmp_path, agent) as (_, proxy), logged_in(proxy) as peer:
        task_id = await peer.request("park")
        await agent.parked.wait()
        await peer.send("cancel_request", task_id=task_id)
        assert await peer.expect("task_cancelled") == {"task_id": task_id}
        assert agent.cancelled.is_set()


async def test_a_message_of_200_kib_passes_both_ways(kind: Kind, tmp_path: Path) -> None:
    long = "x" * (200 * 1024)
    async with deployed(kind, tmp_path) as (_, proxy), logged_in(proxy) as peer:
        assert await peer.ask(long) == long


async def test_a_client_that_is_lost_is_lost_to_the_server_too(kind: Kind, tmp_path: Path) -> None:
    agent = Scripted()
    async with deployed(kind, tmp_path, agent) as (server, proxy):
        async with logged_in(proxy) as peer:
            await peer.request("park")
            await agent.parked.wait()
            peer.socket.transport.abort()
        await eventually(lambda: agent.closed == 1)
        assert agent.cancelled.is_set()
        assert not server.manager.sessions


async def test_the_servers_close_code_reaches_the_client(kind: Kind, tmp_path: Path) -> None:
    async with deployed(kind, tmp_path) as (_, proxy), proxy.connected() as peer:
        for _ in range(3):
            await peer.send("login", token="wrong")
        assert await peer.closed() == 4500


async def test_the_token_may_come_as_a_header(kind: Kind, tmp_path: Path) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with deployed(kind, tmp_path) as (_, proxy), proxy.connected(additional_headers=bearer) as peer:
        await peer.login()
        assert await peer.ask("hello") == "hello"


# The document's configuration, with a time-out that a test can wait for. Caddy has none.
IMPATIENT = {"nginx": {"proxy_read_timeout 60s": "proxy_read_timeout 1s"}, "caddy": {}}


async def test_an_idle_connection_outlives_the_proxys_patience_thanks_to_pings(kind: Kind, tmp_path: Path) -> None:
    async with (
        deployed(kind, tmp_path, changes=IMPATIENT[kind.name], ping_interval=0.3) as (_, proxy),
        logged_in(proxy) as peer,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.6):
                await peer.socket.recv()
        assert await peer.ask("still there") == "still there"


@pytest.mark.parametrize("kind", ["nginx"], indirect=True)
async def test_without_pings_it_would_not(kind: Kind, tmp_path: Path) -> None:
    async with (
        deployed(kind, tmp_path, changes=IMPATIENT[kind.name], ping_interval=None) as (_, proxy),
        logged_in(proxy) as peer,
    ):
        assert await peer.closed() == 1006


async def test_a_client_is_counted_by_its_own_address(kind: Kind, tmp_path: Path) -> None:
    """The test stands where a balancer does: its own address is trusted, and it forwards for others."""
    limits: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",), "max_connections_per_address": 1}
    changes = {"10.0.0.0/8": "127.0.0.0/8"} if kind.name == "caddy" else {}
    which = 1 if kind.name == "caddy" else 0
    async with (
        deployed(kind, tmp_path, which=which, changes=changes, **limits) as (_, proxy),
        logged_in(proxy, additional_headers=SOMEBODY),
    ):
        assert await status(proxy, "X-Forwarded-For: 203.0.113.7") == 503
        assert await status(proxy, "X-Forwarded-For: 10.1.2.3, 203.0.113.7") == 503
        assert await status(proxy, "X-Forwarded-For: 203.0.113.8") == 101


async def test_a_clients_address_is_known_and_what_it_forwards_itself_is_ignored(kind: Kind, tmp_path: Path) -> None:
    async with (
        deployed(kind, tmp_path) as (server, proxy),
        logged_in(proxy, address="127.0.0.2", additional_headers=SOMEBODY),
        logged_in(proxy, address="127.0.0.3", additional_headers=SOMEBODY),
    ):
        assert server._gatekeeper._by_address == {"127.0.0.2": 1, "127.0.0.3": 1}


@pytest.mark.parametrize("origin", ["https://evil.example", f"https://{NAME}.evil.example", f"http://{NAME}", "null"])
async def test_a_page_of_another_origin_is_refused(kind: Kind, tmp_path: Path, origin: str) -> None:
    async with deployed(kind, tmp_path) as (_, proxy):
        assert await status(proxy, f"Origin: {origin}") == 403


async def test_a_page_of_the_public_name_may_connect(kind: Kind, tmp_path: Path) -> None:
    async with deployed(kind, tmp_path) as (_, proxy):
        assert await status(proxy, f"Origin: https://{proxy.host}") == 101


async def test_an_unencrypted_page_of_the_public_name_is_refused(kind: Kind, tmp_path: Path) -> None:
    async with deployed(kind, tmp_path) as (_, proxy):
        assert await status(proxy, f"Origin: http://{proxy.host}") == 403


async def test_plain_requests_pass_and_a_server_that_stops_says_so(kind: Kind, tmp_path: Path) -> None:
    agent = Scripted()
    async with deployed(kind, tmp_path, agent) as (server, proxy), logged_in(proxy) as peer:
        assert await status(proxy, path="/healthz", upgrade=False) == 200
        assert await status(proxy, path="/", upgrade=False) == 200
        await peer.request("park")
        stopping = asyncio.create_task(server.manager.drain(10))
        await eventually(lambda: server.manager.shutting_down)
        assert await status(proxy, path="/healthz", upgrade=False) == 503
        assert await status(proxy) == 503
        agent.gate.set()
        assert (await peer.expect("agent_response"))["response"] == "released"
        await stopping


async def test_of_several_servers_one_that_stops_gets_no_new_clients(kind: Kind, tmp_path: Path) -> None:
    changes = {"health_interval 1s": "health_interval 100ms"} if kind.name == "caddy" else {}
    async with (
        serving(**SETTINGS) as one,
        serving(**SETTINGS) as other,
        running(kind, tmp_path, one.port, other.port, which=-1, changes=changes) as proxy,
        logged_in(proxy) as peer,
    ):
        stopping, staying = (one, other) if one.manager.sessions else (other, one)
        await stopping.manager.drain(0)
        async with asyncio.timeout(PATIENCE):
            while await status(proxy) != 101:
                pass  # Caddy has not heard of it yet
        async with logged_in(proxy):
            assert len(staying.manager.sessions) == 1
        assert len(stopping.manager.sessions) == 1
        await peer.send("logout")
        await peer.expect("logout_response")
