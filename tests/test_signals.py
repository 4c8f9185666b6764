"""What signals do: while the agent is imported, while the server is up, and when its terminal is gone."""

import asyncio
import os
import pty
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import PATIENCE, side_by_side

SERVER = Path(__file__).parent.parent / "websocket_server.py"

SLOW = """
import time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:  # what is imported may catch anything
    time.sleep(60)
"""

FORKING = """
import os, signal, time
ready, telling = os.pipe()
if (child := os.fork()) == 0:
    os.write(telling, b"x")
    while True:
        time.sleep(0.01)
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
print("child ended by", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

async def echo(message):
    return message
"""

LOUD = """
import signal

signal.signal(signal.SIGUSR1, lambda *_: print("mine", flush=True))

async def echo(message):
    return message
"""


@asynccontextmanager
async def started(folder: Path, agent: str, *, stderr: int = PIPE) -> AsyncIterator[Process]:
    (folder / "signal_agent.py").write_text(agent)
    arguments = ("--host", "127.0.0.1", "--port", "0", "--agent", "signal_agent:echo")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), *arguments, cwd=folder, stdout=PIPE, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process, pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stdout.readline()).decode():
            if found := re.search(pattern, line):
                return found
    raise AssertionError("it has ended")


async def ended(process: Process) -> tuple[int | None, str]:
    async with asyncio.timeout(PATIENCE):
        _, log = await process.communicate()
    return process.returncode, (log or b"").decode()


async def healthy(port: str) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        line = await reader.readline()
    writer.transport.abort()
    return line.startswith(b"HTTP/1.1 200")


async def test_a_server_that_is_still_starting_ends_at_once(tmp_path: Path) -> None:
    async def check(number: int) -> None:
        async with started(tmp_path, SLOW) as process:
            await said(process, "importing")
            process.send_signal(number)
            assert await ended(process) == (0, "")

    await side_by_side(check, [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])


ENDS: list[int] = [
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXCPU),
    *([signal.SIGRTMIN + 3] if hasattr(signal, "SIGRTMIN") else []),
]


async def test_whatever_ends_the_server_ends_it_with_a_goodbye(tmp_path: Path) -> None:
    async def check(number: int) -> None:
        async with started(tmp_path, FORKING) as process:
            await said(process, "console")
            process.send_signal(number)
            code, log = await ended(process)
        assert (code, "shutting down" in log, "Traceback" in log) == (0, True, False)

    await side_by_side(check, ENDS)


async def test_an_agent_may_have_a_use_of_its_own_for_a_signal(tmp_path: Path) -> None:
    async with started(tmp_path, LOUD) as process:
        port = (await said(process, r"http://.*:(\d+)/"))[1]
        process.send_signal(signal.SIGUSR1)
        await said(process, "mine")
        assert await healthy(port)


async def test_a_child_that_an_agent_forks_is_ended_by_a_signal_as_any_other(tmp_path: Path) -> None:
    async with started(tmp_path, FORKING) as process:
        assert (await said(process, "child ended by (.*)"))[1] == str(-signal.SIGTERM)
        await said(process, "console")


async def test_sighup_is_harmless_without_a_certificate(tmp_path: Path) -> None:
    async with started(tmp_path, FORKING) as process:
        port = (await said(process, r"http://.*:(\d+)/"))[1]
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
            assert await healthy(port)
        process.terminate()
        code, log = await ended(process)
    assert (code, "Traceback" in log) == (0, False)


async def test_a_server_whose_terminal_is_gone_ends_with_a_goodbye(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    async with started(tmp_path, FORKING, stderr=terminal) as process:
        os.close(terminal)
        await said(process, "console")
        os.close(controller)
        process.send_signal(signal.SIGHUP)
        assert (await ended(process))[0] == 0
