"""The console and whoever logs in: who it is, how a login fails, and how it ends."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentsocket import AgentServer, AuthError, LoginAttempt, Settings, User
from tests.browser.agents import Stage

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Door:
    """Knows ada and bob by their names as tokens; what else it does is the test's."""

    def __init__(self) -> None:
        self.agent = Stage()
        self.refusal = "The token is not valid."
        self.broken = False
        self.life: float | None = None
        """Seconds that a login holds."""
        self.spent: set[str] = set()
        """Tokens that are not taken any more."""

    async def authenticate(self, login: LoginAttempt) -> User:
        if self.broken:
            raise RuntimeError("the identity provider is away")
        user_id = (login.token or "").partition(" ")[0]
        if user_id not in {"ada", "bob"} or login.token in self.spent:
            raise AuthError(self.refusal)
        ends = None if self.life is None else datetime.now(UTC) + timedelta(seconds=self.life)
        return User(user_id, user_id.title(), expires_at=ends)


@contextlib.asynccontextmanager
async def guarded(**settings: int) -> AsyncIterator[tuple[Door, int]]:
    door = Door()
    where = Settings(host="127.0.0.1", port=0, **settings)
    async with AgentServer(where, {"agent": lambda: door.agent}, authenticate=door.authenticate) as server:
        yield door, server.port


async def give(tab: "Tab", token: str) -> None:
    field = tab.page.get_by_role("textbox", name="Token")
    await field.fill(token)
    await field.press("Enter")


async def test_it_shows_who_is_logged_in_and_keeps_what_was_said_from_somebody_else(tab: "Tab") -> None:
    async with guarded() as (_, port):
        await tab.open(port, ready=False)
        await give(tab, "ada")
        await tab.sees(".pill", "Connected as Ada")
        await tab.ask_and_wait("say a secret of ada's")
        await tab.page.locator(".pill").click()
        await tab.sees(".panel", "Ada (ada)")
        await tab.page.get_by_role("button", name="Log in as somebody else").click()
        await give(tab, "bob")
        await tab.sees(".pill", "Connected as Bob")
        await tab.expect(".turn").to_have_count(0)
        assert "secret" not in await tab.page.evaluate("JSON.stringify(sessionStorage) + document.body.textContent")
        await tab.ask_and_wait("say hello")
        await tab.page.reload()
        await tab.sees(".pill", "Connected as Bob")
        await tab.expect(".turn").to_have_count(1)


async def test_where_no_token_is_wanted_it_says_what_the_server_said(tab: "Tab") -> None:
    async with guarded() as (door, port):
        door.refusal = "The proxy in front of this server has logged nobody in."
        await tab.open(port, ready=False)
        await tab.sees(".banner", door.refusal)
        await tab.sees(".pill", "Login refused")
        await tab.expect("dialog").to_be_hidden()
        await tab.page.locator(".banner").get_by_role("button", name="Enter a token").click()
        await give(tab, "ada")
        await tab.sees(".pill", "Connected as Ada")


async def test_a_login_that_ends_takes_a_fresh_token_and_the_conversation_goes_on(tab: "Tab") -> None:
    async with guarded() as (door, port):
        door.life = 3
        await tab.open(port, ready=False)
        await give(tab, "ada 1")
        await tab.ask_and_wait("say before")
        door.spent.add("ada 1")
        await tab.page.locator(".banner").get_by_role("button", name="Enter a fresh token").click()
        await give(tab, "nobody")
        await tab.sees("dialog .problem", "did not accept")
        door.life = None
        await give(tab, "ada 2")
        await tab.expect("dialog").to_be_hidden()
        await tab.expect(".banner").to_be_hidden()
        await tab.ask_and_wait("say after")
        await tab.expect(".turn").to_have_count(2)
        await tab.expect(".notice").to_have_count(0)
        assert "ada 2" not in str(await tab.frames())


async def test_logins_that_cannot_be_checked_and_too_many_that_failed_are_told_apart(tab: "Tab") -> None:
    async with guarded(max_failed_logins=1) as (door, port):
        door.broken = True
        await tab.open(port, ready=False)
        await tab.sees(".banner", "cannot check logins just now")
        await tab.sees(".pill", "Logins unavailable")
        door.broken = False
        await tab.sees("dialog", "wants a token")
        await give(tab, "wrong")
        await tab.sees(".banner", "Too many logins have failed")
        await tab.sees(".pill", "Told to wait")
        await tab.expect(".turns .error").to_have_count(0)
