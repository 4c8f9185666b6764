"""The servers that are compared: how each is started, and what the operating system says of its process."""

import contextlib
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.cheap_client import Link, Talk, converse, hold

ROOT = Path(__file__).resolve().parent.parent

PORTS = range(20_000, 32_000)
"""Below the ports that clients are given: one that knocks there too early could be connected with itself."""

PATIENCE = 20.0
"""Seconds that a server may take to start, or to stop."""

AT_ONCE = 50
"""Logins under way at once while sessions are opened."""

SCHEDULED_CPU_TIME = 2
"""Linux: the clock of a process that counts its CPU time, of all threads, in nanoseconds (clock_getcpuclockid(3))."""


@dataclass(frozen=True)
class Peer:
    """One of the servers: its name in the data and its name for people, and what follows ``python`` to start it."""

    name: str
    title: str
    command: tuple[str, ...]


SERVER = Peer("server", "this server", ("websocket_server.py",))
BARE = Peer("bare", "bare loop", ("-m", "bench.bare_server"))
USUAL = Peer("usual", "usual port", ("-m", "bench.usual_server"))


class Server:
    """A server that runs, and has one session: that of ``first``."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, started: float) -> None:
        self.port = port
        self._process = process
        self._links: list[Link] = []
        self.first = self._knock()
        self.accepted = time.monotonic() - started
        """Seconds from its start until it accepted a connection."""
        hold(self.first, self.first.log_in())
        self.logged_in = time.monotonic() - started
        """Seconds from its start until the first client was logged in."""

    def sessions(self, count: int) -> list[Link]:
        """Return links with a session each, the first one among them."""
        links = [self.first]

        def arrivals() -> Iterator[tuple[Link, Talk[None]]]:
            # One by one, as room is made: more than its backlog at once, and a server's kernel drops some.
            for _ in range(count - 1):
                links.append(self.connect())
                yield links[-1], links[-1].log_in()

        converse(arrivals(), at_once=AT_ONCE)
        return links

    def connect(self) -> Link:
        """Return a new link, which is closed with the server at the latest."""
        link = Link(self.port)
        self._links.append(link)
        return link

    def hang_up(self) -> None:
        """Close every link, so that nobody has to be waited for when the server stops."""
        for link in self._links:
            link.socket.close()

    def cpu(self) -> float:
        """Return the seconds of CPU time that its process has used."""
        return time.clock_gettime(~self._process.pid << 3 | SCHEDULED_CPU_TIME)

    def memory(self) -> int:
        """Return the bytes of memory that its process holds."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def _knock(self) -> Link:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.connect()
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.001)


@contextlib.contextmanager
def running(peer: Peer, *flags: str) -> Iterator[Server]:
    """Run a server, with these flags where it is ours; the others pass over them. Its log is shown if that fails."""
    port = str(_free_port())
    agent = ("--host", "127.0.0.1", "--agent", "bench.agents:Scripted")
    command = [sys.executable, *peer.command, "--port", port, *agent, *flags]
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=log, stderr=log)  # noqa: S603  # our own
        try:
            server = Server(process, int(port), started)
            yield server
            server.hang_up()
        except Exception:
            sys.stderr.write(f"{peer.title}, its last words:\n{_tail(log)}\n")
            raise
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Return the environment without settings, and without those of a ``.env``: the defaults are measured.

    Compiled modules are kept, as they are wherever that is not forbidden: else each start would compile them again.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return own | {"PYTHON_DOTENV_DISABLED": "1"}


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)  # noqa: S311  # no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-4000:]
