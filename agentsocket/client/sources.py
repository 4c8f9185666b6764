"""What is uploaded: bytes at hand, or a file that is read piece by piece, never whole."""

import asyncio
import contextlib
import mimetypes
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from agentsocket.client.errors import FileError
from agentsocket.client.threads import made
from agentsocket.protocol.events import AgentFile

UNKNOWN_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True)
class File:
    """A file of the session's, to be named in any number of its requests. ``size`` is in bytes.

    While it is sent it has no ``file_id`` yet.
    """

    name: str
    media_type: str
    size: int
    file_id: str = ""


Source = str | os.PathLike[str] | bytes
"""What can be uploaded: a path, or bytes."""

Attachable = Source | File | AgentFile
"""What a request can bring: what is uploaded first, or what the session has already."""


class Bytes:
    """Bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    async def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes."""
        return self._data[offset : offset + size]


class OnDisk:
    """A file, of which only what is asked for is read, in a thread."""

    def __init__(self, file: FileIO) -> None:
        found = os.fstat(file.fileno())
        self._file, self.size, self._changed = file, found.st_size, found.st_mtime_ns

    async def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes.

        Raises:
            FileError: if it is not the file any more that it was when it was opened.
            OSError: if it cannot be read.
        """
        return await asyncio.to_thread(self._read, offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        data, found = os.pread(self._file.fileno(), size, offset), os.fstat(self._file.fileno())
        if len(data) < size or (found.st_size, found.st_mtime_ns) != (self.size, self._changed):
            raise FileError("The file has changed while it was sent.")
        return data


@contextlib.asynccontextmanager
async def opened(source: Source) -> AsyncIterator[Bytes | OnDisk]:
    """Have something to upload.

    Raises:
        FileError: if the path leads to no file: a pipe, say, has no size.
        OSError: if it cannot be read.
    """
    if isinstance(source, bytes):
        yield Bytes(source)
        return
    async with made(lambda: _open(source), FileIO.close) as file:
        yield OnDisk(file)


def described(source: Source, size: int, name: str | None, media_type: str | None) -> File:
    """Describe what is uploaded; name and type are the path's own where they are not given."""
    if name is None and not isinstance(source, bytes):
        name = os.fsencode(Path(source).name).decode(errors="replace")  # a name on disk need not be text
    name = name or "file"
    return File(name, media_type or mimetypes.guess_type(name)[0] or UNKNOWN_TYPE, size)


def _open(path: str | os.PathLike[str]) -> FileIO:
    # A pipe that nobody writes to would be waited for.
    file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise FileError(f"{os.fsdecode(path)} is no file.")
