"""The console in a real browser: nothing is approved by accident, and nothing unseen."""

from typing import TYPE_CHECKING, Any

import pytest

from agentsocket.agent.contract import Approval, Turn
from agentsocket.protocol.events import InputRequired
from tests.browser.agents import stage

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}

MAIL: dict[str, Any] = {
    "to": "anna@example.com",
    "cc": "desk@example.com",
    "subject": "Your order",
    "body": "Dear Anna,\n\nit has left.\n\nYours",
    "urgent": True,
    "copies": 2,
}


async def test_enter_in_the_reason_decides_nothing_and_asks(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        reason = turn.get_by_label("Reason")
        await reason.fill("No! Keep them.")
        await reason.press("Enter")
        await tab.expect(turn.get_by_role("alert").filter(has_text="Approve or deny?")).to_be_visible()
        await tab.expect(turn.get_by_role("button", name="Deny")).to_be_focused()
        assert agent.answers == []
        await tab.page.keyboard.press("Enter")
        await tab.becomes(turn, "done")
        assert agent.answers == [Approval(approved=False, reason="No! Keep them.")]


async def test_enter_approves_in_no_field_whatever(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("approve")
        await tab.sees(".question")
        fields = turn.locator(".question :is(input:not([type=submit]), textarea, select)")
        for field in await fields.all():
            await field.focus()
            for key in ("Enter", "Control+Enter", "Shift+Enter"):
                await field.press(key)
        await tab.expect(turn.get_by_role("button", name="Approve", exact=True)).to_be_visible()
        await tab.becomes(turn, "running")
        assert agent.answers == []
        await turn.get_by_role("button", name="Approve", exact=True).focus()
        await tab.page.keyboard.press("Enter")
        await tab.becomes(turn, "done")
        assert [answer.approved for answer in agent.answers] == [True]


@pytest.mark.parametrize("tab", [DESK, PHONE, {"viewport": {"width": 1000, "height": 420}}], indirect=True)
async def test_a_long_approval_is_seen_from_its_prompt_on(tab: "Tab") -> None:
    kwargs = {f"{name}{i or ''}": value for i in range(2) for name, value in MAIL.items()}

    async def mail(_: str, turn: Turn) -> str:
        await turn.ask(InputRequired(prompt="Send it?", kind="approval", tool_name="send_mail", tool_kwargs=kwargs))
        return "sent"

    async with stage() as (agent, server):
        agent.scripts["mail"] = mail
        await tab.open(server.port)
        await tab.ask_and_wait("say " + "and so on, and so on\n" * 40)
        turn = await tab.ask("mail")
        for _ in range(2):
            await tab.expect(turn.locator(".prompt")).to_be_in_viewport()
            await tab.expect(turn.get_by_label("to", exact=True)).to_be_in_viewport()
            await tab.page.reload()
            await tab.ready()
            turn = tab.page.locator(".turn").last
        await tab.page.get_by_role("button", name="The agent waits for your answer").click()
        await tab.expect(turn.locator(".prompt")).to_be_in_viewport()
        below = """(form) => form.querySelector("button.primary").getBoundingClientRect().top
            > Math.max(...[...form.querySelectorAll("textarea, input:not([type=submit])")]
                .map((one) => one.getBoundingClientRect().bottom))"""
        assert await turn.locator(".question").evaluate(below)


async def test_an_answer_that_is_too_long_is_not_sent_and_says_so(tab: "Tab") -> None:
    async with stage(max_message_size=2000) as (agent, server):
        await tab.open(server.port)
        turn = await tab.ask("question text")
        await turn.get_by_label("Answer", exact=True).fill("x" * 3000)
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.expect(turn.get_by_role("alert").filter(has_text="too long")).to_be_visible()
        await turn.get_by_label("Answer", exact=True).fill("short")
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.becomes(turn, "done")
        assert agent.answers == ["short"]


async def test_a_message_that_is_too_long_stays_where_it_is_and_touches_nothing_else(tab: "Tab") -> None:
    async with stage(max_message_size=2000) as (agent, server):
        await tab.open(server.port)
        parked = await tab.ask("park")
        await tab.becomes(parked, "running")
        await tab.page.fill("#message", "é" * 1500)
        await tab.page.locator(".send").click()
        await tab.sees(".compose .problem", "This message is too long: it has 3.0 kB, and the server takes 2.0 kB.")
        assert len(await tab.page.input_value("#message")) == 1500
        await tab.expect(".turn").to_have_count(1)
        await tab.page.fill("#message", "say short")
        await tab.expect(".compose .problem").to_be_hidden()
        await tab.page.locator(".send").click()
        await tab.becomes(tab.page.locator(".turn").last, "done")
        agent.gate.set()
        await tab.becomes(parked, "done")


@pytest.mark.parametrize("tab", [DESK, PHONE], indirect=True)
async def test_enter_sends_and_with_shift_makes_a_line(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        message = tab.page.locator("#message")
        await message.press_sequentially("one")
        await message.press("Shift+Enter")
        await message.press_sequentially("two")
        await message.press("Enter")
        await tab.becomes(tab.page.locator(".turn").last, "done")
        await tab.expect(message).to_have_value("")
        assert agent.runs == ["one\ntwo"]


@pytest.mark.parametrize("tab", [PHONE], indirect=True)
async def test_enter_of_a_phones_keyboard_that_has_no_name_sends(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await tab.open(server.port)
        await tab.page.fill("#message", "say hello")
        # What such a keyboard makes of it: a key that is not named, then a new line.
        await tab.page.evaluate(
            """() => {
                const where = document.getElementById("message");
                where.dispatchEvent(new KeyboardEvent("keydown", { key: "Unidentified", keyCode: 229, bubbles: true }));
                where.dispatchEvent(new InputEvent("beforeinput",
                    { inputType: "insertLineBreak", bubbles: true, cancelable: true }));
            }"""
        )
        await tab.becomes(tab.page.locator(".turn").last, "done")
        assert agent.runs == ["say hello"]


@pytest.mark.parametrize("tab", [PHONE], indirect=True)
async def test_the_header_fits_a_phone_whatever_it_says(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        fits = """() => [...document.querySelectorAll(".bar > *")].filter((one) => one.checkVisibility())
            .map((one) => one.getBoundingClientRect())
            .every((box) => box.left >= 0 && box.right <= innerWidth && box.height <= 48 && box.width >= 36)"""
        assert await tab.page.evaluate(fits)
        await tab.expect(".bar h1").to_have_text("agent")
        await tab.page.evaluate("Math.random = () => 1000")
        await server.shut_down()
        await tab.sees(".pill", "Reconnecting")
        assert await tab.page.evaluate(fits)
        await tab.expect(".bar h1").to_be_visible()
