"""What ``docs/identity.md`` says of a proxy that logs people in, held by a real nginx and a real Caddy."""

import asyncio
import base64
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from agentsocket import AgentServer
from agentsocket.agent.contract import Turn
from agentsocket.settings import load_settings
from tests.deployment.proxies import KINDS, Kind, Proxy, running
from tests.identity.document import blocks, flags, section
from tests.support import Scripted, connected, serving

TITLE = "A proxy that logs people in"
PEOPLE = {"ada": "correct horse", "bob": "battery staple"}

BCRYPT = {
    "ada": "$2a$04$oaQV.sANXkPV9ml9JZbJcenYLaR2hHm5cy2pSXPRDRxR7gixLYICa",
    "bob": "$2a$04$1.YVpu1wNQLizuKblzAKGe67Aa6F2cMYMIPFSF8cI9.4QDaXo7qpi",
}
"""Their passwords as Caddy wants them, by a cost of 4: by that of ``caddy hash-password`` each takes a second."""

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for a certificate")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found = KINDS[request.param]
    if found.binary is None:
        pytest.skip(f"needs {found.name}: apt-get install {found.name}")
    return found


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def changes(kind: Kind, folder: Path) -> dict[str, str]:
    """Return what the document adds to the configuration of ``docs/deployment.md``, with people who have passwords."""
    (block,) = blocks(section(TITLE), kind.language)
    assert kind.binary is not None
    if kind.name == "nginx":
        file = folder / "users"
        file.write_text(
            "".join(f"{who}:{output('openssl', 'passwd', '-apr1', word)}\n" for who, word in PEOPLE.items())
        )
        return {
            "        proxy_buffering off;\n": f"        proxy_buffering off;\n{block}",
            "/etc/nginx/users": f"{file}",
        }
    version = re.search(r"(\d+)\.(\d+)", output(kind.binary, "version"))
    if version is not None and (int(version[1]), int(version[2])) < (2, 8):
        block = block.replace("basic_auth {", "basicauth {")
    people = "\n\t\t".join(f"{who} {hashed}" for who, hashed in BCRYPT.items())
    assert "ada $2a$14$hash" in block
    return {"\treverse_proxy 127.0.0.1:8765\n": block.replace("ada $2a$14$hash", people)}


class Asked(Scripted):
    """An agent that says who asks."""

    def __init__(self) -> None:
        super().__init__(who=self.who)

    async def who(self, _: str, turn: Turn) -> str:
        assert turn.context.user is not None
        return turn.context.user.id


@contextlib.asynccontextmanager
async def deployed(kind: Kind, folder: Path) -> AsyncIterator[tuple[AgentServer, Proxy]]:
    """Run a server by the document's command line behind a proxy that logs people in as the document says."""
    settings = load_settings(flags(TITLE), {}).model_dump(exclude={"host", "port"}, exclude_unset=True)
    async with (
        serving(Asked, **settings) as server,
        running(kind, folder, server.port, changes=await asyncio.to_thread(changes, kind, folder)) as proxy,
    ):
        yield server, proxy


def basic(who: str, password: str | None = None) -> tuple[str, str]:
    """Return the header by which a browser logs in at such a proxy."""
    pair = f"{who}:{PEOPLE[who] if password is None else password}"
    return "Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


async def who_asks(proxy: Proxy, *headers: tuple[str, str], login: dict[str, Any] | None = None) -> str:
    async with proxy.connected(additional_headers=list(headers), origin=f"https://{proxy.host}") as peer:
        card = (await peer.login(**login or {}, features=[]))["user"]
        assert await peer.ask("who") == card["id"]
        return str(card["id"])


async def test_whom_the_proxy_has_logged_in_is_who_asks_and_nothing_that_a_client_sends_changes_that(
    kind: Kind, tmp_path: Path
) -> None:
    async with deployed(kind, tmp_path) as (_, proxy):
        for who in PEOPLE:
            assert await who_asks(proxy, basic(who)) == who
        for name in ("X-Remote-User", "x-remote-user", "X_Remote_User"):
            assert await who_asks(proxy, basic("bob"), (name, "ada")) == "bob"
            assert await who_asks(proxy, basic("bob"), (name, "ada"), (name, "ada")) == "bob"
        assert await who_asks(proxy, basic("bob"), ("Connection", "X-Remote-User")) == "bob"
        claims: dict[str, Any] = {"token": "ada", "params": {"X-Remote-User": "ada", "user": "ada"}}
        assert await who_asks(proxy, basic("bob"), login=claims) == "bob"


async def test_whom_the_proxy_does_not_know_does_not_get_through(kind: Kind, tmp_path: Path) -> None:
    named = ("X-Remote-User", "ada")
    async with deployed(kind, tmp_path) as (_, proxy):
        for headers in ([], [named], [basic("bob", PEOPLE["ada"]), named]):
            with pytest.raises(InvalidStatus, match="401"):
                await who_asks(proxy, *headers)


async def test_a_page_of_somebody_elses_cannot_speak_for_whoever_is_logged_in(kind: Kind, tmp_path: Path) -> None:
    async with deployed(kind, tmp_path) as (_, proxy):
        for origin in ("https://evil.example", f"http://{proxy.host}", "http://localhost:1", None):
            with pytest.raises(InvalidStatus, match="403"):
                async with proxy.connected(additional_headers=[basic("ada")], origin=origin):
                    pass


async def test_past_the_proxy_from_elsewhere_the_header_says_nothing() -> None:
    settings = load_settings(flags(TITLE), {}).model_dump(exclude_unset=True)
    settings |= {"host": "127.0.0.1", "port": 0, "trusted_proxies": ("127.0.0.9",)}
    for forwarded in ((), (("X-Forwarded-For", "127.0.0.9"),), (("X-Forwarded-For", "127.0.0.1, 127.0.0.9"),)):
        async with serving(Asked, **settings) as server:
            own = f"http://127.0.0.1:{server.port}"
            sent = [("X-Remote-User", "ada"), *forwarded]
            async with connected(server, additional_headers=sent, origin=own) as peer:
                await peer.send("login")
                assert (await peer.expect("error"))["code"] == "authentication_failed"
