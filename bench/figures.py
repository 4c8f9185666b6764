"""What is measured: a scenario yields figures, and a figure may have goals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bench.servers import BARE, SERVER, USUAL, Peer

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Goal:
    """A bound on the figure of the server: on its value, or on its ratio to that of the bare loop."""

    sense: Literal["≥", "≤"]
    bound: float
    of: Literal["ratio", "value"]

    def met(self, *, value: float, ratio: float | None) -> bool | None:
        """Whether it is reached; None where there is no figure of the bare loop to tell by."""
        measured = value if self.of == "value" else ratio
        if measured is None:
            return None
        return measured >= self.bound if self.sense == "≥" else measured <= self.bound

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}" + (TIMES if self.of == "ratio" else "")


@dataclass(frozen=True)
class Figure:
    """One number of a scenario. ``against`` names the bare loop's figure to compare with, where it is another one."""

    title: str
    digits: int = 2
    goals: tuple[Goal, ...] = ()
    against: str | None = None


@dataclass(frozen=True)
class Scenario:
    """One way to use a server. ``measure`` starts the peer, uses it at this scale (1: in full), and returns figures."""

    title: str
    measure: Callable[[Peer, float], Mapping[str, float]]
    figures: Mapping[str, Figure]
    rounds: int = 5
    peers: tuple[Peer, ...] = (SERVER, BARE, USUAL)


def ratio(sense: Literal["≥", "≤"], bound: float) -> Goal:
    """Bound the ratio to the bare loop."""
    return Goal(sense, bound, "ratio")


def value(sense: Literal["≥", "≤"], bound: float) -> Goal:
    """Bound the value itself."""
    return Goal(sense, bound, "value")


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of all lies."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
