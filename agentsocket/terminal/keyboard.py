"""Where the person's lines come from, and what draws around the line that is being typed."""

import asyncio
import codecs
import contextlib
import os
import shutil
import signal
import sys
import termios
import threading
from typing import Any, Final, Protocol, Self

from agentsocket.terminal.history import History
from agentsocket.terminal.line_editor import LineEditor
from agentsocket.terminal.text import cells

CTRL_C: Final = "\x03"


class Keyboard(Protocol):
    """A person's keyboard, and the part of the screen below what has been said.

    Ctrl-C drops what has been typed of a line, as in a shell; where that is nothing, it is a ``SIGINT``.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def read(self, prefill: str = "") -> str | None:
        """Read a line, which begins with ``prefill`` where that can be edited; none at the end of the input."""

    def typed(self) -> str:
        """Return what has been typed of the next line."""

    async def draw(self, said: str, rows: list[str], prompt: str) -> None:
        """Let ``said`` stay on the screen, whole lines; below it draw the rows and the line with its prompt."""


class PlainKeyboard:
    """Lines of standard input, as they are: from a pipe, or a terminal that edits them by itself."""

    def __init__(self) -> None:
        self._lines: asyncio.StreamReader | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""

    async def read(self, prefill: str = "") -> str | None:  # noqa: ARG002  # nothing can be edited here
        """Read a line. There is no prompt: what comes next might just as well be an answer."""
        if self._lines is None:
            self._lines = _read_in_background()
        try:
            line = await self._lines.readuntil()
        except asyncio.IncompleteReadError as end:
            line = end.partial
        return line.decode(errors="replace").rstrip("\r\n") if line else None

    def typed(self) -> str:
        """Return nothing: only the terminal knows."""
        return ""

    async def draw(self, said: str, rows: list[str], prompt: str) -> None:
        """Do nothing: nothing can be drawn here."""


class TerminalKeyboard:
    """The keys of a terminal, edited here, so that the line can be drawn anew whenever something comes above it."""

    def __init__(self, history: History) -> None:
        self._editor = LineEditor(history.lines)
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._rows: list[str] = []
        self._prompt, self._width = "", 0
        self._modes: list[Any] = []

    async def __aenter__(self) -> Self:
        self._modes = termios.tcgetattr(0)
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self._take_keys)
        loop.add_signal_handler(signal.SIGCONT, self._take_terminal)
        loop.add_signal_handler(signal.SIGWINCH, self._draw_line)
        self._take_terminal()
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(0)
        loop.remove_signal_handler(signal.SIGCONT)
        loop.remove_signal_handler(signal.SIGWINCH)
        _write("\x1b[?2004l")
        termios.tcsetattr(0, termios.TCSADRAIN, self._modes)

    def _take_terminal(self) -> None:
        """Get each key at once, and a paste as a paste; also when the program goes on after Ctrl-Z.

        Ctrl-C is a key like any other: as a signal it would overtake, or be overtaken by, what is typed around it.
        """
        modes = termios.tcgetattr(0)
        modes[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        modes[6][termios.VINTR] = bytes([os.fpathconf(0, "PC_VDISABLE") & 0xFF])
        termios.tcsetattr(0, termios.TCSADRAIN, modes)
        _write("\x1b[?2004h")

    def _take_keys(self) -> None:
        keys = os.read(0, 65536)
        first, *others = self._decode(keys).split(CTRL_C)
        self._feed(first)
        for typed in others:
            self._interrupt()
            self._feed(typed)
        if not keys:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(0)
            self._lines.put_nowait(None)
        self._draw_line()

    def _feed(self, typed: str) -> None:
        for line in self._editor.feed(typed):
            self._lines.put_nowait(line)

    def _interrupt(self) -> None:
        if self._editor.text:
            self._editor.clear()
        else:
            signal.raise_signal(signal.SIGINT)

    async def read(self, prefill: str = "") -> str | None:
        """Read a line."""
        if prefill:
            self._editor.write(prefill)
            self._draw_line()
        return await self._lines.get()

    def typed(self) -> str:
        """Return what has been typed of the next line."""
        return self._editor.text

    async def draw(self, said: str, rows: list[str], prompt: str) -> None:
        """Draw, where anything has changed."""
        if not said and (rows, prompt) == (self._rows, self._prompt):
            return
        width, _ = size()
        # Rows that were drawn when the terminal was wider may have been broken since.
        above = sum(-(-min(cells(row), self._width) // width) or 1 for row in self._rows)
        up = f"\x1b[{above}A" if above else ""
        self._rows, self._prompt, self._width = rows, prompt, width
        # A row that is wider than it was measured must not become two.
        shown = "".join(f"{row}\n" for row in rows)
        _write(f"\r{up}\x1b[J{said}\x1b[?7l{shown}\x1b[?7h{self._line()}")

    def _draw_line(self) -> None:
        _write(self._line())

    def _line(self) -> str:
        text, column = self._editor.window(max(1, size()[0] - len(self._prompt) - 1))
        right = f"\x1b[{column + len(self._prompt)}C" if column + len(self._prompt) else ""
        return f"\r\x1b[K\x1b[?7l{self._prompt}{text}\x1b[?7h\r{right}"


def size() -> tuple[int, int]:
    """Return the columns and the rows of the terminal."""
    return shutil.get_terminal_size()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _read_in_background() -> asyncio.StreamReader:
    """Read standard input in a thread that neither the loop nor the end of the program has to wait for."""
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader(limit=sys.maxsize)

    def read() -> None:
        # The program may end while this waits.
        with contextlib.suppress(RuntimeError):
            while data := os.read(0, 65536):
                loop.call_soon_threadsafe(lines.feed_data, data)
            loop.call_soon_threadsafe(lines.feed_eof)

    threading.Thread(target=read, daemon=True).start()
    return lines
