"""A terminal's screen, as far as the program uses one: bytes in, what a person sees out."""

import codecs
import re

from agentsocket.terminal.text import cells

_TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b(?:[()].|[=>78])|(\x1b.*)\Z|([ -~]+|.)", re.DOTALL)


class Display:
    """Every line that was ever shown, with the style of each character; only the last ``rows`` can still change."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[list[tuple[str, str]]] = [[]]
        self.raw = ""
        """All that has been received."""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._row = self._column = 0
        self._style, self._wraps, self._rest = "", True, ""

    @property
    def text(self) -> str:
        """What stands there, without the spaces at the ends of lines."""
        return "\n".join("".join(char for char, _ in line).rstrip() for line in self.lines)

    def styles(self, text: str) -> set[str]:
        """Return the styles that a text on one line is shown in, at its last place."""
        for line in reversed(self.lines):
            shown = "".join(char for char, _ in line)
            if (start := shown.find(text)) >= 0:
                return {style for _, style in line[start : start + len(text)]}
        raise AssertionError(text)

    def feed(self, data: bytes) -> None:
        """Take what the program writes."""
        text = self._decode(data)
        self.raw += text
        text, self._rest = self._rest + text, ""
        for parameters, command, unfinished, said in _TOKEN.findall(text):
            if command:
                self._obey(parameters, command)
            elif unfinished:
                self._rest = unfinished
            elif len(said) > 1:
                self._print_narrow(said)
            elif said:
                self._put(said)

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._go_down()
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char.isprintable() or char == " ":
            self._print(char)

    def _print(self, char: str) -> None:
        width = cells(char)
        if self._column + width > self.columns:
            if not self._wraps:
                return
            self._column = 0
            self._go_down()
        line = self.lines[self._row]
        line.extend([(" ", "")] * (self._column + width - len(line)))
        line[self._column : self._column + width] = [(char, self._style), *[("", self._style)] * (width - 1)]
        self._column += width

    def _print_narrow(self, text: str) -> None:
        """Do the same with many characters of one cell each: all at once, as they may be hundreds of thousands."""
        while text:
            if self._column >= self.columns:
                if not self._wraps:
                    return
                self._column = 0
                self._go_down()
            piece, text = text[: self.columns - self._column], text[self.columns - self._column :]
            line = self.lines[self._row]
            line.extend([(" ", "")] * (self._column - len(line)))
            line[self._column : self._column + len(piece)] = [(char, self._style) for char in piece]
            self._column += len(piece)

    def _go_down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append([])

    def _obey(self, parameters: str, command: str) -> None:
        number = int(parameters) if parameters.isdigit() else 0
        match command:
            case "A":
                self._row = max(self._row - (number or 1), len(self.lines) - self.rows, 0)
            case "B":
                self._row = min(self._row + (number or 1), len(self.lines) - 1)
            case "C":
                self._column = min(self._column + (number or 1), self.columns - 1)
            case "D":
                self._column = max(self._column - (number or 1), 0)
            case "J":
                del self.lines[self._row + 1 :]
                del self.lines[self._row][self._column :]
            case "K":
                del self.lines[self._row][self._column :]
            case "m":
                self._style = "" if parameters in {"", "0"} else f"{self._style};{parameters}".strip(";")
            case "h" | "l" if parameters == "?7":
                self._wraps = command == "h"
