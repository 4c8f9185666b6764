"""The client's command in a process of its own, which is forked from one that has imported it already."""

import asyncio
import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

STARTER = Path(__file__).with_name("client_starter.py")


@functools.cache
def _starter() -> socket.socket:
    """Run the process that the others are forked from. It ends with this one."""
    orders, its_end = socket.socketpair()
    with its_end:
        process = subprocess.Popen([sys.executable, str(STARTER)], stdin=its_end.fileno(), start_new_session=True)

    def end() -> None:
        orders.close()
        process.wait()

    atexit.register(end)
    return orders


class ClientProcess:
    """What ``asyncio.subprocess.Process`` is, as far as tests need it."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def __init__(self, pid: int, code: asyncio.Future[bytes]) -> None:
        self.pid, self._code = pid, code

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended."""
        return int(self._code.result()) if self._code.done() else None

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        return int(await asyncio.shield(self._code))

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    async def communicate(self, typed: bytes = b"") -> tuple[bytes, bytes]:
        """Give it the last of its input, and wait for its end; return what it has printed."""
        with contextlib.suppress(ConnectionError):
            self.stdin.write(typed)
            await self.stdin.drain()
        self.stdin.close()
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err


@contextlib.asynccontextmanager
async def client_process(
    *arguments: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
    terminal: int | None = None,
    stdin: int = PIPE,
    stdout: int = PIPE,
) -> AsyncIterator[ClientProcess]:
    """Run the command in a folder, with pipes where no other streams are given, or in a terminal of its own.

    It does not outlive the block.
    """
    order = {"arguments": arguments, "environment": dict(environment), "folder": str(folder or Path.cwd())}
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.ExitStack() as theirs:

            def pipe(ours: int) -> list[int]:
                ends = list(os.pipe())
                theirs.callback(os.close, ends[1 - ours])
                return ends

            (news, said), (given, typed), (out, shown), (err, told) = pipe(0), pipe(1), pipe(0), pipe(0)
            streams = [given if stdin == PIPE else stdin, shown if stdout == PIPE else stdout, told]
            if terminal is not None:
                streams = [terminal] * 3
            _order({**order, "terminal": terminal is not None}, [*streams, said])
        reader = await _read(news, stack)
        process = ClientProcess(int(await reader.readline()), asyncio.ensure_future(reader.readline()))
        process.stdin, process.stdout, process.stderr = (
            await _write(typed, stack),
            await _read(out, stack),
            await _read(err, stack),
        )
        try:
            yield process
        finally:
            process.kill()
            await process.wait()


def _order(order: dict[str, Any], descriptors: list[int]) -> None:
    """Have a process started: from now on it holds these descriptors, too."""
    socket.send_fds(_starter(), [json.dumps(order).encode() + b"\n"], descriptors)
    assert _starter().recv(1), "the starter has ended"


async def _read(descriptor: int, stack: contextlib.AsyncExitStack) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    stack.callback(transport.close)
    return reader


async def _write(descriptor: int, stack: contextlib.AsyncExitStack) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(descriptor, "wb", 0)
    )
    stack.callback(transport.close)
    return asyncio.StreamWriter(transport, protocol, None, loop)
