"""A keyboard made with ``prompt_toolkit``, for those who have it: its search, its modes, its undo."""

import signal
import sys
from typing import Self

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from terminal.history import History


class PromptToolkitKeyboard:
    """The rows are the upper part of its prompt, so that it draws them; what was said goes above it."""

    def __init__(self, history: History) -> None:
        self._above, self._prompt = "", ""
        keys = KeyBindings()
        # The terminal sends no signal while prompt_toolkit reads.
        keys.add("c-c")(lambda _: signal.raise_signal(signal.SIGINT))
        self._session: PromptSession[str] = PromptSession(
            lambda: ANSI(f"{self._above}{self._prompt}"),
            history=InMemoryHistory(history.lines),
            key_bindings=keys,
            erase_when_done=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the terminal is prompt_toolkit's only while it reads."""

    async def read(self, prompt: str, prefill: str = "") -> str | None:
        """Read a line."""
        self._prompt = prompt
        try:
            line: str = await self._session.prompt_async(default=prefill, handle_sigint=False)
        except EOFError:
            return None
        return line

    def typed(self) -> str:
        """Return what has been typed of the next line."""
        return str(self._session.default_buffer.text)

    async def draw(self, said: str, rows: list[str], prompt: str) -> None:
        """Draw, where anything has changed."""
        above = "".join(f"{row}\n" for row in rows)
        changed = (above, prompt) != (self._above, self._prompt)
        self._above, self._prompt = above, prompt
        if said:
            async with in_terminal():
                sys.stdout.write(said)
                sys.stdout.flush()
        elif changed:
            self._session.app.invalidate()
