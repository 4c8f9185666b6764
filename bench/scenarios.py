"""The scenarios: what each does to a server, and which figures come of it. README.md says what they mean."""

import random
import re
import subprocess
import sys
import time
from collections.abc import Generator, Mapping

from bench.cheap_client import Link, Talk, converse, hold
from bench.figures import percentile
from bench.servers import AT_ONCE, ROOT, SERVER, Peer, Server, running

Figures = Mapping[str, float]

OUTPUT, ANSWER, LOGGED_IN = b"agent_output", b"agent_response", b"login_response"
STAMP = re.compile(rb'"output": ?"(\d+) ')
RECEIVED = re.compile(rb'request_received".*?"task_id": ?"(.+?)"')
CANCELLED = re.compile(rb'task_cancelled".*?"task_id": ?"(.+?)"')

TOKEN_PACE = 0.02
"""Seconds between two outputs of a session that streams tokens."""

UNLIMITED = ("--rate-limit", "none")
"""For a client that asks again as soon as it has its answer: far more often than people do."""


def burst(peer: Peer, scale: float) -> Figures:
    """One client, one request, 50,000 outputs."""
    outputs = _scaled(50_000, scale)
    with running(peer) as server:
        rate, cpu = _burst(server, server.first, outputs)
        figures = {"rate": rate, "cpu": cpu}
        if peer.name == SERVER.name:
            link = server.connect()
            hold(link, link.log_in(resumable=True))
            figures["resumable rate"], figures["resumable cpu"] = _burst(server, link, outputs)
    return figures


def _burst(server: Server, link: Link, outputs: int) -> tuple[float, float]:
    """Return frames a second, and microseconds of CPU a frame."""
    hold(link, _count_outputs(link, outputs // 20))  # what is slow the first time only
    cpu, started = server.cpu(), time.perf_counter()
    hold(link, _count_outputs(link, outputs))
    seconds = time.perf_counter() - started
    return outputs / seconds, (server.cpu() - cpu) / outputs * 1e6


def _count_outputs(link: Link, outputs: int) -> Talk[None]:
    link.send("agent_request", message=f"burst {outputs}")
    came, frames = 0, b""
    while ANSWER not in frames[-200:]:
        frames = yield from link.receive()
        came += frames.count(OUTPUT)
    _expect(outputs, came)


def pacing(peer: Peer, scale: float) -> Figures:
    """500 sessions with 200 outputs each, 20 ms apart, in random phase."""
    cpu, delays = _pace(peer, _scaled(500, scale), 200 if scale == 1 else 50)
    return {"cpu": cpu, "p50": percentile(delays, 0.5) * 1e3, "p99": percentile(delays, 0.99) * 1e3}


def growth(peer: Peer, scale: float) -> Figures:
    """The same with ever more sessions."""
    figures = {}
    for sessions in (100, 500, 1000, 2000):
        figures[f"cpu {sessions}"], _ = _pace(
            peer, _scaled(sessions, scale), 100 if scale == 1 else 25, "--max-total-tasks", "2000"
        )
    return figures | {"growth": figures["cpu 2000"] / figures["cpu 100"]}


def _pace(peer: Peer, sessions: int, outputs: int, *flags: str) -> tuple[float, list[float]]:
    """Return microseconds of CPU a frame, and the seconds from each emit to its receipt."""
    delays: list[float] = []
    with running(peer, *flags) as server:
        links = server.sessions(sessions)
        cpu, now = server.cpu(), time.monotonic()
        converse(
            (link, _stream(link, now + TOKEN_PACE * number / sessions, outputs, delays))
            for number, link in enumerate(links)
        )
        cpu = server.cpu() - cpu
    return cpu / (sessions * outputs) * 1e6, delays


def _stream(link: Link, start: float, outputs: int, delays: list[float]) -> Talk[None]:
    yield from _wait(start)
    link.send("agent_request", message=f"pace {outputs} {TOKEN_PACE}")
    came, frames = 0, b""
    while ANSWER not in frames[-200:]:
        frames = yield from link.receive()
        now = time.monotonic_ns()
        stamps = STAMP.findall(frames)
        delays += [(now - int(stamp)) / 1e9 for stamp in stamps]
        came += len(stamps)
    _expect(outputs, came)


def round_trip(peer: Peer, scale: float) -> Figures:
    """One request after the other, of an agent that answers at once."""
    requests = _scaled(4000, scale)
    with running(peer, *UNLIMITED) as server:
        hold(server.first, _ask(server.first, requests // 10))
        cpu, started = server.cpu(), time.perf_counter()
        hold(server.first, _ask(server.first, requests))
        seconds = time.perf_counter() - started
        return {"rate": requests / seconds, "cpu": (server.cpu() - cpu) / requests * 1e6}


def _ask(link: Link, requests: int) -> Talk[None]:
    for _ in range(requests):
        link.send("agent_request", message="answer")
        yield from link.until(ANSWER)


def idle(peer: Peer, scale: float) -> Figures:
    """2,000 sessions that do nothing."""
    sessions = _scaled(2000, scale)
    with running(peer) as server:
        empty = server.memory()
        server.sessions(sessions)
        return {"memory": (server.memory() - empty) / (sessions - 1) / 1000}


def cancel(peer: Peer, scale: float) -> Figures:
    """500 running tasks, of which 200 are cancelled at random."""
    delays: list[float] = []
    choice = random.Random(4)  # noqa: S311  # no secret: the same tasks for every server
    with running(peer) as server:
        links = server.sessions(_scaled(50, scale))
        converse((link, _cancel(link, choice, 2 * scale, delays)) for link in links)
    return {"p50": percentile(delays, 0.5) * 1e3, "p99": percentile(delays, 0.99) * 1e3}


def _cancel(link: Link, choice: random.Random, seconds: float, delays: list[float]) -> Talk[None]:
    """Start ten tasks that emit ten times a second, and cancel four within so many seconds."""
    tasks: list[bytes] = []
    for _ in range(10):
        link.send("agent_request", message="work 1000 0.1")
    while len(tasks) < 10:  # noqa: PLR2004  # the ten
        tasks += RECEIVED.findall((yield from link.receive()))
    start = time.monotonic() + 0.3
    due = sorted((start + choice.uniform(0, seconds), task) for task in choice.sample(tasks, 4))
    sent: dict[bytes, float] = {}
    while due or sent:
        frames = yield from link.receive(due[0][0] if due else None)
        now = time.monotonic()
        delays += [now - sent.pop(task) for task in CANCELLED.findall(frames)]
        while due and due[0][0] <= now:
            _, task = due.pop(0)
            sent[task] = time.monotonic()
            link.send("cancel_request", task_id=task.decode())


def start(peer: Peer, scale: float) -> Figures:
    """A process starts; the first client is at the door."""
    del scale  # one is the least
    with running(peer) as server:
        return {"accept": server.accepted * 1e3, "login": server.logged_in * 1e3}


def connect(peer: Peer, scale: float) -> Figures:
    """Clients come, log in and go: one after the other, then 50 at once."""
    with running(peer) as server:
        alone, _ = _visit(server, _scaled(400, scale), at_once=1)
        cpu, visits = server.cpu(), _scaled(2000, scale)
        crowd, delays = _visit(server, visits, at_once=AT_ONCE)
        cpu = (server.cpu() - cpu) / visits * 1e6
    return {"alone": alone, "crowd": crowd, "cpu": cpu, "p99": percentile(delays, 0.99) * 1e3}


def _visit(server: Server, visits: int, *, at_once: int) -> tuple[float, list[float]]:
    """Return logins a second, and the seconds that each took."""
    delays: list[float] = []

    def visit(link: Link, started: float) -> Talk[None]:
        yield from link.log_in()
        delays.append(time.perf_counter() - started)
        link.close()

    def visitors() -> Generator[tuple[Link, Talk[None]], None, None]:
        for _ in range(visits):
            started = time.perf_counter()
            link = server.connect()
            yield link, visit(link, started)

    started = time.perf_counter()
    converse(visitors(), at_once=at_once)
    return visits / (time.perf_counter() - started), delays


def mixed(peer: Peer, scale: float) -> Figures:
    """One client bursts without end; 20 others ask, and ask again a moment after each answer."""
    delays: list[float] = []
    with running(peer) as server:
        first, *others = server.sessions(21)
        end = time.monotonic() + max(0.5, 2 * scale)
        talks = [(link, _ask_now_and_then(link, end, delays)) for link in others]
        converse([(first, _burst_until(first, end)), *talks])
    return {
        "p50": percentile(delays, 0.5) * 1e3,
        "p99": percentile(delays, 0.99) * 1e3,
        "slowest": max(delays) * 1e3,
    }


def _burst_until(link: Link, end: float) -> Talk[None]:
    link.send("agent_request", message="burst 1000000000")
    while time.monotonic() < end:
        yield end


def _ask_now_and_then(link: Link, end: float, delays: list[float]) -> Talk[None]:
    """Ask and wait, 50 times a second at most; what is unanswered at the end has taken at least so long."""
    yield from _wait(time.monotonic() + 0.1)  # until the burst is under way
    while (started := time.monotonic()) < end:
        link.send("agent_request", message="answer")
        yield from link.until(ANSWER, end)
        delays.append(time.monotonic() - started)
        yield from _wait(time.monotonic() + TOKEN_PACE)


def client(peer: Peer, scale: float) -> Figures:
    """The burst once more, received by the project's client, or by a bare loop of the library's."""
    how, served = ("stream", peer) if peer.name == SERVER.name else ("bare", SERVER)
    with running(served) as server:
        command = [sys.executable, "-m", "bench.stream_client", how, str(server.port), str(_scaled(50_000, scale))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)  # noqa: S603  # our own
    return {"rate": float(done.stdout)}


def _wait(until: float) -> Talk[None]:
    while time.monotonic() < until:
        yield until


def _scaled(count: int, scale: float) -> int:
    return max(2, round(count * scale))


def _expect(outputs: int, came: int) -> None:
    if came != outputs:
        raise ValueError(f"{outputs} outputs were asked for, and {came} came")
