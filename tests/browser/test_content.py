"""The console in a real browser: what an agent gives beside text."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import (
    AgentData,
    AgentOutput,
    AgentReasoning,
    AgentResponse,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from tests.browser.agents import Stage, stage
from tests.browser.link import linked
from tests.browser.pictures import png, wav
from tests.browser.test_hostile import ATTACKS, check_unharmed
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

Step = Callable[[Turn], Awaitable[Any]]
SECRET_URL = "[...document.querySelectorAll('.inspector *')].some((one) => one.textContent.includes('/files/'))"


def directed(agent: Stage) -> asyncio.Queue[Step | None]:
    """Have "act" do what is put into the queue, and end where that is None."""
    steps: asyncio.Queue[Step | None] = asyncio.Queue()

    async def act(_: str, turn: Turn) -> str:
        while (step := await steps.get()) is not None:
            await step(turn)
        return "It is done."

    agent.scripts["act"] = act
    return steps


def emits(*events: Any) -> Step:
    async def emit(turn: Turn) -> None:
        for event in events:
            await turn.emit(event)

    return emit


def sends(data: bytes, name: str, media_type: str) -> Step:
    async def send(turn: Turn) -> None:
        await turn.send_file(data, name, media_type)

    return send


async def test_a_thought_is_open_while_it_comes_and_folded_when_something_follows(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        steps.put_nowait(emits(AgentReasoning("Noon is "), AgentReasoning("**twelve**.")))
        thought = turn.locator(".reasoning")
        await tab.expect(thought.locator("strong")).to_be_visible()
        await tab.expect(thought.locator("summary")).to_contain_text("Thinking")
        steps.put_nowait(emits(AgentOutput("It is noon.")))
        await tab.expect(thought.locator("summary")).to_contain_text("Thought for")
        await tab.expect(thought.locator("strong")).to_be_hidden()
        steps.put_nowait(emits(AgentReasoning("Or not?")))
        await tab.expect(thought).to_have_count(2)
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        for _ in range(2):
            await tab.expect(turn.locator(".reasoning[open]")).to_have_count(0)
            await thought.first.locator("summary").focus()
            await tab.page.keyboard.press("Enter")
            await tab.expect(thought.first).to_contain_text("Noon is twelve.")
            await tab.page.reload()
            await tab.ready()
        await turn.get_by_role("button", name="Copy the answer").click()
        assert await tab.clipboard() == "It is done."


async def test_a_thought_that_somebody_folds_or_reads_stays_as_they_have_it(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        steps.put_nowait(emits(AgentReasoning("To be read.")))
        thought = turn.locator(".reasoning")
        for _ in range(2):
            await thought.locator("summary").click()
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        await tab.expect(thought).to_have_attribute("open", "")


async def test_progress_is_a_bar_in_the_card_of_its_tool_or_under_the_task(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        bar, words = turn.locator("progress"), turn.locator(".progress")
        under, first, second = turn.locator("> .progress"), turn.locator(".tool").nth(0), turn.locator(".tool").nth(1)
        steps.put_nowait(emits(ToolProgress(progress=0.5, total=1, message="Half <b>of it</b>")))
        await tab.expect(under).to_contain_text("Half <b>of it</b>")
        await tab.expect(under).to_contain_text("50 %")
        assert await bar.evaluate("(bar) => bar.position") == 0.5
        steps.put_nowait(emits(ToolCall(tool_name="one", tool_call_id="1"), ToolProgress(progress=3, total=12)))
        await tab.expect(first.locator(".progress")).to_contain_text("3 of 12")
        calls = ToolCall(tool_name="two", tool_call_id="2"), ToolProgress(tool_call_id="2", progress=7, message="Page")
        steps.put_nowait(emits(*calls, ToolProgress(message="All of it")))
        await tab.expect(second.locator(".progress")).to_contain_text("Page")
        assert await second.locator("progress").evaluate("(bar) => bar.position") == -1
        # With two tools open nobody knows which is meant; and the newest replaces all of the one before.
        await tab.expect(under).to_contain_text("All of it")
        await tab.expect(under).not_to_contain_text("50 %")
        await tab.expect(words).to_have_count(3)
        steps.put_nowait(emits(ToolResult(tool_call_id="1", tool_output="there")))
        await tab.expect(words).to_have_count(2)
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        await tab.expect(words).to_have_count(0)


async def test_data_is_a_card_and_the_same_id_replaces_what_it_said(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        card = turn.locator(".data")
        steps.put_nowait(emits(AgentData(name="chart", data={"bars": [1]}, id="c"), AgentOutput("Look.")))
        await tab.expect(card).to_contain_text("chart")
        await tab.expect(card.locator("pre")).to_contain_text('"bars"')
        rows = AgentData(name="rows", data=list(range(500)))
        steps.put_nowait(emits(AgentData(name="graph", data={"lines": [2]}, id="c"), rows))
        await tab.expect(card).to_have_count(2)
        await tab.expect(card.first.locator("pre")).to_contain_text('"lines"')
        await tab.expect(card.first).not_to_contain_text("bars")
        await tab.expect(turn.locator(".answer > * >> nth=0")).to_contain_text("graph")
        await tab.expect(card.last.locator("pre")).to_be_hidden()
        await card.last.locator("summary").click()
        await tab.expect(card.last.locator("pre")).to_contain_text("499")
        await card.last.get_by_role("button", name="Copy the data").click()
        assert "499" in await tab.clipboard()
        steps.put_nowait(None)


async def test_data_for_now_is_not_kept(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        for said in ("Ada types", "Bob types"):
            steps.put_nowait(emits(AgentData(name="typing", data=said, transient=True)))
            await tab.expect(turn.locator(".data")).to_contain_text(said)
        await tab.expect(turn.locator(".data")).to_have_count(1)
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        for _ in range(2):
            await tab.expect(turn.locator(".data")).to_have_count(0)
            await tab.page.reload()
            await tab.ready()


async def test_a_result_is_folded_json_beside_its_text(tab: "Tab") -> None:
    async def result(_: str, turn: Turn) -> AgentResponse:
        del turn
        return AgentResponse(response="Oslo.", result={"city": "Oslo"})

    async with stage() as (agent, server):
        agent.scripts["result"] = result
        await tab.open(server.port)
        turn = await tab.ask_and_wait("result")
        await tab.expect(turn.locator(".markdown")).to_have_text("Oslo.")
        await tab.expect(turn.locator(".data pre")).to_be_hidden()
        await turn.locator(".data summary").click()
        await tab.expect(turn.locator(".data pre")).to_contain_text('"city": "Oslo"')


async def test_pictures_and_sounds_are_shown_and_other_files_are_to_be_saved(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        steps.put_nowait(sends(png(64, 48), "plot.png", "image/png"))
        picture = turn.get_by_role("img", name="plot.png")
        await tab.expect(picture).to_be_visible()
        assert await picture.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == 64
        await tab.expect(turn.locator("figcaption")).to_contain_text("plot.png")
        steps.put_nowait(sends(wav(), "hum.wav", "audio/wav"))
        await tab.expect(turn.get_by_label("hum.wav", exact=True)).to_have_attribute("controls", "")
        steps.put_nowait(sends(b"<svg onload='window.harmed = 1'>", "drawing.svg", "image/svg+xml"))
        line = turn.locator("div.file")
        await tab.expect(line).to_contain_text("32 B")
        async with tab.page.expect_download() as downloading:
            await line.get_by_role("link", name="Download drawing.svg").click()
        download = await downloading.value
        assert download.suggested_filename == "drawing.svg"
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        assert await tab.page.evaluate(SECRET_URL) is False
        assert "/files/" not in str(await tab.frames())
        await tab.page.reload()
        await tab.ready()
        assert await picture.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == 64
        assert {url.split("/")[2] for url in tab.requested if url.startswith("http")} == {f"127.0.0.1:{server.port}"}


async def test_what_cannot_be_shown_is_said_to_be_so(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        steps.put_nowait(sends(b"no picture", "plot.png", "image/png"))
        await tab.expect(turn.locator(".file.gone")).to_contain_text("plot.png")
        await tab.expect(turn.locator(".file.gone")).to_contain_text("cannot be shown")
        steps.put_nowait(None)


async def test_text_is_not_cut_in_two_by_what_comes_in_the_middle_of_a_sentence(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        card = AgentData(name="usage", data=1)
        steps.put_nowait(emits(AgentOutput("One sen"), card, AgentOutput("tence. "), card, AgentOutput("Another.")))
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".markdown.quiet")).to_have_text(["One sentence.", "Another."])


async def test_after_a_gap_files_and_data_are_there_once(tab: "Tab") -> None:
    async with stage(resume_log_frames=2) as (agent, server), linked(server.port) as link:
        steps = directed(agent)
        await tab.open(link.port)
        turn = await tab.ask("act")
        steps.put_nowait(sends(b"1", "one.txt", "text/plain"))
        steps.put_nowait(emits(AgentData(name="count", data=1, id="c")))
        await tab.expect(turn.locator(".data pre")).to_have_text("1")
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        steps.put_nowait(sends(b"2", "two.txt", "text/plain"))
        steps.put_nowait(emits(AgentData(name="count", data=2, id="c"), *[AgentOutput("on ")] * 5))
        await eventually(steps.empty)
        link.mend()
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await tab.ready()
        await tab.sees(".gap")
        await tab.expect(turn.locator("div.file .name")).to_have_text(["one.txt", "two.txt"])
        await tab.expect(turn.locator(".data pre")).to_have_text("2")
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        assert "/files/" not in str(await tab.frames())


@pytest.mark.parametrize("tab", [{"viewport": {"width": 390, "height": 780}}], indirect=True)
async def test_whatever_is_said_beside_text_is_text(tab: "Tab") -> None:
    async with stage() as (agent, server):
        steps = directed(agent)
        await tab.open(server.port)
        turn = await tab.ask("act")
        steps.put_nowait(emits(ToolCall(tool_name="look", tool_call_id="1")))
        for attack in ATTACKS:
            said = AgentReasoning(attack), ToolProgress(message=attack), AgentData(name=attack, data={attack: attack})
            steps.put_nowait(emits(*said, AgentData(name=attack, data=attack, id=attack)))
            steps.put_nowait(sends(b"<script>window.harmed = 1</script>", attack, "text/html"))
        steps.put_nowait(None)
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator("div.file")).to_have_count(len(ATTACKS))
        for summary in await turn.locator("summary").all():
            await summary.click()
        assert await tab.page.evaluate("window.harmed") is None
        await tab.page.evaluate("document.querySelectorAll('.save').forEach((link) => link.remove())")
        await check_unharmed(tab)
