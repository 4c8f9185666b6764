"""A keyboard made with ``prompt_toolkit``, for those who have it: its search, its modes, its undo."""

import asyncio
import contextlib
import signal
import sys
from typing import Self

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from agentsocket.terminal.history import History


class PromptToolkitKeyboard:
    """One prompt for all lines, the rows being its upper part; what was said goes above it."""

    def __init__(self, history: History) -> None:
        self._above, self._prompt = "", "> "
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._prompting: asyncio.Task[None] | None = None
        keys = KeyBindings()
        # The terminal sends no signal while prompt_toolkit reads. A search is its own affair, which Ctrl-C ends.
        keys.add("c-c", filter=~is_searching)(self._interrupt)
        self._session: PromptSession[str] = PromptSession(
            lambda: ANSI(f"{self._above}{self._prompt}"),
            history=InMemoryHistory(history.lines),
            key_bindings=keys,
            erase_when_done=True,
        )
        self._buffer = self._session.default_buffer
        # A line does not end the prompt: between two prompts, keys would go to the terminal.
        self._buffer.accept_handler = self._accept

    async def __aenter__(self) -> Self:
        self._prompting = asyncio.create_task(self._prompt_until_eof())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._prompting:
            self._prompting.cancel()
            await asyncio.wait([self._prompting])

    async def _prompt_until_eof(self) -> None:
        with contextlib.suppress(EOFError):
            await self._session.prompt_async(handle_sigint=False)
        self._lines.put_nowait(None)

    def _interrupt(self, _: KeyPressEvent) -> None:
        # What was typed goes at once: a signal comes too late for the keys that were read together with this one.
        if self._buffer.text:
            self._buffer.reset()
        else:
            signal.raise_signal(signal.SIGINT)

    def _accept(self, buffer: Buffer) -> bool:
        self._lines.put_nowait(buffer.text)
        return False

    async def read(self, prefill: str = "") -> str | None:
        """Read a line."""
        if prefill:
            self._buffer.document = Document(prefill)
        return await self._lines.get()

    def typed(self) -> str:
        """Return what has been typed of the next line."""
        return str(self._buffer.text)

    async def draw(self, said: str, rows: list[str], prompt: str) -> None:
        """Draw, where anything has changed."""
        above = "".join(f"{row}\n" for row in rows)
        changed = (above, prompt) != (self._above, self._prompt)
        self._above, self._prompt = above, prompt
        if not said and not changed:
            return
        app = self._session.app
        if said:
            # Not within in_terminal(), which would let the terminal have the keys of that moment.
            app.renderer.erase()
            sys.stdout.write(said)
            sys.stdout.flush()
            app.renderer.reset()
        app.invalidate()
