"""The console in a real browser: whatever an agent or a tool says is text."""

from typing import TYPE_CHECKING

import pytest

from agentsocket.protocol.events import AgentOutput, InputRequired, ToolCall, ToolResult
from tests.browser.agents import stage

if TYPE_CHECKING:
    from agentsocket.agent.contract import Turn
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

ATTACKS = (
    "<script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 1'>",
    "<svg onload='window.harmed = 1'><style>body { display: none }</style>",
    "<iframe src='https://attacker.example/'></iframe><base href='https://attacker.example/'>",
    "<form action='https://attacker.example/'><button>Send</button></form>",
    "[click](javascript:window.harmed=1) [click](JaVaScRiPt&#58;alert(1)) [click](data:text/html,<script>1</script>)",
    "[click](\tjavascript:window.harmed=1) [x](vbscript:1) [y](file:///etc/passwd) [z](//attacker.example)",
    "![picture](https://attacker.example/pixel.png)",
    '[quote](https://attacker.example/"onmouseover="window.harmed=1)',
    "`<script>window.harmed = 1</script>`\n\n```html\n<script>window.harmed = 1</script>\n```",
    "\x1b[31mred\x1b[0m \x07bell \x00nul \x08back \x9bcsi",
    "\u202ereversed\u202c \u2066isolate \u200bhidden \ufefffeff \u2028line",
    "Z" + "\u0336\u0489\u0353" * 200 + "algo",
    "__proto__ constructor {{7*7}} ${7*7} %s <!-- --> ]]>",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
)


async def check_unharmed(tab: "Tab") -> None:
    page = tab.page
    assert await page.evaluate("window.harmed") is None
    assert await page.locator("main :is(script, img, iframe, base, style, object, embed)").count() == 0
    schemes = await page.evaluate("[...document.querySelectorAll('a')].map((link) => link.protocol)")
    assert set(schemes) <= {"https:"}
    assert not [url for url in tab.requested if "attacker" in url]
    assert await page.evaluate("document.querySelector('.scroller').scrollWidth <= innerWidth") is True
    await tab.expect("#message").to_be_visible()


@pytest.mark.parametrize("tab", [{"viewport": {"width": 390, "height": 780}}], indirect=True)
async def test_a_hostile_agent_changes_nothing_but_text(tab: "Tab") -> None:
    async with stage() as (agent, server):
        for i, attack in enumerate(ATTACKS):
            agent.hostile += [
                AgentOutput(output=f"{attack}\n\n"),
                ToolCall(tool_name=attack, tool_kwargs={attack: attack, "__proto__": attack}, tool_call_id=attack),
                ToolResult(tool_output={"said": attack}, tool_call_id=attack, is_error=bool(i % 2)),
            ]
        await tab.open(server.port)
        turn = await tab.ask_and_wait("hostile")
        for summary in await turn.locator(".tool summary").all():
            await summary.click()
        await tab.expect(turn).to_contain_text("<script>window.harmed = 1</script>")
        await tab.expect(turn).to_contain_text("⟨ESC⟩[31mred")
        await tab.expect(turn).to_contain_text("⟨U+202E⟩reversed")
        await check_unharmed(tab)
        await tab.page.get_by_role("button", name="Frames", exact=True).first.click()
        await tab.page.get_by_role("listbox").press("Home")
        for _ in range(30):
            await tab.page.get_by_role("listbox").press("ArrowDown")
        await tab.page.reload()
        await tab.ready()
        await tab.expect(tab.page.locator(".tool")).to_have_count(len(ATTACKS))
        assert await tab.page.evaluate("window.harmed") is None


async def test_a_hostile_question_is_text_too(tab: "Tab") -> None:
    async def ask(_: str, turn: "Turn") -> str:
        kwargs = {attack: attack for attack in ATTACKS}
        schema = {"type": "object", "properties": {attack: {"enum": [attack], "title": attack} for attack in ATTACKS}}
        question = InputRequired(prompt=" ".join(ATTACKS), kind="approval", tool_name=ATTACKS[0], tool_kwargs=kwargs)
        await turn.ask(question)
        await turn.ask(InputRequired(prompt=" ".join(ATTACKS), response_schema=schema))
        return "done"

    async with stage() as (agent, server):
        agent.scripts["ask"] = ask
        await tab.open(server.port)
        turn = await tab.ask("ask")
        await check_unharmed(tab)
        await turn.get_by_role("button", name="Deny").click()
        await tab.expect(turn.locator("select")).to_have_count(len(ATTACKS))
        await check_unharmed(tab)
        await turn.get_by_role("button", name="Answer", exact=True).click()
        await tab.becomes(turn, "done")


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "word " * 200_000, "*" * 200_000, "[" * 100_000, "`" * 99_999, "> " * 50_000, "- " * 50_000],
)
async def test_a_huge_line_leaves_the_page_alive(tab: "Tab", text: str) -> None:
    async with stage() as (agent, server):
        agent.hostile = [
            AgentOutput(output=text[:250_000]),
            ToolCall(tool_name="read", tool_kwargs={"text": text}, tool_call_id="1"),
            ToolResult(tool_output=text, tool_call_id="1"),
        ]
        await tab.open(server.port)
        turn = await tab.ask_and_wait("hostile")
        await turn.locator("summary").click()
        await turn.locator(".tool").get_by_role("button", name="more characters").first.click()
        await check_unharmed(tab)
        await tab.ask_and_wait("say still here")
