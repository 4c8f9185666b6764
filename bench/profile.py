"""Where the server's time goes: ``python -m bench.profile burst`` prints its functions, the dearest first.

The profiler's own cost falls on every call, so small functions look dearer than they are: read shares, not times.
"""

import argparse
import pstats
import tempfile
from dataclasses import replace

from bench.catalogue import SCENARIOS
from bench.servers import SERVER


def main() -> None:
    """Run the server under cProfile through one scenario."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--scale", type=float, default=0.4, help="how much of it: 1 is all")
    parser.add_argument("--lines", type=int, default=30, help="functions to print")
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile(suffix=".prof") as file:
        profiled = replace(SERVER, command=("-m", "bench.profiled_server", file.name))
        SCENARIOS[options.scenario].measure(profiled, options.scale)
        pstats.Stats(file.name).strip_dirs().sort_stats("tottime").print_stats(options.lines)


if __name__ == "__main__":
    main()
