"""What is printed is safe to print: nothing an agent says reaches the terminal as a command."""

import json
import re
import sys
from typing import Any, Final

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What could command a terminal, or break or turn its lines: all but newline and tab."""

# A command with text in it (a title, a link), which ends with its line where nothing else ends it; one with numbers in
# it (a colour, a movement); any other. What is cut short is one, too.
_COMMAND: Final = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_WHOLE: Final = re.compile(
    r"[^\x07\x9c]*(?:\x07|\x1b\\|\x9c)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-OQ-WYZ\\`-~]", re.DOTALL
)
MAX_CUT: Final = 4096
"""Characters of a command that may come in pieces."""

_OTHERS: Final = re.compile(CONTROLS.pattern.replace(r"\x0b-\x1f", r"\x0b\x0c\x0e-\x1f"))
"""The controls, but not the carriage return: see ``last_states``."""


def clean(text: str) -> str:
    """Make an agent's text safe to print: no commands to the terminal, and of what writes over itself the last."""
    return last_states(_OTHERS.sub("", _COMMAND.sub("", text)))


def last_states(text: str) -> str:
    """Return what a terminal would show of lines that carriage returns begin anew, as progress is shown."""
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


class Cleaner:
    """Cleans a text that comes in pieces, which may cut a command in two. Carriage returns stay in it."""

    def __init__(self) -> None:
        self._cut = ""

    def add(self, piece: str) -> str:
        """Return what can be printed by now."""
        text, self._cut = self._cut + piece, ""
        for found in _COMMAND.finditer(text):
            if found.end() == len(text) and len(found[0]) < MAX_CUT and not _WHOLE.fullmatch(found[0]):
                self._cut = found[0]
        return _OTHERS.sub("", _COMMAND.sub("", text))


def cleaned(value: Any) -> Any:
    """Return a JSON value whose texts are safe to print, which JSON itself would spell out."""
    match value:
        case str():
            return clean(value)
        case list():
            return [cleaned(item) for item in value]
        case dict():
            return {clean(key): cleaned(item) for key, item in value.items()}
    return value


def as_json(value: Any) -> str:
    """Write a value as JSON for a person to read."""
    return json.dumps(value, ensure_ascii=False)


def one_line(frame: str) -> str:
    """Make a frame one line that is safe to print, and still the same JSON."""
    return CONTROLS.sub(lambda char: f"\\u{ord(char[0]):04x}", re.sub(r"[\n\r\t]", " ", frame))


def one_row(text: str, limit: int) -> str:
    """Make a text one harmless line of at most so many characters."""
    line = re.sub(r"[\n\t]", " ", clean(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def amount(size: int) -> str:
    """Say how much so many bytes are: ``20.5 kB``."""
    if size == 1:
        return "1 byte"
    number, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:  # noqa: PLR2004  # what would be written with four digits
        number, units = number / 1000, units[1:]
    return f"{number:.1f} {units[0]}" if units[0] != "bytes" and number < 100 else f"{number:.0f} {units[0]}"  # noqa: PLR2004


def say(line: str, end: str = "\n") -> None:
    """Print to standard output, at once; what that has no characters for is replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), end=end, flush=True)


def note(line: str) -> None:
    """Print what is not the answer, to standard error."""
    print(clean(line), file=sys.stderr, flush=True)


def write_note(text: str) -> None:
    """Write to standard error as it is."""
    print(text, end="", file=sys.stderr, flush=True)
