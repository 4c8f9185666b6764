"""The results as a table and as JSON."""

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from typing import Any

from bench.catalogue import SCENARIOS
from bench.figures import TIMES
from bench.results import Result
from bench.servers import BARE, SERVER, USUAL

PEERS = (SERVER, BARE, USUAL)
WIDTHS = (30, 16, 16, 16, 8)


def table(results: Iterable[Result]) -> str:
    """Return a table for people: medians, how far the rounds lie from them, ratios to the bare loop, and goals."""
    lines = [_line("", *(peer.title for peer in PEERS), "ratio", "goal")]
    for name, group in groupby(results, key=lambda result: result.scenario):
        lines += ["", SCENARIOS[name].title]
        lines += [_row(result) for result in group]
    return "\n".join(lines) + "\n"


def document(results: Sequence[Result], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON."""
    scenarios: dict[str, dict[str, Any]] = {}
    for result in results:
        scenarios.setdefault(result.scenario, {})[result.name] = result.as_json()
    return {"machine": machine, "scenarios": scenarios}


def machine() -> dict[str, Any]:
    """Return what the figures depend on. A load of its own, before anything runs here, spoils them."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "websockets": version("websockets"),
        "pydantic": version("pydantic"),
        "flags": sys.argv[1:],
    }


def _row(result: Result) -> str:
    cells = [_cell(result, peer.name) for peer in PEERS]
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}{TIMES}"
    return _line("  " + result.figure.title, *cells, ratio, _verdict(result))


def _cell(result: Result, peer: str) -> str:
    if peer not in result.samples:
        return ""
    value = f"{result.median(peer):,.{result.figure.digits}f}"
    return f"{value} ±{result.spread(peer):4.0%}" if len(result.samples[peer]) > 1 else value


def _verdict(result: Result) -> str:
    goals = ", ".join(map(str, result.figure.goals))
    return f"{goals}  MISSED: {', '.join(result.missed)}" if result.missed else goals and f"{goals}  ✓"


def _line(title: str, *cells: str) -> str:
    width, *widths = WIDTHS
    columns = [f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=False)]
    return f"{title:{width}}{''.join(columns)}  {cells[-1]}".rstrip()
