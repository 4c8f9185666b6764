"""From runs to results: each peer in turn, round by round, and the median of what they yield."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Figure, Scenario
from bench.servers import BARE, SERVER, Peer

QUICK = 0.1
"""The scale of a quick run: a tenth of everything, once."""

Samples = dict[str, list[float]]
"""What was measured of one figure in each round, by the name of the peer."""


@dataclass(frozen=True)
class Result:
    """One figure: what was measured, and what it comes to."""

    scenario: str
    name: str
    figure: Figure
    samples: Samples
    bare: list[float]
    """What the bare loop has to set against it, round by round."""

    def median(self, peer: str) -> float:
        """Return the peer's median."""
        return statistics.median(self.samples[peer])

    def spread(self, peer: str) -> float:
        """Return how far its rounds lie from their median at most, as a share of that."""
        samples, median = self.samples[peer], self.median(peer)
        return max(abs(sample - median) for sample in samples) / median if median else 0.0

    @property
    def ratio(self) -> float | None:
        """The server's figure by the bare loop's of the same round: a noisy minute strikes both."""
        pairs = zip(self.samples[SERVER.name], self.bare, strict=False)
        ratios = [server / bare for server, bare in pairs if bare]
        return statistics.median(ratios) if ratios else None

    @property
    def missed(self) -> list[str]:
        """The goals that are not reached."""
        value, ratio = self.median(SERVER.name), self.ratio
        return [str(goal) for goal in self.figure.goals if goal.met(value=value, ratio=ratio) is False]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "figure": self.figure.title,
            "median": {peer: self.median(peer) for peer in self.samples},
            "spread": {peer: self.spread(peer) for peer in self.samples},
            "ratio": self.ratio,
            "goals": [str(goal) for goal in self.figure.goals],
            "missed": self.missed,
            "samples": self.samples,
        }


def measure(name: str, scenario: Scenario, *, quick: bool) -> list[Result]:
    """Run a scenario, the peers in turn, each round beginning with another one."""
    scale, rounds = (QUICK, 1) if quick else (1.0, scenario.rounds)
    measured: dict[str, Samples] = {figure: {} for figure in scenario.figures}
    for number in range(rounds):
        for peer in _rotated(scenario.peers, number):
            _tell(f"{name}: {peer.title}, {number + 1} of {rounds}")
            for figure, value in scenario.measure(peer, scale).items():
                measured[figure].setdefault(peer.name, []).append(value)
    _tell("")
    return [
        Result(name, key, figure, measured[key], measured[figure.against or key].get(BARE.name, []))
        for key, figure in scenario.figures.items()
    ]


def _rotated(peers: Sequence[Peer], by: int) -> list[Peer]:
    by %= len(peers)
    return [*peers[by:], *peers[:by]]


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
