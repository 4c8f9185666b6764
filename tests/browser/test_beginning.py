"""The console in a real browser: what stands there before anything was said, and how one begins again."""

from typing import TYPE_CHECKING

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.offline_agent import create_agent
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.browser.agents import stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETTINGS = Settings(host="127.0.0.1", port=0, shutdown_grace=0)


class Desk:
    title = "Front <b>desk</b>"
    description = "Answers questions about orders."
    starters = ("Where is my order?", "Where is <i>hers</i>?", "Send it back.", "A fourth one.")

    async def run(self, message: str, turn: Turn) -> str:
        del turn
        return f"The desk says: {message}"


class Till:
    async def run(self, message: str, turn: Turn) -> str:
        del turn
        return f"The till says: {message}"


async def test_an_empty_console_says_what_the_agent_can_do_and_offers_three_beginnings(tab: "Tab") -> None:
    async with AgentServer(SETTINGS, {"desk": Desk}) as server:
        await tab.open(server.port)
        await tab.expect(".welcome h2").to_have_text("Front <b>desk</b>")
        await tab.expect(".bar h1").to_have_text("Front <b>desk</b>")
        await tab.sees(".welcome", "Answers questions about orders.")
        await tab.expect(".starters button").to_have_text(
            ["Where is my order?", "Where is <i>hers</i>?", "Send it back."]
        )
        await tab.expect(".agents").to_have_count(0)
        await tab.page.locator(".starters button").first.click()
        await tab.expect(".said").to_contain_text("Where is my order?")
        await tab.expect(".answer").to_have_text("The desk says: Where is my order?")
        await tab.expect(".welcome").to_be_hidden()


async def test_the_agent_that_ships_can_be_tried_at_a_click(tab: "Tab") -> None:
    async with AgentServer(SETTINGS, {"default": create_agent}) as server:
        await tab.open(server.port)
        await tab.expect(".starters button").to_have_count(3)
        await tab.page.locator(".starters button").first.click()
        await tab.expect(".tool").to_have_count(3)


async def test_one_of_several_agents_is_chosen_and_each_has_its_own_conversation(tab: "Tab") -> None:
    async with AgentServer(SETTINGS, {"desk": Desk, "till": Till}) as server:
        await tab.open(server.port)
        agents = tab.page.get_by_role("navigation", name="Agents").get_by_role("link")
        await tab.expect(agents).to_have_text(["Front <b>desk</b>", "till"])
        await tab.expect(agents.first).to_have_attribute("aria-current", "page")
        await tab.ask_and_wait("one")
        await tab.page.get_by_role("button", name="New conversation").click()
        await agents.last.click()
        await tab.ready()
        await tab.expect(".bar h1").to_have_text("till")
        await tab.expect(agents.last).to_have_attribute("aria-current", "page")
        turn = await tab.ask_and_wait("two")
        await tab.expect(turn.locator(".answer")).to_have_text("The till says: two")


async def test_an_agent_that_is_not_there_is_told_with_those_that_are(tab: "Tab") -> None:
    async with AgentServer(SETTINGS, {"desk": Desk, "till": Till}) as server:
        await tab.page.goto(f"http://127.0.0.1:{server.port}/?agent=typo")
        await tab.sees(".pill", "No such agent")
        await tab.sees(".banner", "no agent of that name")
        await tab.page.locator(".banner").get_by_role("link", name="till").click()
        await tab.ready()
        await tab.ask_and_wait("hello")
        await tab.expect(".answer").to_have_text("The till says: hello")


async def test_a_new_conversation_is_empty_with_the_one_before_at_hand_also_after_a_reload(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        await tab.ask_and_wait("say one")
        await tab.page.get_by_role("button", name="New conversation").click()
        await tab.sees(".welcome")
        await tab.expect(".turn").to_have_count(0)
        await tab.ready()
        await eventually(lambda: agent.closed == 1 and len(server.manager.sessions) == 1)
        await tab.ask_and_wait("say two")
        await tab.page.reload()
        await tab.ready()
        await tab.expect(".said").to_contain_text(["say two"])
        await tab.page.get_by_role("button", name="Show the earlier conversation").click()
        await tab.expect(".said").to_contain_text(["say one", "say two"])
        await tab.expect(".turns > *").to_have_count(3)
        await tab.expect(".notice").to_contain_text("does not remember")


async def test_a_new_conversation_asks_before_it_stops_what_runs(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("park")
        await tab.becomes(turn, "running")
        await tab.page.get_by_role("button", name="New conversation").click()
        await tab.sees("dialog[open]", "One request is not answered yet")
        await tab.page.get_by_role("button", name="Not now").click()
        await tab.becomes(turn, "running")
        await tab.page.get_by_role("button", name="New conversation").click()
        await tab.page.get_by_role("button", name="Stop it, and begin").click()
        await tab.sees(".welcome")
        await eventually(agent.cancelled.is_set)
        await tab.ready()
        await tab.ask_and_wait("say again")


async def test_every_turn_can_be_copied_asked_again_and_edited(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        done, failed = await tab.ask_and_wait("say one"), await tab.ask_and_wait("fail", "failed")
        stopped = await tab.ask("stream")
        agent.steps.put_nowait("so far")
        await tab.expect(stopped.locator(".answer")).to_have_text("so far")
        await stopped.get_by_role("button", name="Stop").click()
        await tab.becomes(stopped, "stopped")
        for turn, message, answer in (
            (done, "say one", "say one"),
            (failed, "fail", ""),
            (stopped, "stream", "so far"),
        ):
            await turn.get_by_role("button", name="Copy the message").click()
            assert await tab.clipboard() == message
            copy = turn.get_by_role("button", name="Copy the answer")
            await tab.expect(copy).to_have_count(1 if answer else 0)
            if answer:
                await copy.click()
                assert await tab.clipboard() == answer
            await tab.page.fill("#message", "a draft")
            await turn.get_by_role("button", name="Edit").click()
            await tab.expect("#message").to_have_value(message)
            await tab.expect("#message").to_be_focused()
            await tab.page.keyboard.press("Control+z")
            await tab.expect("#message").to_have_value("a draft")
        await done.get_by_role("button", name="Ask again").click()
        await tab.becomes(tab.page.locator(".turn").last, "done")
        assert agent.runs == ["say one", "fail", "stream", "say one"]


BLOCKED = {
    "raises": "get() { throw new DOMException('denied', 'SecurityError'); }",
    "is null": "get() { return null; }",
    "is full": """get() {
        const full = () => { throw new DOMException("full", "QuotaExceededError"); };
        return { getItem: () => null, setItem: full, removeItem() {} };
    }""",
    "always raises": """get() {
        const broken = () => { throw new Error("broken"); };
        return { getItem: broken, setItem: broken, removeItem: broken };
    }""",
}


@pytest.mark.parametrize("how", BLOCKED)
async def test_where_the_browser_keeps_nothing_the_page_works_from_memory(tab: "Tab", how: str) -> None:
    for name in ("localStorage", "sessionStorage"):
        await tab.page.add_init_script(f"Object.defineProperty(window, '{name}', {{ {BLOCKED[how]} }})")
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("say hello")
        theme = tab.page.locator(".theme")
        for label in ("light", "dark", "as the system"):
            await theme.click()
            await tab.expect(theme).to_have_attribute("aria-label", f"Theme: {label}")
        await tab.page.locator(".toggle").click()
        await tab.expect(".inspector").to_be_hidden()
        await tab.page.reload()
        await tab.ready()
        await tab.ask_and_wait("say still here")
