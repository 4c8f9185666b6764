"""Small charts: a curve for each column, as SVG with words and as PNG without. Nothing but the standard library."""

import struct
import zlib
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Final

from agentsocket.offline_agent.columns import Column

MAX_CURVES = 4

_WIDTH, _HEIGHT, _MARGIN, _TITLE = 640, 120, 12, 20
"""Of the picture, of one curve's part of it, round the curve, and of its title, in pixels."""
_COLOURS: Final = ("2563eb", "dc2626", "059669", "9333ea")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def as_svg(columns: Sequence[Column]) -> bytes:
    """Draw the columns' curves, one below the other, with their names and their least and greatest numbers."""
    height = _HEIGHT * len(columns)
    size = f'width="{_WIDTH}" height="{height}"'
    box = f'viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} font-family="sans-serif" font-size="12">',
        f'<rect {size} fill="#fff"/>',
    ]
    for number, column in enumerate(columns):
        top = number * _HEIGHT
        spread = f"{column.least:.6g} … {column.most:.6g}"
        points = " ".join(f"{x:.1f},{top + y:.1f}" for x, y in _curve(column))
        parts += [
            f'<text x="{_MARGIN}" y="{top + 15}" font-weight="bold">{escape(column.name)}</text>',
            f'<text x="{_WIDTH - _MARGIN}" y="{top + 15}" text-anchor="end" fill="#555">{spread}</text>',
            f'<polyline points="{points}" fill="none" stroke="#{_COLOURS[number]}" stroke-width="2"/>',
        ]
    return "\n".join([*parts, "</svg>\n"]).encode()


def as_png(columns: Sequence[Column]) -> bytes:
    """Draw the same curves for who can show no SVG, or may not."""
    lines = [bytearray(_WIDTH) for _ in range(_HEIGHT * len(columns))]
    for number, column in enumerate(columns):
        for (x, y), (next_x, next_y) in pairwise(_curve(column)):
            for at in range(round(x), round(next_x) + 1):
                here, there = (_between(x, y, next_x, next_y, place) for place in (at, at + 1))
                for row in range(int(min(here, there)), int(max(here, there)) + 2):
                    lines[number * _HEIGHT + min(row, _HEIGHT - 1)][at] = number + 1
    palette = bytes.fromhex("ffffff" + "".join(_COLOURS))
    head = struct.pack(">IIBBBBB", _WIDTH, len(lines), 8, 3, 0, 0, 0)  # a byte for a pixel, an index of the palette
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"PLTE", palette) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _curve(column: Column) -> list[tuple[float, float]]:
    """Return where the curve of a column goes, from the top left of its part of the picture."""
    points = column.curve
    if len(points) == 1:
        points = points * 2
    across = (_WIDTH - 2 * _MARGIN) / (len(points) - 1)
    down = _HEIGHT - _TITLE - 2 * _MARGIN
    # By halves: what is between two numbers may be too large to be one.
    spread = column.most / 2 - column.least / 2
    return [
        (
            _MARGIN + number * across,
            _TITLE + _MARGIN + down * ((column.most / 2 - value / 2) / spread if spread else 0.5),
        )
        for number, value in enumerate(points)
    ]


def _between(x: float, y: float, next_x: float, next_y: float, at: float) -> float:
    share = min(max((at - x) / (next_x - x), 0.0), 1.0)
    return y + (next_y - y) * share


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
