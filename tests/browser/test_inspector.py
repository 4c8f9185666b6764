"""The console in a real browser: the frame inspector, long conversations, themes, a phone."""

import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.agents import stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
TIMES = "\N{MULTIPLICATION SIGN}"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


async def test_every_frame_is_listed_in_both_directions_with_time_and_size(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("say héllo")
        rows = tab.page.locator(".row")
        asked = ["login", "login_response", "agent_request"]
        events = [*asked, "agent_request_received", "agent_output", "agent_response"]
        await tab.expect(rows.locator(".event")).to_have_text(events)
        await tab.expect(rows.nth(2)).to_have_class("row sent")
        await tab.expect(rows.nth(3)).to_have_class("row received")
        await rows.nth(2).click()
        detail = tab.page.locator(".detail")
        await tab.expect(detail).to_contain_text('"message": "say héllo"')
        await detail.get_by_role("button", name="Copy this frame as JSON").click()
        frame = json.loads(await tab.clipboard())
        assert frame["event"] == "agent_request"
        size = len(json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode())
        await tab.expect(rows.nth(2).locator(".size")).to_have_text(f"{size} B")


async def test_frames_can_be_filtered_by_task_and_event_and_copied(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        for message in ("say one", "say two"):
            await tab.ask_and_wait(message)
        events, tasks = (tab.page.get_by_label(f"Filter by {name}") for name in ("event", "task"))
        await events.select_option("agent_output")
        assert [entry["frame"]["data"]["output"] for entry in await tab.frames()] == ["one", "two"]
        await tasks.select_option(index=2)
        assert [entry["frame"]["data"]["output"] for entry in await tab.frames()] == ["two"]
        turn = tab.page.locator(".turn").first
        await turn.get_by_role("button", name="Frames").click()
        shown = await tab.frames()
        events_of_task = ["agent_request_received", "agent_output", "agent_response"]
        assert [entry["frame"]["event"] for entry in shown] == events_of_task
        assert {entry["frame"]["data"]["task_id"] for entry in shown} == {await turn.get_attribute("data-task")}
        await tab.page.get_by_role("button", name="Clear").click()
        assert await tab.frames() == []


async def test_text_that_streams_is_one_row_with_its_count(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        first, second = await tab.ask("stream"), await tab.ask("stream")
        await tab.becomes(second, "running")
        for piece in ("one ", "two ", "three ", "four "):  # to one and to the other, in turns
            agent.steps.put_nowait(piece)
            await eventually(agent.steps.empty)
        outputs = tab.page.locator(".row", has_text="agent_output")
        await tab.expect(outputs.locator(".event")).to_have_text([f"agent_output {TIMES} 2"] * 2)
        await tab.expect(outputs.first.locator(".glance")).to_have_text("one three ")
        await tab.expect(outputs.first.locator(".when")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d$"))
        await outputs.first.click()
        await tab.sees(".detail h3", f"agent_output {TIMES} 2")
        await tab.page.locator(".detail").get_by_role("button", name="Copy these frames as JSON").click()
        lines = (await tab.clipboard()).splitlines()
        assert [json.loads(line)["data"]["output"] for line in lines] == ["one ", "three "]
        agent.steps.put_nowait("")
        agent.steps.put_nowait("")
        for turn in (first, second):
            await tab.becomes(turn, "done")
        said = [entry["frame"]["data"].get("output") for entry in await tab.frames()]
        assert [piece for piece in said if piece] == ["one ", "two ", "three ", "four "]
        assert int(await tab.page.locator(".count").inner_text()) == len(said)
        await tab.page.get_by_label("Filter by event").select_option("agent_output")
        await tab.expect(tab.page.locator(".row .event")).to_have_text(["agent_output"] * 4)
        # Where something else comes between, a new row begins.
        await tab.page.get_by_label("Filter by event").select_option("")
        await tab.page.get_by_role("button", name="Clear").click()
        agent.gate.set()
        await tab.ask_and_wait("tools")
        await tab.expect(outputs).to_have_count(2)


async def test_a_frame_can_be_sent_by_hand_also_a_wrong_one(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        await tab.page.get_by_text("Send a frame by hand").click()
        box = tab.page.get_by_label("Frame to send")
        await box.fill('{"event": "agent_request", "data": {"message": "say by hand"}}')
        await tab.page.locator(".frame-box").get_by_role("button", name="Send").click()
        turn = tab.page.locator(".turn")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".said")).to_contain_text("say by hand")
        await box.fill("{oops")
        await tab.sees(".frame-box .hint", "Not valid JSON")
        await box.press("Control+Enter")
        await tab.sees(".turns > .error", "invalid_json")
        assert agent.runs == ["say by hand"]


async def test_the_list_of_frames_is_moved_through_with_the_keyboard(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("calls 150")
        frames = tab.page.get_by_role("listbox", name="Frames")
        await frames.focus()
        for key, position in (("End", "305"), ("ArrowUp", "304"), ("Home", "1"), ("ArrowDown", "2")):
            await frames.press(key)
            active = await frames.get_attribute("aria-activedescendant")
            row = tab.page.locator(f"#{active}")
            await tab.expect(row).to_have_attribute("aria-posinset", position)
            await tab.expect(row).to_have_attribute("aria-selected", "true")
            await tab.expect(row).to_be_in_viewport()
        await tab.sees(".detail", "login_response")


# The page itself says when it is done: what the driver does to find out would show in the figures.
UNTIL_DONE = """() => new Promise((done) => {
    const ended = () => [...document.querySelectorAll('.turn')].at(-1)?.dataset.state === 'done';
    const look = () => ended() ? done() : requestAnimationFrame(look);
    requestAnimationFrame(look);
})"""


async def test_ten_thousand_frames_stay_fluid(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.page.evaluate(
            """() => {
                window.longest = 0;
                let last = performance.now();
                const look = (now) => {
                    window.longest = Math.max(window.longest, now - last);
                    last = now;
                    requestAnimationFrame(look);
                };
                requestAnimationFrame(look);
            }"""
        )
        for message in ("burst 5000", "calls 3000"):
            await tab.ask(message)
            await tab.page.evaluate(UNTIL_DONE)
        # Milliseconds between two pictures, on a machine that does other things too.
        assert await tab.page.evaluate("window.longest") < 500
        await tab.expect(tab.page.locator(".answer").first).to_contain_text("word4999")
        await tab.expect(".tool").to_have_count(199)
        await tab.page.get_by_role("button", name="Show 200 of 2,801 earlier steps").click()
        await tab.expect(".tool").to_have_count(399)
        assert int((await tab.page.locator(".count").inner_text()).replace(",", "")) > 10_000
        assert await tab.page.locator(".row").count() < 100
        await tab.page.evaluate("window.longest = 0")
        for target in ("0", "this.scrollHeight / 2", "this.scrollHeight"):
            for pane in (".virtual-list", ".scroller"):
                scroll = f"(function () {{ this.scrollTop = {target} }})"
                await tab.page.evaluate(f"{scroll}.call(document.querySelector('{pane}'))")
                await tab.page.evaluate("new Promise(requestAnimationFrame)")
        await tab.page.fill("#message", "still here")
        assert await tab.page.evaluate("window.longest") < 300
        await tab.page.reload()
        await tab.ready()
        await tab.expect(".tool").to_have_count(199)


CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.mark.parametrize(
    ("tab", "size"),
    [({"color_scheme": theme, **size}, size) for theme, size in itertools.product(("light", "dark"), (DESK, PHONE))],
    indirect=["tab"],
    ids=["light-desk", "light-phone", "dark-desk", "dark-phone"],
)
async def test_in_each_theme_and_size_all_can_be_read_and_nothing_sticks_out(tab: "Tab", size: Any) -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        agent.gate.set()
        await tab.ask_and_wait("fail", "failed")
        await tab.ask_and_wait("tools")
        await tab.page.locator(".tool summary").first.click()
        await tab.ask_and_wait("emit ```\\n" + "wide " * 100 + "\\n``` `code` [link](https://example.com) | a |\\n|-|")
        await tab.ask("approve")
        await tab.sees(".question")
        assert await tab.page.evaluate(CONTRAST) == []
        panes = "[document.scrollingElement, document.querySelector('.scroller')]"
        assert await tab.page.evaluate(f"{panes}.map((pane) => pane.scrollWidth - pane.clientWidth)") == [0, 0]
        if size is PHONE:
            await tab.page.get_by_role("button", name="Frames", exact=True).first.tap()
            await tab.expect("main").to_be_hidden()
        await tab.sees(".inspector")
        await tab.page.locator(".row").first.click()
        assert await tab.page.evaluate(CONTRAST) == []
        assert await tab.page.evaluate("document.scrollingElement.scrollWidth - innerWidth") == 0


@pytest.mark.parametrize("tab", [PHONE], indirect=True)
async def test_on_a_phone_everything_is_within_reach_of_a_thumb(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        await tab.page.get_by_label("Message").fill("approve")
        await tab.page.get_by_role("button", name="Send", exact=True).tap()
        turn = tab.page.locator(".turn")
        await turn.get_by_role("button", name="Deny").tap()
        await tab.becomes(turn, "done")
        assert len(agent.answers) == 1
        small = await tab.page.evaluate(
            """() => [...document.querySelectorAll("button, select, summary")].filter((one) => one.checkVisibility())
            .map((one) => [one.outerHTML.slice(0, 60), one.getBoundingClientRect()])
            .filter(([, box]) => box.height < 24 || box.width < 24 || box.right > innerWidth || box.left < 0)"""
        )
        assert small == []


async def test_the_theme_is_chosen_and_kept(tab: "Tab") -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with stage() as (_, server):
        await tab.open(server.port)
        system = await tab.page.evaluate(ground)
        button = tab.page.locator(".theme")
        await tab.expect(button).to_have_attribute("aria-label", "Theme: as the system")
        await button.click()
        assert await tab.page.evaluate(ground) == system
        await button.click()
        await tab.expect(button).to_have_attribute("aria-label", "Theme: dark")
        dark = await tab.page.evaluate(ground)
        assert dark != system
        await tab.page.reload()
        await tab.ready()
        assert await tab.page.evaluate(ground) == dark
