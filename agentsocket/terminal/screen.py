"""What a person sees: what has been said and, on a terminal, what is happening now, drawn anew below it."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

from agentsocket.client.printing import clean
from agentsocket.terminal.keyboard import Keyboard, size
from agentsocket.terminal.text import BOLD, DIM, Speech, blocks_end, flat, lines_end, markdown_renderer, paint, wrapped

FRAME: Final = 0.04
"""Seconds between two drawings at the least: what comes faster is drawn together."""
TICK: Final = 0.1
"""Seconds between two drawings while something is happening."""
MAX_ECHO: Final = 2000
"""Characters of a message that are shown again."""


class Row(NamedTuple):
    """A row about what is happening, as wide as the screen at most."""

    text: str
    style: str = DIM


class Screen:
    """Nothing but text, for a pipe or a simple terminal: the agent's to standard output, all else to standard error."""

    def speech(self) -> Speech:
        """Return what gathers the text of a task for ``say``."""
        return Speech(lines_end)

    def say(self, text: str, tag: str = "") -> None:
        """Show what an agent says."""
        _write(sys.stdout, _tagged(clean(text), tag))

    def note(self, line: str, style: str = DIM, tag: str = "") -> None:  # noqa: ARG002  # there are no styles here
        """Show a line about what happens."""
        _write(sys.stderr, _tagged(clean(line), tag))

    def echo(self, line: str, *, apart: bool) -> None:
        """Keep a line that was typed on the screen, where it is not kept there anyway."""

    def hint(self, hint: str) -> None:
        """Say how to answer, where that is not drawn with what is happening."""
        if sys.stdin.isatty():
            self.note(hint)

    def change(self) -> None:
        """Something else is happening now."""

    async def run(self, happening: Callable[[int], list[Row]], prompt: Callable[[], str]) -> None:  # noqa: ARG002
        """Show what is ``happening``, in at most so many rows, and the prompt; here nothing, for it would stay."""
        await asyncio.Event().wait()

    async def finish(self) -> None:
        """Show what has been said and is not shown yet."""


class LiveScreen(Screen):
    """For a terminal that can be drawn on, with Markdown where that can be rendered."""

    def __init__(self, keyboard: Keyboard, *, color: bool) -> None:
        self._keyboard, self._color = keyboard, color
        self._render = markdown_renderer(color=color)
        self._said: list[str] = []
        self._changed = asyncio.Event()

    def speech(self) -> Speech:
        """Return what gathers the text of a task for ``say``."""
        return Speech(blocks_end if self._render else lines_end)

    def say(self, text: str, tag: str = "") -> None:
        """Show what an agent says."""
        self._show((self._render or wrapped)(clean(text), size()[0] - len(tag)), tag)

    def note(self, line: str, style: str = DIM, tag: str = "") -> None:
        """Show a line about what happens."""
        self._show(self._paint(wrapped(clean(line), size()[0] - len(tag)), style), tag)

    def echo(self, line: str, *, apart: bool) -> None:
        """Keep a line that was typed, below an empty line where it stands apart from what was said."""
        self._show(("\n" if apart else "") + self._paint(wrapped(flat(line, MAX_ECHO), size()[0]), BOLD))

    def hint(self, hint: str) -> None:
        """Do nothing: it is drawn."""

    def change(self) -> None:
        """Draw soon."""
        self._changed.set()

    async def run(self, happening: Callable[[int], list[Row]], prompt: Callable[[], str]) -> None:
        """Draw what changes, and while something is happening all the time."""
        while True:
            self._changed.clear()
            rows = happening(max(1, size()[1] - 2))
            await self._draw([self._paint(row.text, row.style) for row in rows], prompt())
            await asyncio.sleep(FRAME)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK if rows else None):
                    await self._changed.wait()

    async def finish(self) -> None:
        """Show what has been said, and nothing below it."""
        await self._draw([], "")

    async def _draw(self, rows: list[str], prompt: str) -> None:
        said, self._said = "".join(self._said), []
        await self._keyboard.draw(said, rows, prompt)

    def _show(self, text: str, tag: str = "") -> None:
        self._said.append(_tagged(text, self._paint(tag, DIM)) + "\n")
        self._changed.set()

    def _paint(self, text: str, style: str) -> str:
        return paint(text, style) if self._color and style else text


class ScreenLog(logging.Handler):
    """Shows what the client logs, which would else be written into what is drawn."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line, without the traceback."""
        self._screen.note(record.getMessage())


def _tagged(text: str, tag: str) -> str:
    return "\n".join(f"{tag}{line}" for line in text.split("\n")) if tag else text


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
