"""The console in a real browser: links that are cut, pages that are loaded again, servers that go away."""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentsocket.agent.contract import Approval
from tests.browser.agents import stage
from tests.browser.link import linked
from tests.support import PATIENCE, eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]


async def retry(tab: "Tab") -> None:
    """Have the page try again now, as it does when the browser says that the network is back."""
    await tab.page.evaluate("void dispatchEvent(new Event('online'))")
    await tab.ready()


async def numbers(tab: "Tab") -> list[int]:
    """Return the numbers of the frames that the page has received."""
    return [
        entry["frame"]["data"]["seq"]
        for entry in await tab.frames()
        if entry["direction"] == "received" and "seq" in entry["frame"]["data"]
    ]


async def test_a_cut_link_loses_nothing_and_doubles_nothing(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        turn = await tab.ask("stream")
        agent.steps.put_nowait("one ")
        await tab.expect(turn.locator(".answer")).to_have_text("one")
        for piece in ("two ", "three "):
            link.cut()
            await tab.sees('.pill[data-tone="busy"]', "Reconnecting")
            await tab.sees(".banner", "goes on trying")
            agent.steps.put_nowait(piece)
            await eventually(agent.steps.empty)
            link.mend()
            await retry(tab)
        agent.steps.put_nowait("four")
        agent.steps.put_nowait("")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".answer")).to_have_text("one two three four")
        assert await numbers(tab) == list(range(1, 7))
        await tab.expect(".notice").to_have_count(0)


async def test_it_reconnects_by_itself_or_at_once_when_told_to(tab: "Tab") -> None:
    async with stage() as (_, server), linked(server.port) as link:
        await tab.open(link.port)
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        link.mend()
        await tab.ready()
        await tab.page.evaluate("Math.random = () => 1000")
        link.cut()
        await tab.sees(".pill", "Reconnecting in")
        link.mend()
        await tab.page.get_by_role("button", name="Try now").click()
        await tab.ready()


async def test_what_is_asked_while_the_link_is_cut_is_asked_once_it_stands(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        turn = await tab.ask("say again")
        await tab.expect(turn).to_contain_text("Waiting for the connection")
        link.mend()
        await retry(tab)
        await tab.becomes(turn, "done")
        assert agent.runs == ["say again"]


async def test_an_answer_and_a_stop_given_while_the_link_is_cut_arrive(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        asking, parked = await tab.ask("approve"), await tab.ask("park")
        await tab.becomes(parked, "running")
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        await asking.get_by_role("button", name="Approve", exact=True).click()
        await parked.get_by_role("button", name="Stop").click()
        await tab.becomes(parked, "stopping")
        link.mend()
        await retry(tab)
        await tab.becomes(asking, "done")
        await tab.becomes(parked, "stopped")
        assert agent.answers == [Approval(approved=True)]


async def test_a_reload_in_the_middle_of_an_answer_loses_nothing_and_doubles_nothing(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        await tab.ask_and_wait("emit the first answer")
        asking, turn = await tab.ask("approve"), await tab.ask("stream")
        agent.steps.put_nowait("**before** ")
        await tab.expect(turn.locator("strong")).to_have_text("before")
        await tab.page.goto("about:blank")
        agent.steps.put_nowait("meanwhile ")
        await eventually(agent.steps.empty)
        await tab.page.go_back()
        await tab.ready()
        agent.steps.put_nowait("after")
        agent.steps.put_nowait("")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".answer")).to_have_text("before meanwhile after")
        await tab.expect(".said").to_contain_text(["emit the first answer", "approve", "stream"])
        await tab.expect(".turn .answer >> nth=0").to_have_text("the first answer")
        await asking.get_by_role("button", name="Approve", exact=True).click()
        await tab.becomes(asking, "done")
        await tab.page.reload()
        await tab.ready()
        await tab.expect(asking.locator(".question")).to_contain_text("Approved")
        found = await numbers(tab)
        assert found == list(range(1, len(found) + 1))
        assert agent.runs == ["emit the first answer", "approve", "stream"]


async def test_a_page_that_has_lost_its_frames_is_told_everything_again(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("emit hello")
        await tab.page.evaluate(
            """() => {
                addEventListener("pagehide", () => {
                    for (const key of Object.keys(sessionStorage)) {
                        if (!key.endsWith("head")) { sessionStorage.removeItem(key); continue; }
                        const head = JSON.parse(sessionStorage.getItem(key));
                        head.session.last_seq = 0;
                        sessionStorage.setItem(key, JSON.stringify(head));
                    }
                });
            }"""
        )
        await tab.page.reload()
        await tab.ready()
        turn = tab.page.locator(".turn")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".answer")).to_contain_text("hello")


async def test_a_browser_without_room_keeps_the_session_and_asks_for_its_frames(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.page.evaluate(
            """() => {
                const put = Storage.prototype.setItem;
                Storage.prototype.setItem = function (key, value) {
                    if (key.includes("frames")) throw new DOMException("full", "QuotaExceededError");
                    put.call(this, key, value);
                };
            }"""
        )
        await tab.ask_and_wait("emit hello")
        await tab.page.reload()
        await tab.ready()
        await tab.expect(".turn .answer").to_contain_text("hello")
        assert len(server.manager.sessions) == 1


async def test_where_frames_are_gone_the_page_says_so_and_goes_on(tab: "Tab") -> None:
    async with stage(resume_log_frames=3) as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        turn = await tab.ask("stream")
        agent.steps.put_nowait("one ")
        await tab.expect(turn.locator(".answer")).to_have_text("one")
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        for piece in ("two ", "three ", "four ", "five "):
            agent.steps.put_nowait(piece)
        await eventually(agent.steps.empty)
        link.mend()
        await retry(tab)
        await tab.expect(turn.locator(".gap")).to_contain_text("Some frames were missed")
        await tab.expect(turn.locator(".markdown")).to_have_text("one two three four five")
        agent.steps.put_nowait("six")
        agent.steps.put_nowait("")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".markdown")).to_have_text("one two three four five six")


async def test_another_window_takes_the_session_and_this_one_says_so(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("emit hello")
        async with tab.page.context.expect_page() as opened:
            await tab.page.evaluate("void open(location.href)")
        other = await opened.value
        await tab.expect(other.locator(".turn .answer")).to_have_text("hello")
        await tab.sees(".banner", "taken up in another window")
        await tab.page.locator(".banner").get_by_role("button", name="New conversation").click()
        await tab.ready()
        await eventually(lambda: len(server.manager.sessions) == 2)


async def start(port: int = 0) -> tuple[Process, int]:
    """Run the server as its users do; return it and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "websocket_server.py", "--host", "127.0.0.1", "--port", str(port), cwd=ROOT, stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while True:
            found = re.search(rb"//[\w.]+:(\d+)", await process.stdout.readline())
            if found:
                return process, int(found[1])


async def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.communicate()


async def test_a_server_that_is_killed_and_started_again_gets_a_new_session_and_the_page_says_so(tab: "Tab") -> None:
    process, port = await start()
    await tab.open(port)
    await tab.ask_and_wait("What is 2 + 3?")
    running = await tab.ask("Count down from 60")
    await tab.becomes(running, "running")
    await kill(process)
    await tab.sees(".pill", "Reconnecting")
    await tab.sees(".banner", "goes on trying")
    waiting = await tab.ask("What is 4 + 4?")
    process, _ = await start(port)
    await retry(tab)
    await tab.sees(".notice", "A new session has begun")
    await tab.becomes(running, "lost")
    await tab.becomes(waiting, "done")
    await tab.expect(waiting.locator(".answer")).to_contain_text("8")
    await tab.expect(".turn .answer >> nth=0").to_contain_text("5")
    await running.get_by_role("button", name="Ask again").click()
    again = tab.page.locator(".turn").last
    await again.get_by_role("button", name="Stop").click()
    await tab.becomes(again, "stopped")
    await kill(process)
