"""Scenarios of links that break."""

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from typing import Any

from tests.server_process import ROOT, ServerProcess, server_process
from tests.stress.link import Link, link
from tests.stress.proxy import Proxy
from tests.stress.report import Run, baseline, nothing_left, until
from tests.stress.resuming import ResumingClient, Saying


async def cuts(run: Run) -> None:
    """No silent loss: clients whose links are cut again and again end with every frame once, or are told of a gap."""
    # A small log, so that there are gaps at all; and a session whose login was never answered is soon gone.
    arguments = ("--resume-window", run.size("8", "2"), "--resume-log-frames", "40")
    async with server_process(*arguments) as server:
        before = await baseline(server)
        lifetime = (0.1, run.size(3.0, 0.8))
        async with Proxy(server.port, run.seed, lifetime).listening() as proxy:
            count, pieces = run.size(200, 20), run.size(250, 30)
            clients = [
                ResumingClient(
                    proxy.port,
                    run.random.randrange(2**32),
                    [Saying(run.random.randrange(2**32), pieces, 60, 0.05) for _ in range(2)],
                )
                for _ in range(count)
            ]
            async with asyncio.timeout(run.size(120, 30)):
                await asyncio.gather(*(client.run() for client in clients))
            resumes = sum((client.counts for client in clients), Counter[str]())
            run.say(f"links cut: {dict(proxy.cuts)}; sessions taken up: {dict(resumes)}")
        wrong = [wrong for client in clients for wrong in client.wrong]
        run.none(f"frames lost, repeated or wrong, of {count} clients", wrong)
        run.goal("links cut", proxy.cuts.total(), goal=f">= {count}", met=proxy.cuts.total() >= count)
        run.goal("lossless resumes", resumes["lossless"], goal="some", met=resumes["lossless"] > 0)
        run.goal("gaps that were told", resumes["gap"], goal="some", met=resumes["gap"] > 0)
        await nothing_left(run, server, before)
        run.none("tracebacks in the log", server.log.count("Traceback"))


async def storm(run: Run) -> None:
    """All clients lose their links at once, and all come back at once."""
    count = run.size(2000, 200)
    arguments = ("--max-connections", "5000", "--max-total-tasks", "5000", "--resume-window", "60")
    async with server_process(*arguments) as server:
        before = await baseline(server)
        logins: list[tuple[Link, dict[str, Any]]] = []
        for _ in range(0, count, 100):
            logins += await asyncio.gather(*(_begin(server.port) for _ in range(100)))
        for opened, _ in logins:
            opened.reset()
        started = time.monotonic()
        heard = await asyncio.gather(*(_come_back(server.port, login) for _, login in logins))
        seconds = time.monotonic() - started
        torn = [numbers for numbers in heard if numbers != [1, 2, 3, 4]]
        run.none(f"of {count} sessions, those that did not come back whole", torn)
        run.goal("seconds until the last one was back", round(seconds, 2), goal="<= 20", met=seconds <= 20)
        await nothing_left(run, server, before)
        run.none("tracebacks in the log", server.log.count("Traceback"))


async def _begin(port: int) -> tuple[Link, dict[str, Any]]:
    opened = await link(port)
    login = await opened.ask("login", "login_response", resumable=True)
    await opened.ask("agent_request", "agent_request_received", message="wait 1 well")
    return opened, login


async def _come_back(port: int, login: dict[str, Any]) -> list[int]:
    """Take the session up from its first frame on, to its task's end; return the numbers of what came."""
    numbers: list[int] = []
    opened = await link(port, lambda _, data: numbers.append(data["seq"]) if "seq" in data else None)
    opened.send("login", session_id=login["session_id"], resume_token=login["resume_token"], last_seq=0)
    await opened.expect("agent_response")
    await opened.ask("logout", "logout_response")
    opened.reset()
    return numbers[:4]


async def frozen(run: Run) -> None:
    """A client process is stopped in the middle of a flood: it is cut, and the gap is told to whoever takes it up."""
    deadline = run.size(10, 1)
    async with server_process("--write-deadline", str(deadline)) as server:
        before = await baseline(server)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.stress.frozen", str(server.port), cwd=ROOT, stdout=PIPE
        )
        assert client.stdout is not None
        login = json.loads(await client.stdout.readline())
        client.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        cut = await until(lambda: _nobody_connected(server), deadline + 5)
        seconds = time.monotonic() - started
        client.kill()
        await client.wait()
        run.goal(
            "seconds until it was cut",
            round(seconds, 1),
            goal=f"<= {deadline + 1}",
            met=cut and seconds <= deadline + 1,
        )
        taken_up = await link(server.port)
        response = await taken_up.ask(
            "login", "login_response", session_id=login["session_id"], resume_token=login["resume_token"], last_seq=0
        )
        statuses = [task["status"] for task in response["tasks"]]
        told = (response["lossless"], statuses) == (False, ["running"])
        run.goal("the gap is told, and the task runs on", (response["lossless"], statuses), goal="told", met=told)
        await taken_up.ask("logout", "logout_response")
        taken_up.reset()
        await nothing_left(run, server, before)
        run.none("tracebacks in the log", server.log.count("Traceback"))


async def _nobody_connected(server: ServerProcess) -> bool:
    return not (await server.health())["connections"]
