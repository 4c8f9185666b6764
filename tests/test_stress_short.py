"""The stress program in a size that fits here; ``python -m tests.stress`` and the marker ``long`` run the full one."""

import pytest

from tests.stress.__main__ import SCENARIOS, raise_descriptor_limit, run_scenario

SEED = 1


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_short_run_meets_every_goal(name: str) -> None:
    assert await run_scenario(name, SEED, short=True) == []


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_full_run_meets_every_goal(name: str) -> None:
    raise_descriptor_limit()
    assert await run_scenario(name, SEED, short=False) == []
