"""The stress program in a size that fits here; ``python -m tests.stress`` and the marker ``long`` run the full one."""

import asyncio

import pytest

from tests.stress.__main__ import SCENARIOS, raise_descriptor_limit, run_scenario

SEED = 1

TOGETHER = [("cuts", "load")]
"""What mostly waits. Each has a server of its own, and would hardly notice the other; floods run alone."""

ALONE = sorted(set(SCENARIOS).difference(*TOGETHER))


@pytest.mark.parametrize("names", [*TOGETHER, *[(name,) for name in ALONE]], ids="-".join)
async def test_a_short_run_meets_every_goal(names: tuple[str, ...]) -> None:
    missed = await asyncio.gather(*(run_scenario(name, SEED, short=True) for name in names))
    assert dict(zip(names, missed, strict=True)) == {name: [] for name in names}


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_full_run_meets_every_goal(name: str) -> None:
    raise_descriptor_limit()
    assert await run_scenario(name, SEED, short=False) == []
