"""Scenarios of many clients at once: healthy ones, and ones that hold others up if they can."""

import asyncio
import time
from typing import Any

from tests.server_process import ServerProcess, server_process
from tests.stress.agent import pieces
from tests.stress.link import Link, link
from tests.stress.report import MEGABYTE, Run, baseline, nothing_left, percentile

SMALL = 4096
"""Receive buffer of a client that does not read, in bytes."""


async def load(run: Run) -> None:
    """Many sessions that each stream twenty frames a second: nothing is lost, nothing out of order."""
    count, seconds, rate = run.size(1000, 100), run.size(10, 1), 20
    async with server_process("--max-total-tasks", "2000") as server:
        before = await baseline(server)
        links = [await _stream(server.port) for _ in range(count)]
        started = time.monotonic()
        texts = await asyncio.gather(
            *(_listen(one, seed, seconds * rate, 1 / rate, run) for seed, one in enumerate(links, run.seed))
        )
        took = time.monotonic() - started
        expected = ["".join(pieces(seed, seconds * rate, 60)) for seed in range(run.seed, run.seed + count)]
        run.none("sessions whose text is not the agent's", sum(map(str.__ne__, texts, expected)))
'''
