"""The console in a real browser: links that are cut, pages that are loaded again, servers that go away."""

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from agentsocket.agent.contract import Approval
from agentsocket.console.files import Console
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


async def test_a_link_that_dies_without_a_word_is_said_and_what_runs_does_not_claim_to_work(tab: "Tab") -> None:
    async with stage(ping_interval=0.3) as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        turn = await tab.ask("park")
        await tab.becomes(turn, "running")
        await tab.page.evaluate("Math.random = () => 1000")
        link.fall_silent()
        link.whole = False
        await tab.sees(".pill", "Reconnecting")
        await tab.expect(turn.locator(".status")).to_contain_text("Connection lost")
        said = await turn.locator(".status").inner_text()
        await tab.page.clock.install()
        await tab.page.clock.run_for(3000)
        assert await turn.locator(".status").inner_text() == said
        link.mend()
        agent.gate.set()
        await tab.page.get_by_role("button", name="Try now").click()
        await tab.becomes(turn, "done")


async def test_a_new_conversation_without_a_connection_waits_for_one(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        parked = await tab.ask("park")
        await tab.becomes(parked, "running")
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        await tab.page.get_by_role("button", name="New conversation").click()
        await tab.page.get_by_role("button", name="Stop it, and begin").click()
        turn = await tab.ask("say anew")
        await tab.expect(turn).to_contain_text("Waiting for the connection")
        link.mend()
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await tab.becomes(turn, "done")
        await eventually(agent.cancelled.is_set)
        await tab.expect(".turns > *").to_have_count(1)


async def test_a_new_conversation_on_a_dead_link_is_a_new_session_and_the_old_one_ends(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await tab.open(link.port)
        parked = await tab.ask("park")
        await tab.becomes(parked, "running")
        (old,) = server.manager.sessions
        link.fall_silent()
        await tab.page.get_by_role("button", name="New conversation").click()
        await tab.page.get_by_role("button", name="Stop it, and begin").click()
        await tab.sees(".welcome")
        await tab.expect(".pill").to_contain_text("Logging out")
        turn = await tab.ask("say anew")
        await tab.becomes(turn, "done")
        await tab.expect(".turn").to_have_count(1)
        await eventually(agent.cancelled.is_set)
        assert old not in server.manager.sessions


REFUSALS = [
    ({"code": "host", "message": "This name is not one of the server's.", "setting": "--allowed-hosts"}, "Refused"),
    ({"code": "origin", "message": "Pages of here may not connect.", "setting": "--allowed-origins"}, "Refused"),
    ({"code": "connections", "message": "There is no room.", "setting": "--max-connections"}, "Reconnecting"),
    ({"code": "shutting_down", "message": "The server is shutting down."}, "Reconnecting"),
]


@pytest.mark.parametrize(("refusal", "pill"), REFUSALS, ids=[refusal["code"] for refusal, _ in REFUSALS])
async def test_a_page_that_is_not_let_in_says_why(tab: "Tab", refusal: dict[str, str], pill: str) -> None:
    asked: list[str] = []

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if "Upgrade" in request.headers:
            return connection.respond(HTTPStatus.FORBIDDEN, "No.")
        if path == "/refusal":
            asked.append(query)
            return connection.respond(HTTPStatus.OK, json.dumps({"allowed": False, **refusal}))
        return Console().respond(request.path)

    async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=answer) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await tab.open(port, ready=False)
        banner = await tab.sees(".banner", refusal["message"])
        await tab.expect(banner).to_contain_text(refusal.get("setting", "goes on trying"))
        await tab.expect(banner).not_to_contain_text("cannot be reached")
        await tab.sees(".pill", pill)
        assert asked[0] == f"origin=http%3A%2F%2F127.0.0.1%3A{port}"


@pytest.mark.parametrize("status", [404, 500])
async def test_a_server_that_does_not_say_why_it_lets_nobody_in_is_tried_on(tab: "Tab", status: int) -> None:
    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers or request.path.startswith("/refusal"):
            return connection.respond(status, "No.")
        return Console().respond(request.path)

    async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=answer) as server:
        await tab.open(next(iter(server.sockets)).getsockname()[1], ready=False)
        await tab.sees(".banner", "The server cannot be reached. The page goes on trying.")
    tab.complaints = [text for text in tab.complaints if f"status of {status}" not in text]


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
    await tab.expect(running.locator(".status")).to_contain_text("Connection lost")
    await tab.expect(running.locator(".status")).not_to_contain_text("Working")
    await tab.expect(tab.page.locator("body")).not_to_contain_text("nothing is lost")
    waiting = await tab.ask("What is 4 + 4?")
    process, _ = await start(port)
    await retry(tab)
    await tab.sees(".notice", "A new session has begun")
    await tab.expect(".turns > *").to_contain_text(["2 + 3", "Count down", "A new session has begun", "4 + 4"])
    await tab.becomes(running, "lost")
    await tab.becomes(waiting, "done")
    await tab.expect(waiting.locator(".answer")).to_contain_text("8")
    await tab.expect(".turn .answer >> nth=0").to_contain_text("5")
    await running.get_by_role("button", name="Ask again").click()
    again = tab.page.locator(".turn").last
    await again.get_by_role("button", name="Stop").click()
    await tab.becomes(again, "stopped")
    await kill(process)
