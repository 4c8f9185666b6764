"""Every program and every command line of ``docs/identity.md``, run as they stand, by real clients."""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.identity.document import DOCUMENT, blocks, flags, section
from tests.server_process import ROOT, ServerProcess, server_process
from tests.support import PATIENCE, Peer, eventually
from tests.wire import handshake, text, wired

OWN = "A function of yours"
TABLE = "Your own user table"
API_KEYS = "API keys"
COOKIE = "A cookie of your web application"
ISSUED = "A signed token of an identity provider"
PROXY = "A proxy that logs people in"
ENDS = "When a login ends"
KNOWS = "What the agent knows"

DESK, WHO, ORDERS = blocks(section(KNOWS), "python")

REFUSED = "authentication_failed"
UNAVAILABLE = "authentication_unavailable"


def program(title: str) -> str:
    (found,) = blocks(section(title), "python")
    return found


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def imported(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(source, "recipe", "exec"), names)
    return names


@contextlib.asynccontextmanager
async def recipe(
    folder: Path, arguments: Sequence[str], source: str | None = None, **changes: str
) -> AsyncIterator[ServerProcess]:
    """Run the server by a recipe's own flags, in a folder with its own file and an agent that says who asks."""
    (folder / "agents.py").write_text(WHO)
    if source is not None:
        (folder / arguments[arguments.index("--auth") + 1].partition(":")[0]).write_text(source)
    given = [changes.get(argument, argument) for argument in arguments]
    async with server_process(*given, agent="agents.py:agent", cwd=folder) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(server: ServerProcess, **options: Any) -> AsyncIterator[Peer]:
    async with connect(f"ws://127.0.0.1:{server.port}", **options) as socket:
        yield Peer(socket)


async def admitted(server: ServerProcess, login: Mapping[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
    """Log in and ask; return the user's card and the answer."""
    async with connected(server, **options) as peer:
        user: dict[str, Any] = (await peer.login(**login, features=[]))["user"]
        return user, await peer.ask("hello")


async def refused(server: ServerProcess, login: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    async with connected(server, **options) as peer:
        await peer.send("login", **login)
        return await peer.expect("error")


async def refused_bytes(server: ServerProcess, header: bytes, host: str = "localhost") -> dict[str, Any]:
    """Log in with a header that is no text."""
    async with wired(server.port) as wire:
        wire.send(handshake("X: x", host=host).replace(b"X: x", header))
        assert await wire.status() == 101
        wire.send(text("login"))
        event, data = await wire.receive_event()
        assert event == "error"
        return data


async def test_a_function_of_ones_own_decides(tmp_path: Path) -> None:
    async with recipe(tmp_path, flags(OWN), program(OWN)) as server:
        card, said = await admitted(server, {"token": "open sesame"})
        assert (card, said) == ({"id": "ali", "name": "Ali Baba"}, "ali said hello")
        for wrong in ({}, {"token": "open barley"}):
            error = await refused(server, wrong)
            assert (error["code"], error["message"]) == (REFUSED, "The cave stays shut.")
        await eventually(lambda: server.log.count("The cave stays shut.") == 2)  # a thread writes it
        assert "Traceback" not in server.log
        assert "barley" not in server.log


async def test_a_user_table_of_ones_own(tmp_path: Path) -> None:
    source = program(TABLE)
    names = imported(replaced(source, {'"users.db"': repr(str(tmp_path / "users.db"))}))
    names["enrol"]("ada", "Ada", "correct horse", "admin")
    names["enrol"]("bob", "Bob", "battery staple", "guest")
    async with recipe(tmp_path, flags(TABLE), source) as server:
        for user, name, password in (("ada", "Ada", "correct horse"), ("bob", "Bob", "battery staple")):
            card, said = await admitted(server, {"token": password, "params": {"user": user}})
            assert (card, said) == ({"id": user, "name": name}, f"{user} said hello")
        wrong: list[dict[str, Any]] = [
            {"token": "battery staple", "params": {"user": "ada"}},
            {"token": "", "params": {"user": "ada"}},
            {"params": {"user": "ada"}},
            {"token": "", "params": {"user": "eve"}},
            {"token": "correct horse", "params": {"user": "' OR 1=1 --"}},
            {"token": "correct horse", "params": {"user": ["ada"]}},
            {"token": "correct horse"},
        ]
        for login in wrong:
            assert (await refused(server, login))["code"] == REFUSED, login
        assert "Traceback" not in server.log
        assert "correct horse" not in server.log
    with contextlib.closing(sqlite3.connect(tmp_path / "users.db")) as users:
        assert b"correct horse" not in b"".join(users.serialize().splitlines())


async def test_what_an_open_database_has_to_say_is_for_the_operator(tmp_path: Path) -> None:
    async with recipe(tmp_path, flags(TABLE), program(TABLE)) as server:
        error = await refused(server, {"token": "correct horse", "params": {"user": "ada"}})
        assert error["code"] == UNAVAILABLE
        assert "users" not in error["message"]
        await eventually(lambda: f"error_id={error['error_id']}" in server.log)
        assert "no such table" in server.log
        assert "correct horse" not in server.log


async def test_api_keys(tmp_path: Path) -> None:
    key = os.urandom(32).hex()
    shown = next(iter(imported(program(API_KEYS))["KEYS"]))
    assert len(shown) == len(hashlib.sha256().hexdigest())
    source = replaced(program(API_KEYS), {shown: hashlib.sha256(key.encode()).hexdigest()})
    async with recipe(tmp_path, flags(API_KEYS), source) as server:
        card, said = await admitted(server, {"token": key})
        assert (card, said) == ({"id": "ci", "name": "The build"}, "ci said hello")
        bearer = {"Authorization": f"Bearer {key}"}
        assert (await admitted(server, {}, additional_headers=bearer))[1] == "ci said hello"
        for wrong in ("", key[:-1], key.upper() + "x", hashlib.sha256(key.encode()).hexdigest()):
            error = await refused(server, {"token": wrong})
            assert (error["code"], error["message"]) == (REFUSED, "There is no such API key.")
        assert (await refused_bytes(server, b"Authorization: Bearer \xff\xfe"))["code"] == REFUSED
        assert "Traceback" not in server.log
        assert key not in server.log


class WebApplication:
    """A little web application: a login that sets a cookie, and ``/whoami``."""

    def __init__(self) -> None:
        self.people = {"ada": "Ada", "bob": "Bob"}
        self.cookies: dict[str, str] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = lines[0].split()[1]
        cookie = next((line.partition("session=")[2] for line in lines if line.lower().startswith("cookie:")), "")
        head, body = "401 Unauthorized\r\n", ""
        if path.startswith("/login/"):
            made = self.cookies.setdefault(path.removeprefix("/login/"), os.urandom(16).hex())
            head = f"200 OK\r\nSet-Cookie: session={made}; HttpOnly; SameSite=Lax; Path=/\r\n"
        elif path == "/whoami":
            for user, made in self.cookies.items():
                if made == cookie:
                    head, body = "200 OK\r\n", f'{{"id": "{user}", "name": "{self.people[user]}"}}'
        writer.write(f"HTTP/1.1 {head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        writer.close()


@contextlib.asynccontextmanager
async def web_application() -> AsyncIterator[tuple[str, asyncio.Server]]:
    server = await asyncio.start_server(WebApplication().answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", server


async def logged_in_at(url: str, user: str) -> str:
    """Log in at the web application as a browser does; return the ``Cookie`` header that it sends from then on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(f"GET /login/{user} HTTP/1.1\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("Set-Cookie: ")[2].partition(";")[0]


async def test_a_cookie_of_a_web_application(tmp_path: Path) -> None:
    async with web_application() as (url, application):
        source = replaced(program(COOKIE), {"http://127.0.0.1:8000": url})
        async with recipe(tmp_path, flags(COOKIE), source) as server:
            own = f"http://127.0.0.1:{server.port}"
            for user, name in (("ada", "Ada"), ("bob", "Bob")):
                sent = {"Cookie": f"theme=dark; {await logged_in_at(url, user)}"}
                card, said = await admitted(server, {}, additional_headers=sent, origin=own)
                assert (card, said) == ({"id": user, "name": name}, f"{user} said hello")
            for cookie in ("session=guessed", "theme=dark", f"{sent['Cookie']}; session=other"):
                error = await refused(server, {}, additional_headers={"Cookie": cookie}, origin=own)
                assert error["code"] == REFUSED, cookie
            odd = b"Cookie: session=\xff\xfe\r\nOrigin: " + own.encode()
            assert (await refused_bytes(server, odd, host=own.removeprefix("http://")))["code"] == REFUSED
            assert (await refused(server, {}))["code"] == REFUSED  # a script, without a cookie
            for foreign in ("https://evil.example", "http://127.0.0.1:1", None):
                with pytest.raises(InvalidStatus, match="403"):
                    await admitted(server, {}, additional_headers=sent, origin=foreign)
            assert "Traceback" not in server.log
            application.close()
            error = await refused(server, {}, additional_headers=sent, origin=own)
            assert error["code"] == UNAVAILABLE
            assert sent["Cookie"].rpartition("=")[2] not in server.log


async def test_a_signed_token_of_an_identity_provider(tmp_path: Path) -> None:
    pytest.importorskip("jwt")
    from tests.identity.keys import jwk, key_server, token  # noqa: PLC0415  # it needs the extra

    arguments = flags(ISSUED)
    url, audience, issuer = (
        arguments[arguments.index(flag) + 1] for flag in ("--jwt-jwks-url", "--jwt-audience", "--jwt-issuer")
    )
    assert url.startswith("https://")
    right: dict[str, Any] = {"aud": audience, "iss": issuer}
    async with (
        key_server(jwk("rsa", kid="1"), jwk("ec", kid="2")) as published,
        recipe(tmp_path, arguments, **{url: published.url}) as server,
    ):
        for fresh in (token("rsa", kid="1", **right), token("ec", kid="2", sub="bob", name="Bob", **right)):
            card, said = await admitted(server, {"token": fresh})
            assert said == f"{card['id']} said hello"
        assert published.asked == 1
        forged = token("rsa", 1, kid="1", **right)
        assert (await refused(server, {"token": forged}))["message"] == "The token is not valid."
        assert "Traceback" not in server.log
        assert forged not in server.log


async def test_a_header_is_believed_of_the_proxy_that_is_named_and_of_nobody_else(tmp_path: Path) -> None:
    """Through a real nginx and a real Caddy it is tried in tests/deployment."""
    named = {"X-Remote-User": "ada"}
    arguments = flags(PROXY)
    async with recipe(tmp_path, arguments) as server:
        own = f"http://127.0.0.1:{server.port}"
        assert (await admitted(server, {}, additional_headers=named, origin=own))[1] == "ada said hello"
        twice = [("X-Remote-User", "ada"), ("X-Remote-User", "bob")]
        for wrong in ([], [("X-Remote-User", " ")], twice, [("X-Remote-User", "ada\x80")]):
            assert (await refused(server, {}, additional_headers=wrong, origin=own))["code"] == REFUSED
        assert (await refused(server, {"token": "ada", "params": {"X-Remote-User": "ada"}}))["code"] == REFUSED
        with pytest.raises(InvalidStatus, match="403"):
            await admitted(server, {}, additional_headers=named, origin="http://localhost:1")
    elsewhere = ["192.0.2.1" if argument == "127.0.0.1" else argument for argument in arguments]
    elsewhere[elsewhere.index("--host") + 1] = "127.0.0.1"
    async with recipe(tmp_path, elsewhere) as server:
        for forwarded in ({}, {"X-Forwarded-For": "192.0.2.1"}):
            sent = named | forwarded
            own = f"http://127.0.0.1:{server.port}"
            assert (await refused(server, {}, additional_headers=sent, origin=own))["code"] == REFUSED


@contextlib.asynccontextmanager
async def known(folder: Path, agent: str) -> AsyncIterator[Peer]:
    """Be Ada, with an agent of the document's."""
    (folder / "known.py").write_text(agent)
    (folder / "cave.py").write_text(program(OWN).replace('"ali", "Ali Baba"', '"ada", "Ada"'))
    async with server_process(*flags(OWN), agent="known.py:agent", cwd=folder) as server, connected(server) as peer:
        yield peer


async def test_a_factory_is_told_who_its_agent_is_for(tmp_path: Path) -> None:
    async with known(tmp_path, f"{DESK}\nagent = Desk\n") as peer:
        await peer.login(token="open sesame", params={"language": "French"})
        assert await peer.ask("hello") == "Hello Ada, in French."
        await peer.send("agent_request", message="hello", params={"language": "Welsh"})
        assert (await peer.until("agent_response"))[-1][1]["response"] == "Hello Ada, in Welsh."


async def test_a_tool_knows_who_asks(tmp_path: Path) -> None:
    agent = f"{ORDERS}\nasync def agent(message):\n    return ', '.join(my_orders())\n"
    async with known(tmp_path, agent) as peer:
        await peer.login(token="open sesame", params={"user": "bob"})
        assert await peer.ask("hello") == "a kettle"


async def test_the_client_asks_for_its_token(tmp_path: Path) -> None:
    async with recipe(tmp_path, flags(OWN), program(OWN)) as server:
        source = replaced(program(ENDS), {"WebSocketClient(": f'WebSocketClient("ws://127.0.0.1:{server.port}", '})
        environment = {**os.environ, "TOKEN": "open sesame"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", source, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(2 * PATIENCE):
            out, err = await process.communicate()
        assert (out.decode(), err.decode()) == ("ali said Who am I?\n", "")


def test_every_program_of_the_document_is_run() -> None:
    titles = (OWN, TABLE, API_KEYS, COOKIE, ENDS)
    assert len(blocks(DOCUMENT, "python")) == len([DESK, WHO, ORDERS]) + len(titles)
    assert sum(len(blocks(section(title), "python")) for title in titles) == len(titles)
