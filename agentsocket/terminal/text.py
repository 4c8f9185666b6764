"""Text for a terminal: made harmless, measured, cut, gathered until it can be shown, and rendered."""

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from agentsocket.client.printing import CONTROLS, Cleaner, clean, last_states

DIM: Final = "2"
BOLD: Final = "1"
RED: Final = "31"

MAX_RENDERED: Final = 10_000
"""Characters of the longest text that is rendered or wrapped: a longer one would hold up the conversation."""
MAX_FLAT: Final = 1_000_000
"""Characters of a text that are looked at to make a line of it."""

_STYLE: Final = re.compile(r"\x1b\[[\d;]*m")
_WHITE: Final = re.compile(r"[\n\t]")
_RENDERED: Final = re.compile(f"({_STYLE.pattern})|{CONTROLS.pattern}")
_BEFORE: Final = re.compile(r"\A\n*(?: (?! ))?")
"""What sets a text apart from the one before it: here, that is not the agent's business."""
_FENCES: Final = ("```", "~~~")


def paint(text: str, style: str) -> str:
    """Give a text a style, line by line, so that each stands for itself."""
    return "\n".join(f"\x1b[{style}m{line}\x1b[0m" if line else "" for line in text.split("\n"))


def flat(text: str, limit: int) -> str:
    """Make a text one harmless line of at most ``limit`` characters, which says so where it was longer."""
    # Cleaned before it is cut: of progress, the last state may stand far behind.
    line = _WHITE.sub(" ", clean(text[:MAX_FLAT]))
    length = len(line) + len(text[MAX_FLAT:])
    return line if length <= limit else f"{line[:limit]}… ({length:,} characters)"


def duration(seconds: float) -> str:
    """Say how long something took."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def cells(text: str) -> int:
    """Count the columns that a text takes, whatever its style; rather one too many than too few."""
    return sum(map(_cells, _STYLE.sub("", text)))


def _cells(char: str) -> int:
    if char == "\ufe0f":  # makes an emoji of the sign before it, which is then wider
        return 1
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrap(text: str, width: int) -> Iterator[str]:
    """Break harmless text into rows of so many columns, between words where it can."""
    for line in text.expandtabs().split("\n"):
        start = space = used = 0
        for index, char in enumerate(line):
            used += _cells(char)
            if used > width:
                end = space or index
                yield line[start:end].rstrip(" ")
                start, space, used = end, 0, cells(line[end : index + 1])
            if char == " ":
                space = index + 1
        yield line[start:]


def fit(text: str, width: int) -> str:
    """Cut a harmless line to so many columns, and say so where it was longer."""
    if cells(text) <= width:
        return text
    end = used = 0
    for char in text:
        used += _cells(char)
        if used >= width:
            break
        end += 1
    return f"{text[:end]}…"


def bar(done: float, width: int) -> str:
    """Draw how much is done, from 0 to 1, in so many columns."""
    full = round(min(1.0, max(0.0, done)) * width)
    return "█" * full + "░" * (width - full)


def wrapped(text: str, width: int) -> str:
    """Break harmless text into rows, unless it is too long for that to look like anything."""
    return "\n".join(wrap(text, width)) if len(text) <= MAX_RENDERED else text


class Speech:
    """The harmless text of one task, held back until a part of it is whole: a line, or a block of Markdown."""

    def __init__(self, end_of_whole: Callable[[str], int]) -> None:
        """Start a text; ``end_of_whole`` is ``lines_end`` or ``blocks_end``."""
        self._end_of_whole = end_of_whole
        # Joined only at the end of a line: there are lines of megabytes that come in pieces of a few bytes.
        self._held: list[str] = []
        self._begun = False
        self._cleaner = Cleaner()

    def add(self, piece: str) -> str | None:
        """Add the next piece; return what is whole by now, without the newline at its end, if anything is."""
        self._held.append(self._cleaner.add(piece))
        if "\n" not in piece:
            if "\r" in piece:
                self._write_over()
            return None
        text = "".join(self._held)
        if not self._begun:
            text = _BEFORE.sub("", text)
        end = self._end_of_whole(text)
        self._held, self._begun = [text[end:]], bool(text)
        return last_states(text[: end - 1]) if end else None

    def end(self) -> str | None:
        """End the text here, and return its rest, if there is one. The next piece begins a new text."""
        rest = "".join(self._held)
        rest = (rest if self._begun else _BEFORE.sub("", rest)).rstrip("\n")
        self._held, self._begun, self._cleaner = [], False, Cleaner()
        return last_states(rest) or None

    def tail(self, limit: int) -> str:
        """Return the last ``limit`` characters of what is held back."""
        pieces: list[str] = []
        for piece in reversed(self._held):
            pieces.append(piece[-limit:])
            limit -= len(piece)
            if limit <= 0:
                break
        return _BEFORE.sub("", last_states("".join(reversed(pieces))))

    def _write_over(self) -> None:
        """Let go of what was written over: progress may be told for hours, in a line that never ends."""
        text = "".join(self._held)
        self._held = [last_states(text[:-1]) + text[-1] if text.endswith("\r") else last_states(text)]


def lines_end(text: str) -> int:
    """Return where the last whole line ends."""
    return text.rfind("\n") + 1


def blocks_end(text: str) -> int:
    """Return where the last whole block of Markdown ends: at an empty line outside code."""
    whole = lines_end(text)
    end = position = 0
    fence = ""
    for line in text[:whole].splitlines(keepends=True):
        position += len(line)
        mark = line.lstrip()[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in _FENCES:
            fence = mark
        elif not line.strip():
            end = position
    return whole if whole - end > MAX_RENDERED else end


def markdown_renderer(*, color: bool) -> Callable[[str, int], str] | None:
    """Return what renders Markdown in so many columns; none where ``rich`` is not installed."""
    try:
        from markdown_it import MarkdownIt  # noqa: PLC0415  # rich needs it
        from rich.console import Console  # noqa: PLC0415  # optional
        from rich.markdown import Markdown  # noqa: PLC0415  # optional
    except ImportError:
        return None

    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])

    def render(text: str, width: int) -> str:
        if len(text) > MAX_RENDERED:
            return text
        page = io.StringIO()
        console = Console(file=page, width=width, force_terminal=True, color_system="standard" if color else None)
        # A link shows where it leads, rather than being one; and HTML is text, where rich would leave it out.
        markdown = Markdown(text, code_theme="ansi_dark", hyperlinks=False)
        markdown.parsed = parser.parse(text)
        console.print(markdown)
        # Markdown has names for characters, those included that turn a line.
        rendered = _RENDERED.sub(lambda found: found[1] or "", page.getvalue()).rstrip("\n")
        return f"{rendered}\n" if text.endswith("\n") else rendered

    return render
