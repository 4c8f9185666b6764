"""The line that is being typed: keys in, whole lines out. It draws nothing and waits for nothing.

(The standard library's ``readline`` owns the terminal while it reads, so that nothing could be drawn beside its line.)
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agentsocket.terminal.text import cells

# A paste, whole; an escape sequence; Alt and a key; a key. What is cut short waits for its rest.
_KEY: Final = re.compile(r"\x1b\[200~(.*?)\x1b\[201~|\x1b(?:\[(?!200~)|O)[\d;]*[A-Za-z~]|\x1b[^\[O]|[^\x1b]", re.DOTALL)
_WORD_BEFORE: Final = re.compile(r"\S*\s*\Z")
_WORD_AFTER: Final = re.compile(r"\s*\S*")


class LineEditor:
    """One line, which may hold newlines that were pasted, with the keys that people know from ``readline``."""

    def __init__(self, history: Sequence[str]) -> None:
        """Start with an empty line; ``history`` holds the earlier ones, oldest first, and may grow."""
        self._history = history
        self._text, self._cursor = "", 0
        self._back, self._draft = 0, ""
        self._rest = ""
        self._keys: dict[str, Callable[[], None]] = {
            **dict.fromkeys(("\x1b[D", "\x1bOD", "\x02"), lambda: self._go(self._cursor - 1)),
            **dict.fromkeys(("\x1b[C", "\x1bOC", "\x06"), lambda: self._go(self._cursor + 1)),
            **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x01"), lambda: self._go(0)),
            **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x05"), lambda: self._go(len(self._text))),
            **dict.fromkeys(("\x1bb", "\x1b[1;5D", "\x1b[1;3D"), lambda: self._go(self._word_before())),
            **dict.fromkeys(("\x1bf", "\x1b[1;5C", "\x1b[1;3C"), lambda: self._go(self._word_after())),
            **dict.fromkeys(("\x7f", "\x08"), lambda: self._cut(self._cursor - 1, self._cursor)),
            **dict.fromkeys(("\x1b[3~", "\x04"), lambda: self._cut(self._cursor, self._cursor + 1)),
            **dict.fromkeys(("\x17", "\x1b\x7f"), lambda: self._cut(self._word_before(), self._cursor)),
            "\x1bd": lambda: self._cut(self._cursor, self._word_after()),
            "\x0b": lambda: self._cut(self._cursor, len(self._text)),
            "\x15": lambda: self._cut(0, self._cursor),
            **dict.fromkeys(("\x1b[A", "\x1bOA", "\x10"), lambda: self._recall(self._back + 1)),
            **dict.fromkeys(("\x1b[B", "\x1bOB", "\x0e"), lambda: self._recall(self._back - 1)),
        }

    @property
    def text(self) -> str:
        """What has been typed so far."""
        return self._text

    def write(self, text: str) -> None:
        """Replace the line, with the cursor at its end."""
        self._text, self._cursor = text, len(text)

    def clear(self) -> None:
        """Begin the line anew."""
        self.write("")
        self._back, self._rest = 0, ""

    def feed(self, typed: str) -> Iterator[str | None]:
        """Take keys as a terminal sends them; yield each line that they end, and none for the end of the input."""
        typed, end = self._rest + typed, 0
        while key := _KEY.match(typed, end):
            end = key.end()
            if key[0] in {"\r", "\n"}:
                yield self._text
                self.write("")
                self._back = 0
            elif key[0] == "\x04" and not self._text:
                yield None
            else:
                self._press(key[0], key[1])
        self._rest = typed[end:]

    def window(self, width: int) -> tuple[str, int]:
        """Return the part of the line to show in so many columns, and the column of the cursor in it."""
        shown = self._text.replace("\n", "↵").replace("\t", " ")
        start = max(0, self._cursor - width + 1)
        while cells(shown[start : self._cursor]) >= width:
            start += 1
        return shown[start : start + width], cells(shown[start : self._cursor])

    def _press(self, key: str, pasted: str | None) -> None:
        if action := self._keys.get(key):
            action()
        elif pasted is not None or len(key) == 1:
            text = (pasted or key).replace("\r\n", "\n").replace("\r", "\n")
            self._insert("".join(char for char in text if char.isprintable() or char in "\n\t"))

    def _insert(self, text: str) -> None:
        self._text = self._text[: self._cursor] + text + self._text[self._cursor :]
        self._cursor += len(text)

    def _go(self, position: int) -> None:
        self._cursor = min(max(0, position), len(self._text))

    def _cut(self, start: int, end: int) -> None:
        self._text = self._text[: max(0, start)] + self._text[end:]
        self._go(start)

    def _word_before(self) -> int:
        found = _WORD_BEFORE.search(self._text, 0, self._cursor)
        return found.start() if found else 0

    def _word_after(self) -> int:
        found = _WORD_AFTER.match(self._text, self._cursor)
        return found.end() if found else self._cursor

    def _recall(self, back: int) -> None:
        if not 0 <= back <= len(self._history):
            return
        if self._back == 0:
            self._draft = self._text
        self._back = back
        self.write(self._history[-back] if back else self._draft)
