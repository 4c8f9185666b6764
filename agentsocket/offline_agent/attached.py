"""The tool for a file that is attached: it says what is in a text or a table, and draws the numbers."""

from collections.abc import Mapping
from contextlib import closing
from itertools import chain, count
from pathlib import PurePath
from typing import Final

from agentsocket.agent.contract import AgentError, Attachment, Turn
from agentsocket.offline_agent.chart import MAX_CURVES, as_png, as_svg
from agentsocket.offline_agent.columns import (
    Column,
    RowTooLong,
    as_number,
    columns_for,
    delimiter_of,
    rows,
    shown,
)
from agentsocket.offline_agent.text_file import TextFile
from agentsocket.offline_agent.tool import TOOL_CONTEXT, Tool, ToolContext, ToolError
from agentsocket.protocol.events import ToolProgress

MAX_TOLD = 10
"""Columns that are told of one by one."""

_PIECE = 4096
"""Characters of a text that are read at once."""
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_TABLES: Final = frozenset({".csv", ".tsv", ".tab"})
_TABLE_TYPES: Final = frozenset({"text/csv", "text/tab-separated-values"})
_WRITTEN: Final = {"utf-8": "", "utf-8-sig": "", "cp1252": " in Latin-1"}


def by_name(turn: Turn) -> Mapping[str, Attachment]:
    """The files that came with a request, each by a name that no other of them has."""
    named: dict[str, Attachment] = {}
    for file in turn.attachments:
        names = chain([file.name], (f"{file.name} ({number})" for number in count(2)))
        named[next(name for name in names if name not in named)] = file
    return named


def read_attachment(name: str) -> str:
    """Read a file that is attached to the message: say what it is, what is in its columns, and draw its numbers.

    Args:
        name: The file's name.
    """
    context = TOOL_CONTEXT.get()
    named = by_name(context.turn)
    if name not in named:
        raise ToolError(f"{'No such file' if named else 'No file'} is attached to this message.")
    file = named[name]
    what = f"{shown(name)} ({file.media_type}, {_size(file.size)})"
    if not file.size:
        return f"{what} is empty."
    if file.media_type.partition("/")[0] in {"image", "audio", "video"}:
        return f"{what} is attached. I look at texts and tables only."

    def tell(read: int) -> None:
        progress = ToolProgress(
            tool_call_id=context.call_id, progress=read, total=file.size, message=f"Reading {shown(name)}"
        )
        context.turn.emit_blocking(progress)  # raises where the task is being stopped

    try:
        text = TextFile(file.path, file.size, tell)
        return f"{what} {_read(text, file, context)}" if text.encoding else f"{what} is no text that I can read."
    except OSError as exc:
        raise ToolError(f"{shown(name)} cannot be read any more.") from exc


READ_ATTACHMENT: Final = Tool(
    read_attachment,
    doing="read what is attached",
    example="What is in it?",
    asked=(),  # a file that is attached asks for it, whatever the message says
    lane="attachments",
)


def _read(text: TextFile, file: Attachment, context: ToolContext) -> str:
    is_named_so = PurePath(file.name).suffix.lower() in _TABLES or file.media_type in _TABLE_TYPES
    delimiter = delimiter_of(text.beginning, is_named_so=is_named_so)
    table = _as_table(text, delimiter) if delimiter else None
    said, columns = table or _as_text(text)
    if delimiter and not table:
        said += ", whose rows are too long for me to read it as a table"
    numeric = [column for column in columns if column.is_numeric]
    told = [_told(column) for column in numeric[:MAX_TOLD]]
    if len(numeric) > MAX_TOLD:
        told.append(f"- and {_count(len(numeric) - MAX_TOLD, 'more column')} of numbers")
    if numeric:
        told.append(_draw(numeric[:MAX_CURVES], file, context))
    return "\n".join([f"{said}{':' if told else '. There are no numbers in it.'}", *filter(None, told)])


def _as_table(text: TextFile, delimiter: str) -> tuple[str, list[Column]] | None:
    """Read a table: return what it is and its columns, or nothing where it is none."""
    comma, number, is_whole = delimiter == ";", 0, True
    try:
        with closing(text.pieces()) as pieces:
            found = rows(pieces, delimiter)
            if not (first := next(found, [])):
                return None
            columns, is_header = columns_for(first, decimal_comma=comma)
            for row in found if is_header else chain([first], found):
                number += 1
                for column, cell in zip(columns, row, strict=False):
                    column.add(as_number(cell, decimal_comma=comma), cell)
    except RowTooLong:
        if not number:
            return None
        is_whole = False
    for column in columns:
        column.settle()
    names = ", ".join(column.name for column in columns[:MAX_TOLD]) + (", …" if len(first) > MAX_TOLD else "")
    size = f"{_count(number, 'row')} and {_count(len(first), 'column')}{f' ({names})' if is_header else ''}"
    between = f", separated by {_SEPARATORS[delimiter]}" if len(first) > 1 else ""
    more = "" if is_whole and not text.cut else "; I have read no more than these rows"
    return f"is a table{_written(text)} of {size}{between}{more}", columns


def _as_text(text: TextFile) -> tuple[str, list[Column]]:
    words, column, rest = 0, Column("numbers"), ""
    with closing(text.pieces(_PIECE)) as pieces:
        for piece in chain(pieces, [" "]):
            found = (rest + piece).split()
            # A word may be cut in two. What is too long to be a number need not be whole.
            rest = "" if piece[-1].isspace() else found.pop()[:_PIECE]
            words += len(found)
            for word in found:
                if (number := as_number(word)) is not None:
                    column.add(number, word)
    column.settle()
    more = "; I have read no more than these" if text.cut else ""
    return f"is a text{_written(text)} of {_count(text.lines, 'line')} and {_count(words, 'word')}{more}", [column]


def _draw(columns: list[Column], file: Attachment, context: ToolContext) -> str:
    """Send a chart, once for the eye and once with words; return what there is to be said of it."""
    stem = PurePath(file.name).stem
    try:
        for drawn, suffix, media_type in (
            (as_png(columns), "png", "image/png"),
            (as_svg(columns), "svg", "image/svg+xml"),
        ):
            context.turn.send_file_blocking(drawn, f"{stem}-chart.{suffix}", media_type, context.call_id)
    except AgentError as exc:
        return f"\nA chart of them could not be sent: {exc}"
    return ""


def _told(column: Column) -> str:
    beside = [_count(column.others, "other text")] if column.others else []
    beside += [f"{column.not_finite:,} that are not finite"] if column.not_finite else []
    numbers = " beside ".join([_count(column.count, "number"), *([" and ".join(beside)] if beside else [])])
    return f"- {column.name}: {numbers}, min {column.least:.6g}, mean {column.mean:.6g}, max {column.most:.6g}"


def _written(text: TextFile) -> str:
    encoding = text.encoding or ""
    return _WRITTEN.get(encoding, f" in {encoding.upper().removesuffix('-LE').removesuffix('-BE')}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    for unit, bytes_ in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if size >= bytes_:
            return f"{size / bytes_:.3g} {unit}"
    return _count(size, "byte")
