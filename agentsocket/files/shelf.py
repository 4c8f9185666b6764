"""The files of one session: what its client uploads, and what its agent sends."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from agentsocket.files.kinds import UNKNOWN_TYPE, clean_name, clean_type
from agentsocket.files.store import FileStore, Holder, StoredFile
from agentsocket.protocol.errors import ErrorCode, ProtocolError


class Draft:
    """A file that is being written."""

    def __init__(self, name: str, media_type: str, size: int, path: Path) -> None:
        self.name, self.media_type, self.size, self.path = name, media_type, size, path
        self.received = 0
        """Bytes that are there."""


class Shelf:
    """Whoever does something with the session's files holds its ``lock``: one at a time, and nobody once it is closed.

    Without files it costs nothing.
    """

    def __init__(self, store: FileStore, holders: Sequence[Holder], keep: Callable[[asyncio.Task[Any]], Any]) -> None:
        """Keep files in this store, counted for these holders; ``keep`` owns what goes on when nobody waits for it."""
        self.store = store
        self.lock = asyncio.Lock()
        self.closed = False
        self._holders, self._keep = holders, keep
        self._drafts: set[Draft] = set()
        self._files: dict[str, StoredFile] = {}
        self._restored: set[str] = set()

    def restore(self, files: Collection[StoredFile]) -> None:
        """Have the files that its conversation has."""
        self._files |= {file.id: file for file in files}
        for file in files:
            file.readable = True
        self._restored |= {file.id for file in files}

    async def keep(self, file: StoredFile) -> None:
        """Have a file outlive the session.

        Raises:
            ProtocolError: ``files_unavailable``.
        """
        await self.store.keep(file)

    async def keep_no_longer(self, file: StoredFile) -> None:
        """Have a file go with the session again."""
        with contextlib.suppress(ProtocolError):
            await self.store.keep_no_longer(file)

    def attached(self, ids: Collection[str]) -> list[StoredFile]:
        """Return the files with these ids.

        Raises:
            ProtocolError: ``unknown_file``.
        """
        try:
            return [self._files[file_id] for file_id in ids]
        except KeyError:
            raise ProtocolError(ErrorCode.UNKNOWN_FILE, "This session has no such file.") from None

    def readable(self) -> dict[str, StoredFile]:
        """Return the files that the agent may read, by their ids."""
        return {file.id: file for file in self._files.values() if file.readable}

    async def add(self, source: str | os.PathLike[str] | bytes, name: str | None, media_type: str | None) -> StoredFile:
        """Take a copy of a file of the agent's.

        Raises:
            OSError: if there is none to be read at that path.
            ProtocolError: as ``begin``, or where the copy cannot be written.
        """
        if isinstance(source, bytes):
            size = len(source)
        else:
            source = Path(source)
            size = await asyncio.get_running_loop().run_in_executor(self.store.threads, _size_of, source)
            name = name or source.name
        name = clean_name(name or "")
        given = _type_of(name) if media_type is None else media_type
        # Goes on though the agent is stopped: a thread that writes cannot be.
        adding = asyncio.create_task(self._add(source, name, clean_type(given), size))
        self._keep(adding)
        return await asyncio.shield(adding)

    async def begin(self, name: str, media_type: str, size: int) -> Draft:
        """Begin to write a file; name and type are clean.

        Raises:
            ProtocolError: ``file_too_large``, ``too_many_files``, ``files_unavailable``.
        """
        self.store.reserve(self._holders, size)
        try:
            path = await self.store.create(name)
        except BaseException:
            self.store.give_back(self._holders, size)
            raise
        draft = Draft(name, media_type, size, path)
        self._drafts.add(draft)
        return draft

    async def write(self, draft: Draft, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            ProtocolError: ``files_unavailable``; what was there before is there still.
        """
        await self.store.in_thread(_append, draft.path, draft.received, data)
        draft.received += len(data)

    def finish(self, draft: Draft) -> StoredFile:
        """Return the file that was written."""
        self._drafts.discard(draft)
        file = self.store.publish(draft.name, draft.media_type, draft.size, draft.path)
        self._files[file.id] = file
        return file

    async def drop(self, file: Draft | StoredFile) -> None:
        """Remove a file."""
        if isinstance(file, StoredFile):
            self.store.withdraw(file)
            del self._files[file.id]
        else:
            self._drafts.discard(file)
        await self.store.in_thread(_remove, [file.path])
        self.store.give_back(self._holders, file.size)

    async def close(self) -> None:
        """Remove all of them; the session is over."""
        async with self.lock:
            self.closed = True
            for stored in self._files.values():
                self.store.withdraw(stored)
            files: list[Draft | StoredFile] = [file for file in self._files.values() if not file.kept]
            files += self._drafts
            with contextlib.suppress(ProtocolError):  # the store is closed, and with it all of them
                await self.store.in_thread(_remove, [file.path for file in files])
            for file in files:
                self.store.give_back(self._holders, file.size)
            for stored in self._files.values():
                if stored.kept and stored.id not in self._restored:
                    self.store.leave(stored, self._holders[0], self._holders[1:])
            self._files.clear()
            self._drafts.clear()

    async def _add(self, source: Path | bytes, name: str, media_type: str, size: int) -> StoredFile:
        async with self.lock:
            if self.closed:
                raise asyncio.CancelledError("the session has ended")
            draft = await self.begin(name, media_type, size)
            try:
                await self.store.in_thread(_copy, source, draft.path, size)
            except ProtocolError:
                await self.drop(draft)
                raise
            file = self.finish(draft)
            file.readable = True
            return file


def _type_of(name: str) -> str:
    import mimetypes  # noqa: PLC0415  # few sessions have files

    return mimetypes.guess_type(name)[0] or UNKNOWN_TYPE


def _size_of(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no file")  # a pipe or a device may have no end
    return found.st_size


def _copy(source: Path | bytes, path: Path, size: int) -> None:
    """Write a copy of exactly so many bytes: that is what was counted."""
    if isinstance(source, bytes):
        path.write_bytes(source)
        return
    with source.open("rb") as given, path.open("r+b") as copy:
        while size and (data := given.read(min(size, 1 << 20))):
            copy.write(data)
            size -= len(data)
        if size:
            raise OSError(f"{source} became shorter while it was read")


def _append(path: Path, offset: int, data: bytes) -> None:
    # Not made anew where it is gone.
    with path.open("r+b", buffering=0) as file:
        file.truncate(offset)  # a write that has failed may have left a part
        file.seek(offset)
        while data:
            data = data[file.write(data) :]


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # what cannot be removed now goes with the folder
            path.unlink()
