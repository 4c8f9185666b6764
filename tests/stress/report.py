"""What the scenarios share: how a figure is held against its goal, and that nothing is left over at the end."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.server_process import ServerProcess
from tests.stress.link import link

Size = TypeVar("Size")

MEGABYTE = 1024 * 1024
SETTLING = 15.0
"""Seconds in which what was left behind has to be gone."""


@dataclass
class Run:
    """One run of one scenario: its size, its seed, what it measured."""

    seed: int
    short: bool
    missed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def size(self, full: Size, short: Size) -> Size:
        """Return how much of it, in the full form or in the short one."""
        return short if self.short else full

    def say(self, what: str) -> None:
        """Print something that is worth knowing."""
        print(f"  {what}", flush=True)  # noqa: T201  # a program for the terminal

    def goal(self, what: str, measured: object, *, goal: str, met: bool) -> None:
        """Print a figure beside its goal, and remember whether it is missed."""
        line = f"{what}: {measured} (goal: {goal})"
        self.say(f"{'ok    ' if met else 'MISSED'} {line}")
        if not met:
            self.missed.append(line)

    def none(self, what: str, found: int | Sequence[object]) -> None:
        """Hold that there is none of it, or show the first few."""
        if isinstance(found, int):
            self.goal(what, found, goal="0", met=found == 0)
        else:
            self.goal(f"{what}, as {found[:3]}" if found else what, len(found), goal="0", met=not found)


@dataclass
class Baseline:
    """How a server stood before a scenario."""

    descriptors: int
    memory: int
    agents: int
    asyncio_tasks: int


async def baseline(server: ServerProcess) -> Baseline:
    """Look at a server once nothing goes on there."""
    await until(lambda: _idle(server))
    probe = await link(server.port)
    await probe.ask("login", "login_response")
    answer = await probe.ask("agent_request", "agent_response", message="state")
    await probe.ask("logout", "logout_response")
    probe.transport.abort()
    await probe.lost
    await until(lambda: _idle(server))
    return Baseline(server.descriptors, server.memory, **json.loads(answer["response"]))


async def nothing_left(run: Run, server: ServerProcess, before: Baseline) -> None:
    """Hold that sessions, tasks, descriptors and agents are back to where they were."""
    settled = await until(lambda: _idle(server), SETTLING)
    state = await server.health()
    run.goal(
        "left over after the scenario",
        {name: state[name] for name in ("connections", "sessions", "tasks")},
        goal=f"none, within {SETTLING:g} s",
        met=settled,
    )
    after = await baseline(server)
    # A connection more or less may be closing at this moment.
    run.none("descriptors left open", max(0, after.descriptors - before.descriptors))
    run.none("agents not closed", after.agents - before.agents)
    run.none("asyncio tasks left", max(0, after.asyncio_tasks - before.asyncio_tasks))


async def _idle(server: ServerProcess) -> bool:
    state = await server.health()
    return not (state["connections"] or state["sessions"] or state["tasks"])


async def until(condition: Callable[[], Awaitable[bool]], within: float = SETTLING) -> bool:
    """Ask again and again until it is so; false where it is not in time."""
    deadline = time.monotonic() + within
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)  # the server's own process has no event to wait for
    return True


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
