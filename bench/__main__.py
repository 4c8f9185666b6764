"""Measure the server beside its peers: ``python -m bench``. A few minutes; no network."""

import argparse
import gc
import json
import resource
import sys
from pathlib import Path

from bench import report
from bench.catalogue import SCENARIOS
from bench.chart import chart
from bench.results import Result, measure


def main() -> int:
    """Run what the command line asks for, and return the exit code."""
    options = _parser().parse_args()
    machine = report.machine()
    _prepare()
    results: list[Result] = []
    for name in options.only:
        results += measure(name, SCENARIOS[name], quick=options.quick)
    sys.stdout.write(report.table(results))
    document = report.document(results, machine)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if options.svg:
        options.svg.write_text(chart(document))
    return int(options.check and any(result.missed for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", type=_names, default=list(SCENARIOS), help=",".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once: to see that it works")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all that was measured")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write the chart of the README")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SCENARIOS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return [name for name in SCENARIOS if name in names]


def _prepare() -> None:
    # The client's own pauses would look like the server's, and so would its lack of descriptors.
    gc.disable()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
