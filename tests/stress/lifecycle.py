"""Scenarios of beginnings and ends: of tasks, of connections, of the server."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from typing import Any

from tests.server_process import server_process
from tests.stress.crowds import stalled_link
from tests.stress.link import Link, link
from tests.stress.report import MEGABYTE, Run, baseline, nothing_left

TERMINAL = {"agent_response", "agent_failed", "task_cancelled"}


class _Session:
    """A session that runs tasks, ends them at random instants, and notes what it hears of each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.heard: defaultdict[str, list[str]] = defaultdict(list)
        self._ended: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._received: dict[str, asyncio.Future[str]] = {}

    async def run(self, port: int, count: int) -> None:
        """Run so many tasks, ten at once, and log out in the middle of the last ten."""
        self._link = await link(port, self._hear)
        await self._link.ask("login", "login_response")
        todo = iter(range(count))
        await asyncio.gather(*(self._run_some(todo) for _ in range(10)))
        self._link.transport.abort()

    async def _run_some(self, todo: Any) -> None:
        for number in todo:
            await self._run_one(str(number))

    async def _run_one(self, request_id: str) -> None:
        self._received[request_id] = asyncio.get_running_loop().create_future()
        end = self.random.choice(["well", "badly"])
        message = f"wait {self.random.choice([0, self.random.uniform(0, 0.03)])} {end}"
        self._link.send("agent_request", message=message, request_id=request_id)
        task_id = await self._received[request_id]
        if self.random.random() < 0.5:
            await asyncio.sleep(self.random.choice([0, self.random.uniform(0, 0.03)]))
            self._link.send("cancel_request", task_id=task_id)
        await self._ended[task_id].wait()

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        task_id = data.get("task_id")
        if event == "login_response" or task_id is None:
            return
        what = data["code"] if event == "error" else event
        self.heard[task_id].append(what)
        if event == "agent_request_received":
            self._received[data["request_id"]].set_result(task_id)
        elif what in TERMINAL:
            self._ended[task_id].set()


def _wrong(heard: list[str]) -> bool:
    """Whether this is not: received, its output, one terminal frame, and after it at most "unknown task"."""
    said = [what for what in heard if what != "unknown_task"]
    ends = [what for what in said if what in TERMINAL]
    late = heard.index("unknown_task") < heard.index(ends[0]) if ends and "unknown_task" in heard else False
    return said[0] != "agent_request_received" or len(ends) != 1 or said[-1] not in TERMINAL or late


async def ends(run: Run) -> None:
    """Tasks that end, fail and are cancelled at random instants: exactly one terminal frame each, nothing after it."""
    sessions, tasks = run.size(50, 10), run.size(200, 50)
    async with server_process("--rate-limit", "none") as server:
        before = await baseline(server)
        running = [_Session(run.seed + number) for number in range(sessions)]
        async with asyncio.timeout(run.size(120, 30)):
            await asyncio.gather(*(session.run(server.port, tasks) for session in running))
        heard = [what for session in running for what in session.heard.values()]
        run.none(f"tasks without exactly one end, of {len(heard)}", [what for what in heard if _wrong(what)])
        run.none("tasks not heard of", sessions * tasks - len(heard))
        run.say(f"they ended with {dict(Counter(what for one in heard for what in one if what in TERMINAL))}")
        await nothing_left(run, server, before)


async def leaks(run: Run) -> None:
    """Connect, log in, ask, drop, again and again: nothing is left over."""
    count = run.size(10_000, 300)
    async with server_process("--resume-window", "0.5") as server:
        await _cycles(run, server.port, count // 2)  # until memory is as large as it gets
        before = await baseline(server)
        await _cycles(run, server.port, count)
        await nothing_left(run, server, before)
        grown = (server.memory - before.memory) / MEGABYTE
        limit = run.size(10, 30)  # it takes some thousand cycles until it grows no more
        run.goal(f"memory after {count} cycles, in MB more", round(grown, 1), goal=f"<= {limit}", met=grown <= limit)
        run.none("tracebacks in the log", server.log.count("Traceback"))


async def _cycles(run: Run, port: int, count: int) -> None:
    todo = iter(range(count))

    async def some() -> None:
        for _ in todo:
            await _cycle(run.random, port)

    await asyncio.gather(*(some() for _ in range(50)))


async def _cycle(chance: random.Random, port: int) -> None:
    """Drop at one of the instants that there are, in one of the ways that there are."""
    opened = await link(port)
    instant, message = chance.randrange(5), chance.choice(["park", "echo x", "wait 0.05 well", "say 1 20 200"])
    if instant >= 1:
        opened.send("login", resumable=chance.choice([True, False]))
    if instant >= 2:
        await opened.expect("login_response")
        opened.send("agent_request", message=message)
    if instant >= 3:
        await opened.expect("agent_request_received")
    if instant >= 4 and message != "park":
        await opened.expect("agent_response")
    drop = chance.choice([opened.reset, opened.transport.close, opened.transport.write_eof, opened.transport.abort])
    drop()
    await opened.lost


async def shutdown(run: Run) -> None:
    """The server is told to stop with its hands full."""
    connections, tasks, stalls, grace = run.size(1000, 50), run.size(200, 20), run.size(20, 3), run.size(10, 1)
    async with server_process("--shutdown-grace", str(grace), "--max-connections", "3000") as server:
        heard: Counter[str] = Counter()
        links: list[Link] = []
        for number in range(connections):
            opened = await link(server.port, lambda event, _: heard.update([event]))
            await opened.ask("login", "login_response", resumable=number % 2 == 0)
            if number < tasks:
                await opened.ask("agent_request", "agent_request_received", message="park")
            links.append(opened)
        stuck = [await stalled_link(server.port) for _ in range(stalls)]
        limit = grace + 2
        try:
            code, seconds = await server.stop(within=limit + 10)
        except TimeoutError:
            code, seconds = -1, limit + 10.0
        run.goal("exit code", code, goal="0", met=code == 0)
        run.goal("seconds until the exit", round(seconds, 2), goal=f"<= {limit}", met=seconds <= limit)
        codes = Counter([await opened.lost for opened in links])
        run.goal("close codes", dict(codes), goal=f"1001 for all {connections}", met=codes == {1001: connections})
        run.goal(
            "cancelled tasks that were told",
            heard["task_cancelled"],
            goal=str(tasks),
            met=heard["task_cancelled"] == tasks,
        )
        run.none("tracebacks in the log", server.log.count("Traceback"))
        for opened in stuck:
            with contextlib.suppress(OSError):
                opened.reset()
