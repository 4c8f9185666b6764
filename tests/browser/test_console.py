"""The console in a real browser: the conversation."""

import json
import re
from typing import TYPE_CHECKING

import pytest

from agentsocket.agent.contract import Approval
from tests.browser.agents import stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_page_comes_from_its_own_server_under_strict_headers(tab: "Tab") -> None:
    async with stage() as (_, server):
        response = await tab.page.goto(f"http://127.0.0.1:{server.port}/")
        assert response is not None
        headers = response.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert {"img-src 'self'", "media-src 'self'", "connect-src 'self'"} <= set(policy.split("; "))
        assert not {"unsafe", "blob:", "data:"} & set(re.findall(r"unsafe|\w+:", policy))
        await tab.ready()
        assert {url.split("/")[2] for url in tab.requested} == {f"127.0.0.1:{server.port}"}


async def test_it_works_the_same_over_a_plain_network_address(tab: "Tab") -> None:
    async with stage(allowed_hosts=("plain.test",)) as (_, server):
        await tab.open(server.port, host="plain.test")
        assert await tab.page.evaluate("isSecureContext") is False
        turn = await tab.ask_and_wait("emit copy this")
        await turn.get_by_role("button", name="Copy the answer").click()
        await tab.expect(turn.get_by_role("button", name="Copied")).to_be_visible()
        await tab.page.locator("#message").press("Control+v")
        await tab.expect(tab.page.locator("#message")).to_have_value("copy this")


async def test_text_streams_in_as_it_comes_and_is_shown_once(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("stream")
        agent.steps.put_nowait("Hello **wor")
        await tab.expect(turn.locator(".answer")).to_have_text("Hello **wor")
        await tab.becomes(turn, "running")
        agent.steps.put_nowait("ld**\n\n```python\nprint(1)\n```")
        await tab.expect(turn.locator(".answer strong")).to_have_text("world")
        agent.steps.put_nowait("")
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".answer p")).to_have_text("Hello world")
        await tab.expect(turn.locator(".code pre")).to_have_text("print(1)")
        await turn.get_by_role("button", name="Copy code").click()
        assert await tab.clipboard() == "print(1)"


async def test_markdown_is_made_into_elements(tab: "Tab") -> None:
    text = (
        r"# Title\n\nA *soft* and `hard` [link](https://example.com/a) in snake_case_names.\n\n"
        r"- one\n  - deeper\n- two\n\n3. three\n4. four\n\n> said\n\n"
        r"| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n~~gone~~ 2 * 3 * 4"
    )
    async with stage() as (_, server):
        await tab.open(server.port)
        turn = await tab.ask_and_wait(f"emit {text}")
        answer = turn.locator(".answer")
        for selector, expected in {
            "h3": "Title",
            "em": "soft",
            "p code": "hard",
            "ul ul li": "deeper",
            "ol[start='3'] li >> nth=1": "four",
            "blockquote p": "said",
            "td >> nth=1": "2",
            "del": "gone",
        }.items():
            await tab.expect(answer.locator(selector)).to_have_text(expected)
        await tab.expect(answer).to_contain_text("snake_case_names")
        await tab.expect(answer).to_contain_text("2 * 3 * 4")
        link = answer.locator("a")
        await tab.expect(link).to_have_attribute("href", "https://example.com/a")
        await tab.expect(link).to_have_attribute("rel", "noopener noreferrer")
        await tab.expect(link).to_have_attribute("target", "_blank")


async def test_calls_in_parallel_are_cards_that_stay_apart(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("tools")
        cards = turn.locator(".tool")
        await tab.expect(cards).to_have_count(2)
        await tab.expect(cards.nth(0)).to_contain_text("city: Tokyo")
        await tab.expect(cards.nth(1)).to_contain_text("city: Paris")
        await tab.expect(turn.locator(".tool.running")).to_have_count(2)
        agent.gate.set()
        await tab.becomes(turn, "done")
        await tab.expect(cards.nth(0)).to_contain_text("night in Tokyo")
        await tab.expect(cards.nth(1)).to_contain_text("noon in Paris")
        await tab.expect(turn.locator(".tool.failed")).to_contain_text("Division by zero.")
        await tab.expect(cards.nth(0).locator(".time")).to_contain_text("ms")
        await cards.nth(0).locator("summary").click()
        await tab.expect(cards.nth(0).locator("pre").nth(0)).to_contain_text('"city": "Tokyo"')
        await tab.expect(cards.nth(0).locator("pre").nth(1)).to_contain_text('"time": "night in Tokyo"')
        # What was said on the way stays, quietly; the answer, which had begun to come, is there once and whole.
        await tab.expect(turn.locator(".markdown.quiet")).to_have_text("Let me look.")
        await tab.expect(turn.locator(".markdown").last).to_have_text("It is noon somewhere.")


async def test_each_of_several_tasks_has_its_own_stop(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        resisting, parked = await tab.ask("resist"), await tab.ask("park")
        await tab.becomes(parked, "running")
        await resisting.get_by_role("button", name="Stop").click()
        await tab.becomes(resisting, "stopping")
        await tab.expect(resisting.locator(".stop")).to_be_disabled()
        await tab.expect(resisting.locator("footer")).to_contain_text("Stopping")
        await tab.becomes(parked, "running")
        agent.may_stop.set()
        await tab.becomes(resisting, "stopped")
        await tab.expect(resisting.locator("footer")).to_contain_text("Stopped after")
        agent.gate.set()
        await tab.becomes(parked, "done")
        await tab.expect(parked.locator(".answer")).to_have_text("released")


async def test_a_tool_that_a_stop_has_stopped_has_not_failed(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("tools")
        await tab.expect(turn.locator(".tool.running")).to_have_count(2)
        await turn.get_by_role("button", name="Stop").click()
        await tab.becomes(turn, "stopped")
        for _ in range(2):
            await tab.expect(turn.locator(".tool.stopped")).to_have_count(2)
            await tab.expect(turn.locator(".tool.failed")).to_have_count(0)
            await tab.expect(turn.locator(".tool").first).to_contain_text("Stopped")
            await tab.expect(turn).not_to_contain_text("before this tool did")
            await tab.page.reload()
            await tab.ready()
        agent.gate.set()
        failing = await tab.ask_and_wait("tools")
        await tab.expect(failing.locator(".tool.failed")).to_have_count(1)


async def test_an_approval_is_a_form_whose_arguments_can_be_edited(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        form = turn.locator(".question")
        await tab.expect(form).to_contain_text("Delete the folder?")
        await form.get_by_label("depth").fill("a lot")
        await form.get_by_role("button", name="Approve", exact=True).click()
        await tab.expect(form.get_by_role("alert").filter(has_text="number")).to_be_visible()
        await form.get_by_label("depth").fill("7")
        await form.get_by_label("dry_run").uncheck()
        await form.get_by_label("tags").fill('["a", "b"]')
        await form.get_by_role("button", name="Approve", exact=True).click()
        await tab.becomes(turn, "done")
        await tab.expect(form).to_contain_text("Approved")
        edited = {"folder": "/old", "depth": 7, "dry_run": False, "tags": ["a", "b"]}
        assert agent.answers == [Approval(approved=True, tool_kwargs=edited)]


async def test_an_approval_that_is_not_edited_or_is_denied_says_no_more_than_that(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        await turn.get_by_role("button", name="Approve", exact=True).click()
        await tab.becomes(turn, "done")
        turn = await tab.ask("approve")
        await turn.get_by_label("Reason").fill("Not today.")
        await turn.get_by_role("button", name="Deny").click()
        await tab.becomes(turn, "done")
        await tab.expect(turn.locator(".question")).to_contain_text("Denied")
        assert agent.answers == [Approval(approved=True), Approval(approved=False, reason="Not today.")]


async def test_a_question_is_a_form_of_what_its_schema_says(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("question text")
        await tab.expect(turn.locator(".expiry")).to_contain_text("left")
        await turn.get_by_label("Answer", exact=True).fill("blue")
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.becomes(turn, "done")
        turn = await tab.ask("question choice")
        await turn.get_by_label("Answer", exact=True).select_option(label="green")
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.becomes(turn, "done")
        turn = await tab.ask("question form")
        await turn.get_by_label("age", exact=True).fill("44")
        await turn.get_by_label("keen").check()
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.becomes(turn, "done")
        assert agent.answers == ["blue", "green", {"age": 44, "keen": True}]


async def test_a_question_of_a_stopped_task_is_taken_away(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        await tab.sees(".waiting", "The agent waits for your answer")
        await turn.get_by_role("button", name="Stop").click()
        await tab.becomes(turn, "stopped")
        await tab.expect(turn.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
        await tab.expect(tab.page.locator(".waiting")).to_be_hidden()


async def test_an_error_is_a_sentence_with_an_id_to_copy(tab: "Tab") -> None:
    async with stage(max_tasks=1) as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask_and_wait("fail", "failed")
        error = turn.locator(".error")
        await tab.expect(error).to_contain_text("The agent failed.")
        await error.get_by_role("button", name="Copy the error's id").click()
        assert await tab.clipboard() == await error.locator(".error-id code").inner_text()
        parked = await tab.ask("park")
        await tab.becomes(parked, "running")
        refused = await tab.ask_and_wait("say more", "failed")
        await tab.expect(refused).to_contain_text("too_many_tasks")
        agent.gate.set()
        await tab.becomes(parked, "done")


async def test_an_open_server_asks_for_no_token_and_a_closed_one_until_it_is_right(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.expect("dialog").to_be_hidden()
    async with stage(auth_token="sésame") as (_, server):
        await tab.open(server.port, ready=False)
        await tab.sees(".pill", "Token wanted")
        token = tab.page.get_by_role("textbox", name="Token")
        for attempt in ("wrong", "wrong again", "still wrong", "and again"):
            await token.fill(attempt)
            await token.press("Enter")
            await tab.sees("dialog .problem", "did not accept")
            await tab.expect("dialog").to_be_visible()
        await token.fill("sésame")
        await token.press("Enter")
        await tab.ready()
        await tab.expect("dialog").to_be_hidden()
        await tab.page.reload()
        await tab.ready()
        assert "sésame" not in json.dumps(await tab.frames(), ensure_ascii=False)


async def test_logging_out_ends_the_session_and_a_new_one_can_begin(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        parked = await tab.ask("park")
        await tab.becomes(parked, "running")
        await tab.page.locator(".pill").click()
        await tab.page.locator(".panel").get_by_role("button", name="Log out").click()
        await tab.sees(".pill", "Logged out")
        await tab.becomes(parked, "stopped")
        await eventually(lambda: not server.manager.sessions)
        await tab.page.locator(".banner").get_by_role("button", name="Log in").click()
        await tab.ready()
        await tab.sees(".notice >> nth=-1", "A new session has begun")
        assert agent.closed == 1


@pytest.mark.parametrize("tab", [{"reduced_motion": "reduce"}], indirect=True)
async def test_everything_can_be_done_with_the_keyboard(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        keys = tab.page.keyboard
        focused = tab.page.locator(":focus")
        await keys.type("approve")
        await keys.press("Enter")
        turn = tab.page.locator(".turn").last
        await tab.sees(".waiting")
        await keys.press("Shift+Tab")
        await tab.expect(focused).to_have_text("The agent waits for your answer")
        await keys.press("Enter")
        await tab.expect(focused).to_have_value("/old")
        while await focused.inner_text() != "Approve":
            await keys.press("Tab")
        await keys.press("Enter")
        await tab.becomes(turn, "done")
        assert agent.answers == [Approval(approved=True)]
        await tab.page.focus("#message")
        await keys.type("park")
        await keys.press("Enter")
        await tab.becomes(tab.page.locator(".turn").last, "running")
        while "Stop" not in await focused.inner_text():
            await keys.press("Shift+Tab")
        await keys.press("Space")
        await tab.becomes(tab.page.locator(".turn").last, "stopped")
        # The button has gone; the focus has not gone to nowhere with it.
        await tab.expect(focused).to_have_class("turn")


async def test_a_screen_reader_hears_what_happens_and_has_a_name_for_each_control(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        heard = tab.page.get_by_role("status").last
        await tab.expect(heard).to_have_text("Approval wanted: Delete the folder?")
        await turn.get_by_role("button", name="Deny").click()
        await tab.expect(heard).to_have_text("Answer: left alone")
        await tab.ask_and_wait("say hello")
        unnamed = await tab.page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, textarea, [role=listbox], [role=log]")]
            .filter((one) => one.checkVisibility() && !one.ariaLabel && !one.labels?.length && !one.innerText.trim())
            .map((one) => one.outerHTML)"""
        )
        assert unnamed == []
