"""Bytes cut into the frames of RFC 6455, before any of them is parsed: so each can be counted first."""

from typing import NamedTuple

WHOLE = frozenset({0x81, 0x82, 0xC1, 0xC2})
"""First bytes of frames that are a whole message: text or binary, compressed or not."""

CLOSE = 0x88
"""The first byte of a close frame."""

MASKED, LENGTH = 0x80, 0x7F
"""Bits of its second byte."""


class Piece(NamedTuple):
    """A frame, or what has come of it so far."""

    head: int | None
    """Its first byte; none where this goes on with a frame that has begun."""
    data: bytes


class Cutter:
    """Takes bytes as they come, and gives them out frame by frame. A frame is not waited for: its part is a piece."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def clear(self) -> None:
        """Drop everything."""
        self._data, self._at = b"", 0

    def cut(self) -> Piece | None:
        """Return the next piece; none where its head at least is still to come."""
        start, head = self._at, None
        if not self._missing:
            size = _size(self._data, start)
            if size is None:
                return None
            head, self._missing = self._data[start], size
        end = start + self._missing
        piece = self._data[start:end]
        if not piece:
            return None
        self._missing -= len(piece)
        self._at = start + len(piece)
        return Piece(head, piece)


def _size(data: bytes, start: int) -> int | None:
    """Return how many bytes the frame has that begins here; none where that is still to come."""
    if len(data) < start + 2:
        return None
    second = data[start + 1]
    length, head = second & LENGTH, 6 if second & MASKED else 2
    if length < 126:  # noqa: PLR2004  # section 5.2
        return head + length
    extended = 2 if length == 126 else 8  # noqa: PLR2004
    if len(data) < start + 2 + extended:
        return None
    return head + extended + int.from_bytes(data[start + 2 : start + 2 + extended])
