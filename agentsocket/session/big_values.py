"""Values that are too big to be encoded on the event loop: done in slices, in a thread, and cut where they may be.

The encoder keeps Python's one lock while it works, so a thread alone would help nobody: it is the slices that let the
others have their turn.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, from_json, to_json

from agentsocket.session.encoding import as_text, clean

T = TypeVar("T")

BIG = 32 * 1024
"""Bytes, about: what is smaller is encoded where it is said, in a millisecond or two."""

SLICE = 3 * 4096
"""Bytes, about, that are encoded at once. Divisible by three, for base64."""

NOTE = 128
"""Bytes that are kept free for what is said of something cut."""

LISTS = (list, tuple, set, frozenset, deque)


def weight(value: Any, enough: int) -> int:
    """Return about how many bytes of JSON a value makes, counted no further than to ``enough``."""
    total, within = 0, [iter((value,))]
    while within and total <= enough:
        for each in within[-1]:
            total += 8
            if isinstance(each, str | bytes):
                total += len(each)
            elif (inner := _inner(each)) is not None:
                within.append(inner)
                break
            if total > enough:
                break
        else:
            within.pop()
    return total


def encode_big(value: Any, limit: int | None) -> bytes:
    """Return a value as JSON, of so many bytes at most: what is cut out of it says there how much that was."""
    for each in (lambda: value, lambda: as_text(value)):
        encoder = _Encoder(limit)
        try:
            encoder.value(each(), 0)
        except (PydanticSerializationError, ValueError, RecursionError):  # JSON has no form for it
            continue
        return b"".join(encoder.pieces)
    raise AssertionError("text has a form")  # pragma: no cover


def _inner(value: Any) -> Iterator[Any] | None:
    """Return what a value is made of, where it is made of more than itself."""
    if isinstance(value, dict):
        return iter(value.items())
    if isinstance(value, LISTS):
        return iter(value)
    if hasattr(type(value), "__pydantic_serializer__") or _is_dataclass(value):
        return iter(vars(value).values()) if hasattr(value, "__dict__") else None
    return None


def _is_dataclass(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


class _Encoder:
    """Writes values piece by piece, as long as there is room for them."""

    def __init__(self, limit: int | None) -> None:
        self.pieces: list[bytes] = []
        self._room: float = math.inf if limit is None else limit

    def value(self, value: Any, depth: int) -> None:
        """Write a value, or as much of it as there is room for."""
        if isinstance(value, str | bytes):
            self._text(value, depth)
        elif weight(value, SLICE) <= SLICE and len(data := _encoded(value, depth)) <= self._room:
            self._put(data)
        elif isinstance(value, dict):
            self._many(value, value.items(), depth + 1)
        elif isinstance(value, LISTS):
            self._many(value, value, depth + 1)
        elif hasattr(type(value), "__pydantic_serializer__"):
            self._model(value, depth)
        elif _is_dataclass(value):
            self.value({field.name: getattr(value, field.name) for field in fields(value)}, depth)
        else:
            self._text(as_text(value), depth)

    def _model(self, value: Any, depth: int) -> None:
        """Write a Pydantic model in one go, since only it knows what it shows of itself; as text where that is cut."""
        data = to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=str)
        if len(data) <= self._room:
            self._put(data)
        else:
            self._text(data.decode(), depth)

    def _many(self, value: Collection[Any], entries: Iterable[Any], depth: int) -> None:
        is_dict, done = isinstance(value, dict), 0
        self._put(b"{" if is_dict else b"[")
        self._room -= NOTE
        for batch in _batches(entries):
            written = self._batch(batch, depth, is_dict=is_dict, first=not done)
            done += written
            if written < len(batch):
                break
        self._room += NOTE
        if done < len(value):
            note = to_json(f"[cut: {len(value) - done} of {len(value)} items are left out]")
            self._put((b"," if done else b"") + (to_json("…") + b":" if is_dict else b"") + note)
        self._put(b"}" if is_dict else b"]")

    def _batch(self, batch: list[Any], depth: int, *, is_dict: bool, first: bool) -> int:
        """Write the entries of a batch that there is room for; return how many."""
        comma = b"" if first else b","
        if len(batch) > 1:
            data = comma + _encoded(dict(batch) if is_dict else batch, depth - 1)[1:-1]
            if len(data) <= self._room:
                self._put(data)
                return len(batch)
        for number, entry in enumerate(batch):
            key, value = entry if is_dict else (None, entry)
            head = comma + (_encoded({key: None}, depth - 1)[1:-5] if is_dict else b"")  # without its braces and null
            if len(head) + NOTE > self._room:
                return number
            self._put(head)
            self.value(value, depth)
            comma = b","
        return len(batch)

    def _text(self, text: str | bytes, depth: int) -> None:
        self._put(b'"')
        self._room -= NOTE
        done = 0
        while done < len(text):
            part = _part(text, done)
            data, written = self._fitting(part, depth)
            self._put(data)
            done += written
            if written < len(part):
                break
        self._room += NOTE
        if done < len(text):
            unit = "characters" if isinstance(text, str) else "bytes"
            self._put(to_json(f"… [cut: {len(text) - done} of {len(text)} {unit} are left out]")[1:-1])
        self._put(b'"')

    def _fitting(self, part: str | bytes, depth: int) -> tuple[bytes, int]:
        """Return as much of a text as there is room for, and how long that is."""
        data = _encoded(_clean(part), depth)[1:-1]
        while part and len(data) > self._room:
            part = part[: max(0, min(len(part) - 1, int(len(part) * self._room / len(data))))]
            data = _encoded(_clean(part), depth)[1:-1]
        return data, len(part)

    def _put(self, data: bytes) -> None:
        self.pieces.append(data)
        self._room -= len(data)


def _batches(values: Iterable[T]) -> Iterator[list[T]]:
    """Part values into such lists as can be encoded at once, or have one value alone."""
    batch: list[T] = []
    size = 0
    for value in values:
        added = weight(value, SLICE)
        if batch and size + added > SLICE:
            yield batch
            batch, size = [], 0
        batch.append(value)
        size += added
    if batch:
        yield batch


def _part(text: Any, start: int) -> Any:
    end = start + SLICE
    if isinstance(text, str):
        end += "\ud800" <= text[end - 1 : end] <= "\udbff"  # never within a pair
    return text[start:end]


def _clean(part: str | bytes) -> str | bytes:
    return clean(part) if isinstance(part, str) else part


def _encoded(value: Any, depth: int) -> bytes:
    data = to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=str)
    from_json(b"[" * depth + data + b"]" * depth)  # what can be written is more than what a client can read
    return data
