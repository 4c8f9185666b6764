"""All files of a process: what they may take, where they lie, and by which path each is got."""

import asyncio
import logging
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from agentsocket.containment.threads import Threads
from agentsocket.conversations.contract import KeptFile
from agentsocket.files.folder import Folder, KeptFolder
from agentsocket.files.kinds import clean_name, clean_type, suffix_of
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.files")

P = ParamSpec("P")
T = TypeVar("T")

PATH = "/files/"

THREADS = 4
"""Threads that read and write files: a slow disk holds up files, and nobody else."""

MOST = 1000
"""Files that a session, a user or an address may have: empty ones take no bytes, but a place."""


TOKEN = re.compile(r"[0-9a-f]{32}")

ABOUT = ".about.json"
"""The end of the name of what is told of a kept file; a file itself has one such part at most."""


class About(BaseModel):
    """What is written beside a kept file."""

    model_config = ConfigDict(strict=True)

    id: str
    name: str
    media_type: str
    size: int


class Holder(NamedTuple):
    """One of those that a file counts for."""

    name: str
    """Text that only has to be the same for the same session, user or address."""
    scope: str
    refusal: str


@dataclass(slots=True, eq=False)
class StoredFile:
    """A file that is whole. ``size`` is in bytes; it lies at ``path``, as long as its session is there."""

    name: str
    media_type: str
    size: int
    path: Path
    url: str
    threads: Threads = field(repr=False)
    kept: bool = False
    """Whether it outlives its session."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    readable: bool = False
    """Whether the agent may read it as long as the session is there: a request has named it, or it is its own."""

    @property
    def token(self) -> str:
        """The secret part of its path."""
        return self.url.rpartition("/")[2]

    async def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: if it is gone: its session has ended.
        """
        return await asyncio.get_running_loop().run_in_executor(self.threads, self.path.read_bytes)


def user_holder(user_id: str) -> Holder:
    """Return the one that all files of a user count for."""
    return Holder(f"user {user_id}", "user", "You have no room for more files.")


class FileStore:
    """Counts files and finds them."""

    def __init__(self, settings: Settings, kept_in: Path | None = None) -> None:
        """Count by these settings; with ``kept_in`` files lie in that folder, and may outlive sessions and process."""
        self.settings = settings
        self.threads = Threads(THREADS, "files")
        self._folder: Folder | KeptFolder = Folder(settings.files_dir) if kept_in is None else KeptFolder(kept_in)
        self._closed = False
        self._sizes: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._total = 0
        self._left: dict[str, Sequence[Holder]] = {}
        """Addresses that kept files count for, which no store knows of, by the files' tokens."""
        self._files: dict[str, StoredFile] = {}

    def prepare(self) -> None:
        """Make the folder that was asked for, and remove what processes that are gone left there.

        Raises:
            OSError: if it cannot be written to.
        """
        self._folder.prepare()

    def reserve(self, holders: Sequence[Holder], size: int) -> None:
        """Count a file of so many bytes that is to come.

        Raises:
            ProtocolError: ``file_too_large``, or ``too_many_files`` where one of its holders has no room for it.
        """
        settings = self.settings
        if size > settings.max_file_size:
            text = f"A file may have {settings.max_file_size} bytes."
            raise ProtocolError(ErrorCode.FILE_TOO_LARGE, text)
        for holder in holders:
            if self._sizes[holder.name] + size > settings.max_files_size or self._numbers[holder.name] >= MOST:
                raise ProtocolError(ErrorCode.TOO_MANY_FILES, holder.refusal, scope=holder.scope)
        if self._total + size > settings.max_total_files_size:
            text = "The server has no room for more files."
            raise ProtocolError(ErrorCode.TOO_MANY_FILES, text, scope="server")
        self._count(holders, size, 1)

    def give_back(self, holders: Sequence[Holder], size: int) -> None:
        """Count a file no longer."""
        self._count(holders, -size, -1)

    def leave(self, file: StoredFile, session: Holder, others: Sequence[Holder]) -> None:
        """Count a kept file no longer for its session, which has ended, but still for others."""
        self._total += file.size
        self._count([session], -file.size, -1)
        if any(other.scope != "user" for other in others):
            self._left[file.token] = others

    async def create(self, name: str) -> Path:
        """Return the path of a new, empty file, which ends as ``name`` does.

        Raises:
            ProtocolError: ``files_unavailable``.
        """

        def create() -> Path:
            path = self._folder.make() / f"{secrets.token_hex(16)}{suffix_of(name)}"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return path

        return await self.in_thread(create)

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with a file.

        Raises:
            ProtocolError: ``files_unavailable`` where the system refuses it; the log says why. ``shutting_down``.
        """
        if self._closed:
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, "The server is shutting down.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: function(*args, **kwargs))
        except OSError as exc:
            error_id = secrets.token_hex(4)
            logger.error("a file could not be written, error_id=%s: %s", error_id, exc.strerror or exc)  # noqa: TRY400  # it says it all
            text = "The file could not be written. The server's log has the details."
            raise ProtocolError(ErrorCode.FILES_UNAVAILABLE, text, error_id=error_id) from None

    def publish(self, name: str, media_type: str, size: int, path: Path) -> StoredFile:
        """Return a file that is whole, and from now on is found by its path."""
        url = f"{self.settings.base_path}{PATH}{path.stem}"
        file = self._files[path.stem] = StoredFile(name, media_type, size, path, url, self.threads)
        return file

    def find(self, path: str) -> StoredFile | None:
        """Return the file that is got by this path, without ``base_path``."""
        if not path.startswith(PATH):
            return None
        token = path.removeprefix(PATH)
        return self._files.get(token) or self._look_up(token)

    def withdraw(self, file: StoredFile) -> None:
        """Give a file to nobody any more."""
        self._files.pop(file.token, None)

    async def keep(self, file: StoredFile) -> None:
        """Have a file outlive its session.

        Raises:
            ProtocolError: ``files_unavailable``.
        """
        if not file.kept:
            about = About(id=file.id, name=file.name, media_type=file.media_type, size=file.size)
            await self.in_thread(_about(file).write_bytes, to_json(about))
            file.kept = True

    async def keep_no_longer(self, file: StoredFile) -> None:
        """Have a file that was to be kept go with its session again.

        Raises:
            ProtocolError: ``files_unavailable``.
        """
        file.kept = False
        await self.in_thread(_about(file).unlink, missing_ok=True)

    async def restore(self, files: Sequence[KeptFile]) -> list[StoredFile]:
        """Return those of these kept files that are still there."""
        found = await self.in_thread(lambda: [self._look_up(file.token) for file in files])
        return [file for file in found if file is not None]

    async def discard(self, owner: str | None, files: Sequence[KeptFile]) -> None:
        """Remove kept files of this owner's, and count them no longer."""
        await self.in_thread(self._remove, [file.token for file in files])
        for file in files:
            self._files.pop(file.token, None)
            others = self._left.pop(file.token, ())
            self.give_back(others if owner is None else [user_holder(owner)], file.size)

    async def sweep(self, files: Sequence[tuple[str | None, KeptFile]]) -> None:
        """Count the files that are kept, and remove all others: no session has them any more.

        What is called as no file of ours is left alone: the folder may be somebody's.
        """
        for owner, file in files:
            self._count([] if owner is None else [user_holder(owner)], file.size, 1)
        tokens = {file.token for _, file in files}

        def remove() -> None:
            for path in self._folder.make().iterdir():
                token = path.name.partition(".")[0]
                if TOKEN.fullmatch(token) and token not in tokens and not path.is_dir():
                    path.unlink()

        await self.in_thread(remove)

    def _look_up(self, token: str) -> StoredFile | None:
        """Return a kept file that no session has."""
        if not isinstance(self._folder, KeptFolder) or not TOKEN.fullmatch(token):
            return None
        try:
            about = About.model_validate_json((self._folder.make() / f"{token}{ABOUT}").read_bytes())
            path = self._folder.make() / f"{token}{suffix_of(about.name)}"
            if path.stat().st_size != about.size:
                return None
        except (OSError, ValueError):  # it is gone, or somebody has been at it
            return None
        url = f"{self.settings.base_path}{PATH}{token}"
        name, media_type = clean_name(about.name), clean_type(about.media_type)
        return StoredFile(name, media_type, about.size, path, url, self.threads, kept=True, id=about.id)

    def _remove(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            for path in self._folder.make().glob(f"{token}*"):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all that is left."""
        self._closed = True
        self.threads.shutdown(wait=False, cancel_futures=True)
        self._files.clear()
        self._folder.remove()

    def _count(self, holders: Sequence[Holder], size: int, number: int) -> None:
        self._total += size
        for holder in holders:
            self._sizes[holder.name] += size
            self._numbers[holder.name] += number
            if not self._numbers[holder.name]:
                del self._sizes[holder.name], self._numbers[holder.name]


def _about(file: StoredFile) -> Path:
    return file.path.with_name(f"{file.token}{ABOUT}")
