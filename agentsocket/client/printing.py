"""What is printed is safe to print: nothing an agent says reaches the terminal as a command."""

import re
import sys
from typing import Final

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What could command a terminal, or break or turn its lines: all but newline and tab."""


def clean(text: str) -> str:
    """Make an agent's text safe to print."""
    return CONTROLS.sub("", text)


def one_line(frame: str) -> str:
    """Make a frame one line that is safe to print, and still the same JSON."""
    return CONTROLS.sub(lambda char: f"\\u{ord(char[0]):04x}", re.sub(r"[\n\r\t]", " ", frame))


def say(line: str) -> None:
    """Print to standard output, at once."""
    print(line, flush=True)


def note(line: str) -> None:
    """Print what is not the answer, to standard error."""
    print(clean(line), file=sys.stderr, flush=True)
