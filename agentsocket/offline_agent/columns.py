"""The numbers of a text or of a table's columns, as they come by: kept is only what is told and drawn."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from agentsocket.offline_agent.text_file import MAX_LINE

MAX_COLUMNS = 200
"""Columns whose numbers are counted."""
MAX_ROW = MAX_LINE
"""Characters that no row may have, over however many lines: the line of a longer one would be cut."""
MAX_POINTS = 256
"""Of a curve."""
MAX_NAME = 40
"""Characters of a column's name that are repeated."""

_MAX_NUMBER = 40
_BATCH = 256
_BEGINNINGS: Final = frozenset("+-.0123456789 nNiI")
_THOUSANDS: Final = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_ROWS_LOOKED_AT = 50


def as_number(text: str, *, decimal_comma: bool = False) -> float | None:
    """Read a number, which may be none that is finite; None for any other text."""
    if text[:1] not in _BEGINNINGS or len(text) > _MAX_NUMBER:
        return None
    if "," in text:
        if decimal_comma and text.count(",") == 1:
            text = text.replace(".", "").replace(",", ".")
        elif _THOUSANDS.fullmatch(text.strip()):
            text = text.replace(",", "")
    try:
        number = float(text)
    except ValueError:
        return None
    return None if "_" in text else number


class Column:
    """One column, or the numbers of a text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = self.others = self.not_finite = 0
        """Numbers in it, texts that are none, and those that are no finite ones, which count for nothing else."""
        self.least, self.most, self.mean = math.inf, -math.inf, 0.0
        self.curve: list[float] = []
        """Numbers of it, as many as can be drawn, at even distances."""
        self._distance = 1
        self._batch: list[float] = []

    @property
    def is_numeric(self) -> bool:
        """Whether it is one of numbers, for the most part."""
        return self.count > 0 and self.count >= self.others

    def add(self, number: float | None, text: str) -> None:
        """Add a cell's number, or its text that is none; they count once they are settled."""
        if number is None:
            self.others += bool(text.strip())
        elif math.isfinite(number):
            self._batch.append(number)
            if len(self._batch) == _BATCH:
                self.settle()
        else:
            self.not_finite += 1

    def settle(self) -> None:
        """Count what was added."""
        if not (batch := self._batch):
            return
        self.curve += batch[-self.count % self._distance :: self._distance]
        while len(self.curve) > MAX_POINTS:
            self.curve = self.curve[::2]
            self._distance *= 2
        before, self.count = self.count, self.count + len(batch)
        # Divided first: a sum may be too large to be a number.
        self.mean = self.mean * (before / self.count) + math.fsum(number / self.count for number in batch)
        self.least, self.most = min(self.least, *batch), max(self.most, *batch)
        self._batch = []


class RowTooLong(Exception):  # noqa: N818  # it is no error: the rows before it stand
    """A row goes on and on: a quotation mark that is never closed, for one."""


def rows(pieces: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Read the rows of a table; empty lines are none.

    Raises:
        RowTooLong: where the next one has ``MAX_ROW`` characters or more.
    """
    size = 0

    def measured() -> Iterator[str]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            if size >= MAX_ROW:
                raise RowTooLong
            yield piece

    try:
        for row in csv.reader(measured(), delimiter=delimiter, skipinitialspace=True):
            size = 0
            if row:
                yield row
    except csv.Error as exc:
        raise RowTooLong from exc


def delimiter_of(beginning: str, *, is_named_so: bool) -> str | None:
    """Tell what stands between the columns of a table, by how it begins; None where that looks like no table.

    ``is_named_so`` says that its name or its type promises one.
    """
    best, most = None, 1
    for delimiter in ",;\t|":
        found = _first_rows(beginning, delimiter)
        widths = [len(row) for row in found]
        alike = bool(widths) and widths.count(widths[0]) >= len(widths) * 0.9
        is_table = alike and (is_named_so or (len(set(widths)) == 1 and _has_numbers(found[1:], delimiter)))
        if is_table and widths[0] > most:
            best, most = delimiter, widths[0]
    return best or ("," if is_named_so and beginning.strip() else None)


def _has_numbers(found: list[list[str]], delimiter: str) -> bool:
    return any(as_number(cell, decimal_comma=delimiter == ";") is not None for row in found for cell in row)


def _first_rows(beginning: str, delimiter: str) -> list[list[str]]:
    found = []
    try:
        for row in rows(beginning.splitlines(keepends=True), delimiter):
            found.append(row)
            if len(found) == _ROWS_LOOKED_AT:
                break
    except RowTooLong:
        pass
    return found


def columns_for(first: list[str], *, decimal_comma: bool) -> tuple[list[Column], bool]:
    """Return the columns of a table that begins with this row, and whether that row is their names."""
    is_header = any(first) and all(as_number(cell, decimal_comma=decimal_comma) is None for cell in first)
    named = (shown(cell) if is_header else "" for cell in first[:MAX_COLUMNS])
    return [Column(name or f"column {number}") for number, name in enumerate(named, 1)], is_header


def shown(name: str) -> str:
    """Repeat a name that somebody else has chosen: on one line, without what cannot be printed, and not at length."""
    text = " ".join("".join(char if char.isprintable() else " " for char in name[: 4 * MAX_NAME]).split())
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
