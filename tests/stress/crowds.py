"""Scenarios of many clients at once: healthy ones, and ones that hold the others up if they can."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from tests.server_process import ServerProcess, server_process
from tests.stress.link import Link, link
from tests.stress.report import MEGABYTE, Run, baseline, nothing_left, percentile, until
from tests.stress.resuming import Saying

SMALL = 4096
"""Receive buffer of a client that does not read, in bytes."""

PROMPT = 1.0
"""Seconds within which a healthy client has its answer, whatever the others do."""


async def load(run: Run) -> None:
    """Many sessions that each stream twenty frames a second: nothing is lost, nothing out of order."""
    count, frames = run.size(1000, 100), run.size(200, 20)
    async with server_process("--max-total-tasks", "2000") as server:
        before = await baseline(server)
        listeners = [_Listener(Saying(run.seed + number, frames, 60, 0.05)) for number in range(count)]
        for listener in listeners:
            await listener.connect(server.port)
        started = time.monotonic()
        await asyncio.gather(*(listener.listen() for listener in listeners))
        seconds = time.monotonic() - started
        run.none(f"frames lost, of {count * frames}", sum(listener.lost for listener in listeners))
        run.none("frames out of order", sum(listener.out_of_order for listener in listeners))
        run.none("sessions whose text is not the agent's", sum(listener.wrong for listener in listeners))
        run.say(f"{count * frames / seconds:,.0f} frames/s, in {seconds:.1f} s for {frames / 20:g} s of speech")
        for listener in listeners:
            listener.link.reset()
        await nothing_left(run, server, before)
        run.none("tracebacks in the log", server.log.count("Traceback"))


class _Listener:
    """Hears one task, and checks its numbers and its text."""

    def __init__(self, saying: Saying) -> None:
        self.lost, self.out_of_order, self.wrong = saying.count, 0, True
        self._saying, self._last_seq, self._text = saying, 0, ""

    async def connect(self, port: int) -> None:
        self.link = await link(port, self._hear)
        await self.link.ask("login", "login_response", resumable=True)

    async def listen(self) -> None:
        answer = await self.link.ask("agent_request", "agent_response", message=self._saying.message)
        self.wrong = not (answer["response"] == self._text == self._saying.text)
        await self.link.ask("logout", "logout_response")

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        self.lost -= event == "agent_output"
        if "seq" in data and event != "login_response":
            self.out_of_order += data["seq"] != self._last_seq + 1
            self._last_seq = data["seq"]
        if event == "agent_output":
            self._text += data["output"]


class _Healthy:
    """A client that asks again and again, and notes how long its answers take."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.wrong = 0

    async def ask(self, port: int) -> None:
        """Ask until cancelled."""
        opened = await link(port)
        try:
            await opened.ask("login", "login_response")
            for number in range(1_000_000):
                started = time.monotonic()
                answer = await opened.ask("agent_request", "agent_response", message=f"echo {number}")
                self.wrong += answer["response"] != str(number)
                self.delays.append(time.monotonic() - started)
                await asyncio.sleep(0.1)
        finally:
            opened.reset()


async def _beside(run: Run, port: int, count: int, trouble: Coroutine[Any, Any, None]) -> None:
    """Have healthy clients beside the trouble, and hold that they do not notice it."""
    healthy = [_Healthy() for _ in range(count)]
    asking = [asyncio.create_task(one.ask(port)) for one in healthy]
    try:
        await trouble
    finally:
        for task in asking:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    delays = [delay for one in healthy for delay in one.delays]
    failed = [end for end in ends if not isinstance(end, asyncio.CancelledError)]
    run.none(f"healthy clients that failed, of {count}", failed)
    run.none(f"their wrong answers, of {len(delays)}", sum(one.wrong for one in healthy))
    run.say(f"their answers took {percentile(delays, 0.5):.4f} s (median), {percentile(delays, 0.99):.3f} s (p99)")
    slowest = max(delays, default=PROMPT + 1)
    run.goal("the slowest of them, in seconds", round(slowest, 3), goal=f"<= {PROMPT:g}", met=slowest <= PROMPT)


async def stalled(run: Run) -> None:
    """Clients that ask for a flood and do not read it are cut in time, and cost little memory until then."""
    count, deadline = run.size(100, 10), run.size(10, 1)
    async with server_process("--write-deadline", str(deadline)) as server:
        before = await baseline(server)
        await _beside(run, server.port, count, _stall(run, server, count, deadline))
        await nothing_left(run, server, before)
        run.none("tracebacks in the log", server.log.count("Traceback"))


async def _stall(run: Run, server: ServerProcess, count: int, deadline: float) -> None:
    memory = peak = server.memory
    started = time.monotonic()
    links = [await stalled_link(server.port) for _ in range(count)]

    async def all_cut() -> bool:
        nonlocal peak
        peak = max(peak, server.memory)
        sessions: int = (await server.health())["sessions"]
        return sessions <= count  # the healthy ones

    cut = await until(all_cut, deadline + 5)
    seconds = time.monotonic() - started
    for one in links:
        one.reset()
    limit = deadline + 1
    run.goal(f"seconds until all {count} were cut", round(seconds, 1), goal=f"<= {limit}", met=cut and seconds <= limit)
    grown = (peak - memory) / MEGABYTE
    run.goal("memory for them, in MB", round(grown, 1), goal="<= 150", met=grown <= 150)


async def stalled_link(port: int) -> Link:
    """Ask for a flood, and read no more."""
    opened = await link(port, receive_buffer=SMALL)
    await opened.ask("login", "login_response")
    opened.send("agent_request", message="flood")
    opened.transport.pause_reading()
    return opened


async def isolation(run: Run) -> None:
    """Agents that block, fail, speak without end and resist: other sessions go on."""
    async with server_process("--cancel-timeout", "0.5") as server:
        before = await baseline(server)
        await _beside(run, server.port, 20, _misbehave(run, server.port, run.size(5, 1)))
        await nothing_left(run, server, before)


async def _misbehave(run: Run, port: int, seconds: float) -> None:
    links = [await link(port) for _ in range(30)]
    refusals = await asyncio.gather(*(_trouble(opened, number, seconds) for number, opened in enumerate(links)))
    run.none(
        "agents that resist and were not abandoned", [code for code in refusals if code not in {"", "cancel_failed"}]
    )
    await asyncio.sleep(seconds)  # the healthy ones ask meanwhile
    for opened in links:
        opened.reset()


async def _trouble(opened: Link, number: int, seconds: float) -> str:
    await opened.ask("login", "login_response")
    match number % 10:
        case 0:
            opened.send("agent_request", message="flood")
            opened.discarding = True
        case 1 | 2 | 3:
            opened.send("agent_request", message=f"block {seconds}")
        case 4 | 5:
            opened.send("agent_request", message="wait 0 badly")
        case _:
            task = await opened.ask("agent_request", "agent_request_received", message=f"deaf {seconds}")
            refusal = await opened.ask("cancel_request", "error", task_id=task["task_id"])
            return str(refusal["code"])
    return ""
