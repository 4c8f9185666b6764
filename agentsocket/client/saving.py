"""Files of an agent's, kept in a folder under names that can do no harm there."""

import asyncio
import itertools
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ClientError, FileError
from agentsocket.client.threads import made
from agentsocket.protocol.events import AgentFile

NAME_SIZE, SUFFIX_SIZE = 200, 32
"""Bytes of a name, and of what of its end is kept where it is cut; a file system takes 255, a number included."""

AT_ONCE: Final = 4
"""Files that are fetched at once."""


def safe_name(name: str) -> str:
    """Return a name without folders, without what a terminal obeys, not hidden, and not too long."""
    last = re.split(r"[/\\]", name)[-1]
    clean = "".join(char for char in last if char.isprintable()).strip(" .")
    stem, dot, suffix = clean.rpartition(".")
    if not stem or len(suffix.encode()) > SUFFIX_SIZE:
        stem, dot, suffix = clean, "", ""
    stem = stem.encode()[: NAME_SIZE - len((dot + suffix).encode())].decode(errors="ignore")
    return f"{stem.strip(' .')}{dot}{suffix}".strip(" .") or "file"


def reserve(folder: Path, name: str) -> Path:
    """Make an empty file of this name, or where that is taken, of the next that is free: ``plot (2).png``.

    Raises:
        OSError: if it cannot be made, nor the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = Path(safe_name(name))
    for number in itertools.count(1):
        path = folder / (first.name if number == 1 else f"{first.stem} ({number}){first.suffix}")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        return path
    raise AssertionError


async def save(client: WebSocketClient, file: AgentFile, folder: Path) -> Path:
    """Fetch a file into a folder; return where it is now.

    Raises:
        FileError: if it cannot be had, or not be written.
    """
    saved = False

    def undo(path: Path) -> None:
        if not saved:
            path.unlink(missing_ok=True)

    try:
        async with made(lambda: reserve(folder, file.name), undo) as path:
            await client.download(file, path)
            saved = True
        return path
    except (OSError, ValueError) as exc:  # the latter where the folder cannot be one
        raise FileError(f"The file could not be saved: {getattr(exc, 'strerror', None) or exc}") from exc


class Savings:
    """Saves the files of a task while it goes on, a few at once."""

    def __init__(self, folder: Path, tell: Callable[[AgentFile, Path | ClientError], object]) -> None:
        """``tell`` is told of each file where it is now, or why it is not there."""
        self._folder, self._tell = folder, tell
        self._places = asyncio.Semaphore(AT_ONCE)
        self._saving: set[asyncio.Task[None]] = set()
        self.failed = False
        """Whether one could not be saved."""

    def add(self, client: WebSocketClient, file: AgentFile) -> Awaitable[None]:
        """Begin to save a file."""
        task = asyncio.create_task(self._save(client, file))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return task

    async def finish(self) -> None:
        """Wait until all that was begun is done."""
        while self._saving:
            await asyncio.wait(self._saving)

    async def stop(self) -> None:
        """Save nothing more."""
        for task in self._saving:
            task.cancel()
        await self.finish()

    async def _save(self, client: WebSocketClient, file: AgentFile) -> None:
        try:
            async with self._places:
                self._tell(file, await save(client, file, self._folder))
        except ClientError as exc:
            self.failed = True
            self._tell(file, exc)
