"""What is answered to plain HTTP: health checks, the page, and why a page may not connect."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

import pytest

from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.support import PATIENCE, eventually, serving
from tests.wire import handshake, upgraded, wired

METHODS = "GET, HEAD, OPTIONS"
PATHS = ["/", "/app.js", "/healthz", "/asyncapi.json", "/refusal", "/nowhere"]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def answer(server: AgentServer, request: bytes, *more: bytes) -> Answer:
    """Send a request, then more; return all that comes until the connection is closed."""
    async with wired(server.port) as wire, asyncio.timeout(PATIENCE):
        wire.send(request)
        head = await wire.reader.readuntil(b"\r\n\r\n")
        for data in more:
            await wire.push(data)
        body = await wire.reader.read()
    first, *lines = head.decode().split("\r\n")[:-2]
    return Answer(int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body)


async def get(server: AgentServer, path: str, *headers: str, **options: Any) -> Answer:
    return await answer(server, handshake(*headers, path=path, upgrade=False, **options))


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(path: str) -> None:
    async with serving() as server:
        whole, head = await get(server, path), await get(server, path, method="HEAD")
    assert (head.status, head.body) == (whole.status, b"")
    assert abs(int(head.headers["content-length"]) - len(whole.body)) <= 2  # the time of its start is in one of them
    assert head.headers.keys() == whole.headers.keys()


@pytest.mark.parametrize("path", [*PATHS, "*"])
async def test_options_tell_what_is_served(path: str) -> None:
    async with serving() as server:
        told = await get(server, path, method="OPTIONS")
    assert (told.status, told.headers["allow"], told.body) == (204, METHODS.lower(), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"])
async def test_any_other_method_is_told_which_are_served(method: str) -> None:
    async with serving() as server:
        told = await get(server, "/healthz", method=method)
        tunnel = await answer(server, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (told.status, told.headers["allow"]) == (tunnel.status, tunnel.headers["allow"]) == (405, METHODS.lower())


def changed(upgrade: str, connection: str = "Upgrade") -> bytes:
    request = handshake().replace(b"Upgrade: websocket", f"Upgrade: {upgrade}".encode())
    return request.replace(b"Connection: Upgrade", f"Connection: {connection}".encode())


@pytest.mark.parametrize("upgrade", ["", "h2c", "h2c, foo/2", "websockets", "web socket", "TLS/1.0", "websocket/13"])
async def test_an_upgrade_to_anything_else_is_ignored(upgrade: str) -> None:
    async with serving() as server:
        assert (await answer(server, changed(upgrade, "Upgrade, HTTP2-Settings"))).status == 200


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket", "websocket,h2c", " websocket\t"])
@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade ,close"])
async def test_a_handshake_is_what_names_a_websocket_in_either_list(upgrade: str, connection: str) -> None:
    async with serving() as server, wired(server.port) as wire:
        wire.send(changed(upgrade, connection))
        assert await wire.status() == 101


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Length: 4", b"body"),
        ("Content-Length: 3000000", bytes(3_000_000)),
        ("Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\n"),
    ],
)
async def test_a_request_with_a_body_is_answered_and_closed_in_order(header: str, body: bytes) -> None:
    async with serving() as server:
        request = handshake(header, path="/healthz", upgrade=False)
        for told in await answer(server, request + body[:9], body[9:]), await answer(server, request, body):
            assert (told.status, told.json["status"]) == (200, "ok")


@pytest.mark.parametrize(
    "request_line", ["GET http://localhost:80/healthz HTTP/1.1", "HEAD /healthz HTTP/1.0", "GET /healthz HTTP/1.0"]
)
async def test_older_and_longer_forms_of_a_request_are_understood(request_line: str) -> None:
    async with serving() as server:
        assert (await answer(server, f"{request_line}\r\nHost: localhost\r\n\r\n".encode())).status == 200


async def test_http_1_0_needs_no_host() -> None:
    async with serving() as server:
        assert (await answer(server, b"OPTIONS /healthz HTTP/1.0\r\n\r\n")).status == 204


# ---- Why a page may not connect --------------------------------------------------------------------------------------


async def refusal(server: AgentServer, origin: str, **options: Any) -> Any:
    told = await get(server, f"/refusal?origin={quote(origin, safe='')}", **options)
    assert (told.status, told.headers["content-type"]) == (200, "application/json")
    assert "access-control-allow-origin" not in told.headers
    return told.json


OWN = "http://localhost"


async def test_a_page_that_may_connect_is_told_so() -> None:
    async with serving() as server:
        assert await refusal(server, OWN) == {"allowed": True}
        assert (await get(server, "/refusal")).json == {"allowed": True}  # what is no page always may


@pytest.mark.parametrize(
    ("origin", "host", "code", "setting"),
    [
        ("http://agent.example", "agent.example", "host", "--allowed-hosts"),
        ("https://app.example", "localhost", "origin", "--allowed-origins"),
        ("null", "localhost", "origin", "--allowed-origins"),
    ],
)
async def test_a_page_is_told_which_setting_keeps_it_out_and_so_is_the_log(
    origin: str, host: str, code: str, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server:
        told = await refusal(server, origin, host=host)
        assert (told["allowed"], told["code"], told["setting"]) == (False, code, setting)
        refused = await answer(server, handshake(f"Origin: {origin}", host=host))
        assert (refused.status, setting in refused.body.decode()) == (403, True)
    assert [setting in message for message in caplog.messages if "refused" in message] == [True]


@pytest.mark.parametrize(
    ("limits", "code", "setting"),
    [
        ({"max_connections": 1}, "connections", "--max-connections"),
        (
            {"max_connections_per_address": 1, "trusted_proxies": ("127.0.0.1",)},
            "connections_per_address",
            "--max-connections-per-address",
        ),
    ],
)
async def test_a_page_at_a_limit_is_told_which(
    limits: dict[str, Any], code: str, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = "X-Forwarded-For: 203.0.113.7"
    async with serving(**limits) as server, wired(server.port) as first:
        first.send(handshake(client))
        assert await first.status() == 101
        for _ in range(3):
            assert (await answer(server, handshake(client))).status == 503
        told = (await get(server, f"/refusal?origin={OWN}", client)).json
    assert (told["allowed"], told["code"], told["setting"]) == (False, code, setting)
    # One line for all of them: who runs into a limit does so often.
    assert [setting in message for message in caplog.messages if "refused" in message] == [True]


async def test_a_page_is_told_that_the_server_shuts_down() -> None:
    async with serving(shutdown_grace=5) as server, upgraded(server.port, resumable=False):
        stopping = asyncio.create_task(server.manager.drain(5))
        await eventually(lambda: server.manager.shutting_down)
        told = await refusal(server, OWN)
        assert (told["allowed"], told["code"], "setting" in told) == (False, "shutting_down", False)
        await stopping


# ---- Under a path ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/agent", "/apps/agent"])
async def test_all_is_served_under_the_base_path(base: str) -> None:
    async with serving(base_path=base) as server:
        for path, status in {"/": 200, "/app.js": 200, "/healthz": 200, "/asyncapi.json": 200, "/refusal": 200}.items():
            assert (await get(server, base + path)).status == status
        for path in ("/", "/app.js", "/asyncapi.json", f"{base}x/", f"/x{base}/"):
            assert (await get(server, path)).status == 404
        assert (await get(server, "/healthz")).status == 200  # a balancer asks the server itself


async def test_the_base_path_leads_to_its_folder() -> None:
    async with serving(base_path="/apps/agent") as server:
        for method in ("GET", "HEAD"):
            told = await get(server, "/apps/agent?agent=sales", method=method)
            assert told.status == 308
            there = urljoin("https://example.com/apps/agent?agent=sales", told.headers["location"])
            assert there == "https://example.com/apps/agent/?agent=sales"


@pytest.mark.parametrize(
    ("path", "status"), [("/agent/", 101), ("/agent", 101), ("/agent/any", 101), ("/", 404), ("/agents/", 404)]
)
async def test_a_websocket_is_opened_under_the_base_path(path: str, status: int) -> None:
    async with serving(base_path="/agent") as server, wired(server.port) as wire:
        wire.send(handshake(path=path))
        assert await wire.status() == status


@pytest.mark.parametrize(
    ("given", "meant"), [("", ""), ("/", ""), ("agent", "/agent"), ("/agent/", "/agent"), ("a/b", "/a/b")]
)
def test_slashes_around_a_base_path_are_no_matter(given: str, meant: str) -> None:
    assert Settings(base_path=given).base_path == meant


@pytest.mark.parametrize("given", ["/a?b", "/../a", "/a b", "http://example.com/a", "/a/./b"])
def test_a_base_path_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="a path, such as /agent"):
        Settings(base_path=given)
