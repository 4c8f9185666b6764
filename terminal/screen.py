"""What a person sees: what has been said, and below it, on a terminal, what is happening now."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol

from terminal.keyboard import Keyboard
from terminal.text import BOLD, DIM, Speech, blocks_end, flat, lines_end, markdown_renderer, paint
from websocket_client_example import clean

FRAME = 0.04
"""Seconds between two drawings at the least: what comes faster is drawn at once."""
TICK = 0.1
"""Seconds between two drawings while something is happening."""


class Screen(Protocol):
    """Where the conversation is shown. Every text is made harmless on its way."""

    def speech(self) -> Speech:
        """Return what gathers the text of one task for ``say``."""

    def say(self, text: str, tag: str = "") -> None:
        """Show what an agent says."""

    def note(self, line: str, style: str = DIM, tag: str = "") -> None:
        """Show a line about what happens."""

    def echo(self, line: str) -> None:
        """Show what the person has typed, where the terminal does not keep it by itself."""

    def change(self) -> None:
        """Draw anew what is happening."""

    async def run(self, happening: Callable[[int], list[str]], prompt: Callable[[], str]) -> NoReturn:
        """Draw, until cancelled. ``happening`` gets the number of rows there are, and returns what to show in them."""

    async def finish(self) -> None:
        """Show what is not shown yet."""


class PlainScreen:
    """For a pipe, a file or a simple terminal: the answers to stdout, all else to stderr, and nothing but text."""

    def speech(self) -> Speech:
        """Gather text by the line."""
        return Speech(lines_end)

    def say(self, text: str, tag: str = "") -> None:
        """Write to stdout."""
        sys.stdout.write(_tagged(clean(text), tag) + "\n")
        sys.stdout.flush()

    def note(self, line: str, style: str = DIM, tag: str = "") -> None:  # noqa: ARG002  # styles are not for all screens
        """Write to stderr."""
        sys.stderr.write(_tagged(clean(line), tag) + "\n")
        sys.stderr.flush()

    def echo(self, line: str) -> None:
        """Do nothing: a terminal has shown it, and a pipe knows."""

    def change(self) -> None:
        """Do nothing: what is happening is not shown."""

    async def run(self, happening: Callable[[int], list[str]], prompt: Callable[[], str]) -> NoReturn:  # noqa: ARG002  # not shown here
        """Wait: everything is shown at once."""
        await asyncio.Event().wait()
        raise AssertionError

    async def finish(self) -> None:
        """Do nothing: everything is shown."""


class LiveScreen:
    """For a terminal that can be drawn on: what was said stays, what is happening is drawn anew below it."""

    def __init__(self, keyboard: Keyboard, *, color: bool) -> None:
        self._keyboard, self._color = keyboard, color
        self._render = markdown_renderer(color=color)
        self._said: list[str] = []
        self._changed = asyncio.Event()

    def speech(self) -> Speech:
        """Gather text by the block where it can be rendered, and by the line where not."""
        return Speech(blocks_end if self._render else lines_end)

    def say(self, text: str, tag: str = "") -> None:
        """Show an agent's text, rendered where that is possible."""
        text = clean(text)
        if self._render:
            text = self._render(text, columns() - len(tag))
        self._add(text, tag)

    def note(self, line: str, style: str = DIM, tag: str = "") -> None:
        """Show a line, in a style where there are styles."""
        self._add(self._paint(clean(line), style), tag)

    def echo(self, line: str) -> None:
        """Keep what was typed, since it is drawn no longer."""
        self.note(f"> {flat(line, 2000)}", BOLD)

    def change(self) -> None:
        """Draw soon."""
        self._changed.set()

    async def run(self, happening: Callable[[int], list[str]], prompt: Callable[[], str]) -> NoReturn:
        """Draw what changes, and while something is happening all the time."""
        while True:
            self._changed.clear()
            said, self._said = self._said, []
            rows = happening(max(1, lines() - 2))
            await self._keyboard.draw("".join(said), [self._paint(row, DIM) for row in rows], prompt())
            await asyncio.sleep(FRAME)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK if rows else None):
                    await self._changed.wait()
