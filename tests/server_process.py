"""The server in a process of its own, so that its memory and its descriptors are nobody else's."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.support import PATIENCE
from tests.wire import handshake, wired

ROOT = Path(__file__).parent.parent
AGENT = f"{ROOT / 'tests' / 'stress' / 'agent.py'}:StressAgent"


class ServerProcess:
    """A running server, looked at from outside."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self.process, self.port = process, port
        self._log = log

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """Open files."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    async def health(self) -> dict[str, Any]:
        """Return what it says of itself."""
        async with wired(self.port) as wire:
            wire.send(handshake(path="/healthz", upgrade=False))
            async with asyncio.timeout(PATIENCE):
                response = await wire.reader.read()
        state: dict[str, Any] = json.loads(response.partition(b"\r\n\r\n")[2])
        return state

    async def stop(self, *, within: float = PATIENCE) -> tuple[int, float]:
        """Tell it to stop; return its exit code and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            code = await self.process.wait()
        return code, time.monotonic() - started


@contextlib.asynccontextmanager
async def server_process(
    *arguments: str, agent: str = AGENT, cwd: Path = ROOT, preexec_fn: Callable[[], object] | None = None
) -> AsyncIterator[ServerProcess]:
    """Run a server on a free port, and kill it if it still runs afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as file:  # noqa: ASYNC230  # it is opened once, for the process
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "websocket_server.py"),
                *("--host", "127.0.0.1", "--port", "0", "--agent", agent),
                *arguments,
                cwd=cwd,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=file,
                preexec_fn=preexec_fn,
            )
        try:
            yield ServerProcess(process, await _told_port(process), log)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _told_port(process: Process) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(6 * PATIENCE):  # an agent of a framework takes its time to be imported
        while line := await process.stdout.readline():
            if found := re.search(rb"wss?://\S+:(\d+)", line):
                return int(found[1])
    raise AssertionError("the server did not start")
