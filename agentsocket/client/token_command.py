"""A command whose output is the token: what prints short-lived ones has one."""

import asyncio
import shlex
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable

from agentsocket.client.errors import NoToken


def token_command(line: str) -> Callable[[], Awaitable[str]]:
    """Return what runs a command, without a shell, and gives what it prints; raises ``NoToken``, as it does itself."""
    try:
        command = shlex.split(line)
    except ValueError as exc:
        raise NoToken(f"--token-command cannot be read: {exc}") from None
    if not command:
        raise NoToken("--token-command is empty.")

    async def run() -> str:
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        except (OSError, ValueError) as exc:
            raise NoToken(f"--token-command cannot be run: {exc}") from None
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        token = out.decode(errors="replace").strip()
        if process.returncode or not token:
            said = err.decode(errors="replace").strip().rpartition("\n")[2]
            raise NoToken(f"--token-command gave no token (exit code {process.returncode}){said and f': {said}'}")
        return token

    return run
