"""The chart of the README: a panel for each of the telling figures, a bar for each server. Light and dark."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from bench.servers import BARE, SERVER, USUAL

PANELS = (
    ("burst", "rate", "One client, a burst", "frames/s, more is better", 0),
    ("burst", "cpu", "The same: server CPU", "µs a frame, less is better", 1),
    ("pacing", "cpu", "500 sessions at token pace: CPU", "µs a frame, less is better", 1),
    ("mixed", "slowest", "20 clients beside one that bursts", "slowest round trip in ms, less is better", 1),
    ("connect", "crowd", "Connect and log in, 50 at once", "logins/s, more is better", 0),
    ("round-trip", "rate", "One request after the other", "requests/s, more is better", 0),
)
PEERS = (SERVER, BARE, USUAL)

WIDTH, COLUMN, GAP, MARGIN = 840, 386, 28, 20
HEAD, ROW, BAR, PANEL_GAP = 50, 25, 16, 26
LABEL, VALUE = 84, 76
PANEL = HEAD + ROW * len(PEERS) + PANEL_GAP

STYLE = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #59636e }
    .title { font-size: 14px; font-weight: 600; fill: #1f2328 }
    .own { font-weight: 600; fill: #1f2328 }
    .value { font-variant-numeric: tabular-nums }
    .track { fill: #818b98; fill-opacity: .1 }
    .bar { fill: #afb8c1 }
    .bar.own { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1 }
      .title, .own { fill: #f0f6fc }
      .bar { fill: #565e68 }
      .bar.own { fill: #4493f8 }
    }
"""


def chart(document: Mapping[str, Any]) -> str:
    """Draw what ``--json`` writes, as an SVG: those panels that were measured."""
    measured = document["scenarios"]
    panels = [panel for panel in PANELS if panel[1] in measured.get(panel[0], {})]
    height = MARGIN + (len(panels) + 1) // 2 * PANEL + 20
    drawn = [
        _panel(*divmod(place, 2), panel, measured[panel[0]][panel[1]]["median"]) for place, panel in enumerate(panels)
    ]
    cores, python, library = (document["machine"][key] for key in ("cores", "python", "websockets"))
    note = f"Medians of one run of python -m bench on {cores} cores, {python}, websockets {library}"
    foot = _text(MARGIN, height - 14, note)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img">\n  <title>This server beside a bare loop over websockets and the usual port</title>\n'
        f"  <style>{STYLE}  </style>\n{''.join(drawn)}{foot}</svg>\n"
    )


def _panel(row: int, column: int, panel: tuple[str, str, str, str, int], medians: Mapping[str, float]) -> str:
    _, _, title, unit, digits = panel
    x, y = MARGIN + column * (COLUMN + GAP), MARGIN + row * PANEL
    return "".join(
        [
            _text(x, y + 14, title, "title"),
            _text(x, y + 32, unit),
            *_bars(x, y + HEAD, medians, digits),
        ]
    )


def _bars(x: int, y: int, medians: Mapping[str, float], digits: int) -> Iterable[str]:
    longest, room = max(medians.values()) or 1, COLUMN - LABEL - VALUE
    for peer in PEERS:
        if peer.name in medians:
            value, own = medians[peer.name], " own" if peer is SERVER else ""
            yield _text(x, y + 12, peer.title, own.strip())
            yield _bar(x + LABEL, y, room, "track")
            yield _bar(x + LABEL, y, max(2, room * value / longest), "bar" + own)
            yield _text(x + LABEL + room + 8, y + 12, f"{value:,.{digits}f}", "value" + own)
            y += ROW


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'  <rect class="{kind}" x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3"/>\n'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'  <text x="{x}" y="{y}"' + (f' class="{kind}"' if kind else "") + f">{escape(text)}</text>\n"
