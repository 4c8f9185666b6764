"""Stress the server: ``python -m tests.stress [--seed N] [--only NAME] [--short]``.

Each scenario starts a server of its own and prints what it measured beside its goal, with the seed that repeats it.
Exit code 1 if a goal is missed.
"""

import argparse
import asyncio
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable

from tests.stress import crowds, lifecycle, links
from tests.stress.report import Run

SCENARIOS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "load": crowds.load,
    "cuts": links.cuts,
    "ends": lifecycle.ends,
    "stalled": crowds.stalled,
    "frozen": links.frozen,
    "isolation": crowds.isolation,
    "storm": links.storm,
    "leaks": lifecycle.leaks,
    "shutdown": lifecycle.shutdown,
}


async def run_scenario(name: str, seed: int, *, short: bool) -> list[str]:
    """Run one scenario; return the goals that it missed."""
    run = Run(seed, short)
    print(f"{name}, seed {seed}{' (short)' if short else ''}: {SCENARIOS[name].__doc__}", flush=True)  # noqa: T201
    started = time.monotonic()
    await SCENARIOS[name](run)
    run.say(f"took {time.monotonic() - started:.1f} s\n")
    return run.missed


def raise_descriptor_limit() -> None:
    """Let this process open as many connections as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Run the scenarios that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description="Stress the server.")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="repeat a run (default: a random one)"
    )
    parser.add_argument("--only", choices=SCENARIOS, help="run this scenario alone")
    parser.add_argument("--short", action="store_true", help="in the size that the tests run")
    options = parser.parse_args()
    raise_descriptor_limit()
    missed = []
    for name in [options.only] if options.only else SCENARIOS:
        missed += [f"{name}: {what}" for what in asyncio.run(run_scenario(name, options.seed, short=options.short))]
    print("\n".join(["MISSED:", *missed]) if missed else "All goals are met.")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
