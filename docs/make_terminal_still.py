"""Make the README's still of the terminal: the real program, the real server, the built-in agent.

``python docs/make_terminal_still.py`` writes ``docs/terminal.svg``. It needs nothing but the test requirements.
"""

import asyncio
import os
import sys
import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from agentsocket.agent.loader import load_agents  # noqa: E402  # after the path
from agentsocket.server import AgentServer  # noqa: E402
from agentsocket.settings import Settings  # noqa: E402
from tests.display import Display  # noqa: E402
from tests.person import Person, at_terminal  # noqa: E402

COLUMNS, ROWS = 96, 40
CELL, LINE, MARGIN = 8.43, 19, 22
"""Pixels of a character of 14 px, of a line, and around it all."""
LOOKS = {
    "": 'fill="#e6edf3"',
    "1": 'fill="#ffffff" font-weight="700"',
    "2": 'fill="#8b98a8"',
    "31": 'fill="#ff7b72"',
}
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{label}">
<rect width="100%" height="100%" rx="10" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
{lines}
</g>
</svg>
"""


async def main() -> None:
    """Write ``docs/terminal.svg``."""
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": state, "PROMPT_TOOLKIT_NO_CPR": "1"}
        environment.pop("NO_COLOR", None)
        async with (
            AgentServer(settings, load_agents(settings.agent)) as server,
            at_terminal(f"ws://127.0.0.1:{server.port}", environment=environment, columns=COLUMNS, rows=ROWS) as person,
        ):
            await converse(person)
            (ROOT / "docs" / "terminal.svg").write_text(drawn(person.display))


async def converse(person: Person) -> None:
    """Have a conversation worth a picture: parallel calls, two tasks at once, an approval, a line half typed."""
    await person.sees("\n>")
    person.enter("What time is it in Tokyo and in Paris?")
    await person.sees("in Paris (C")
    await person.no_longer_sees("working")
    person.enter("Remember: the deploy is on Friday")
    await person.sees("I will remember")
    await person.no_longer_sees("working")
    person.enter("Count down from 30")
    await person.sees("30…")
    person.enter("Delete all my notes")
    await person.sees("waits for you")
    person.type("n I need it until Fri")
    await person.sees("28…", "until Fri")


def drawn(display: Display) -> str:
    """Draw what stands on a display as SVG."""
    lines = [line for number, cells in enumerate(display.lines) for line in spans(number, cells)]
    return FRAME.format(
        width=2 * MARGIN + COLUMNS * CELL,
        height=2 * MARGIN + len(display.lines) * LINE,
        label="A conversation in the terminal: tool calls, two tasks at once, an approval",
        lines="\n".join(lines),
    )


def spans(number: int, cells: list[tuple[str, str]]) -> list[str]:
    """Draw one line, each run of one style by itself."""
    texts, column = [], 0
    for style, run in groupby(cells, key=lambda cell: cell[1]):
        text = "".join(char for char, _ in run)
        if text.strip():
            x, y = MARGIN + column * CELL, MARGIN + (number + 0.75) * LINE
            look = LOOKS.get(style, LOOKS[""])
            texts.append(f'<text x="{x:.1f}" y="{y:.1f}" xml:space="preserve" {look}>{escape(text)}</text>')
        column += len(text)
    return texts


if __name__ == "__main__":
    asyncio.run(main())
