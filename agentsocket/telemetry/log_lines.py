"""From a log record to its text, in which nobody's words pass for a line of the log.

A record begins at the margin. What a peer, an exception or an agent has said is escaped and cut; a traceback stays
readable, on lines that are indented.
"""

import logging
import traceback

MESSAGE_LIMIT = 4096
"""Characters of a message."""

EXCEPTION_LIMIT = 2048
"""Characters of what one exception says."""

BLOCK_LIMIT = 32 * 1024
"""Characters of a traceback, or of another text of several lines."""

BLOCK_LINES = 200

INDENT = "  "


class LineFormatter(logging.Formatter):
    """Makes the text of a record; ``record.ids`` says what the line belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, without a newline at its end."""
        message = record.getMessage()
        # A line that we (or an agent) broke ourselves is meant so; one that is broken by what it repeats is not.
        text = block(message).lstrip() if "\n" in str(record.msg) else one_line(message, MESSAGE_LIMIT)
        origin = f"{one_line(record.levelname)} {one_line(record.name)}:{getattr(record, 'ids', '')}"
        lines = [f"{self.formatTime(record)} {origin} {text}"]
        if record.exc_info and record.exc_info[1] is not None:
            lines.append(block(trace(record.exc_info[1])))
        if record.stack_info:
            lines.append(block(record.stack_info))
        return "\n".join(lines)


def one_line(text: str, limit: int = EXCEPTION_LIMIT) -> str:
    """Return the text on one line: cut in its middle, with what cannot be printed escaped."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {len(text) - limit} characters … {text[-limit // 2 :]}"
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def block(text: str) -> str:
    """Return a text of several lines, each of them indented, so that none passes for a record."""
    lines = text.rstrip("\n").split("\n")
    if len(lines) > BLOCK_LINES:
        half = BLOCK_LINES // 2
        lines[half:-half] = [f"… {len(lines) - BLOCK_LINES} lines …"]
    limit = 2 * EXCEPTION_LIMIT if len(text) <= BLOCK_LIMIT else BLOCK_LIMIT // BLOCK_LINES
    return "\n".join(INDENT + one_line(line, limit) for line in lines)


def trace(failure: BaseException) -> str:
    """Return the traceback of an exception and of what it came from; what each of them says is one line."""
    found = traceback.TracebackException.from_exception(failure)
    _tame(found)
    return "".join(found.format())


def _tame(found: traceback.TracebackException) -> None:
    """Put what an exception says, and each that it came from or holds, on one line."""
    waiting, seen = [found], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each._str = one_line(str(each))  # type: ignore[attr-defined]  # noqa: SLF001  # the only way to a text of ours
        notes = getattr(each, "__notes__", None)  # "notes" of 3.11 are whatever an exception was given
        each.__notes__ = [one_line(str(note)) for note in notes] if isinstance(notes, list | tuple) else None
        if isinstance(getattr(each, "text", None), str):  # a SyntaxError's own
            each.text, each.msg = one_line(each.text.rstrip("\n")), one_line(str(each.msg))
        waiting += [other for other in (each.__cause__, each.__context__, *(each.exceptions or ())) if other]


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
