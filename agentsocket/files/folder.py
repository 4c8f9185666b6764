"""The folder of one process's files. What a process that has crashed left behind, the next one takes away."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

PREFIX = "files-"

LOCK = ".lock"
"""A file that is locked as long as its folder is in use: the system lets go of it with the process, however that
ends."""


class Folder:
    """A folder that nobody else may look into, below one that several processes may share."""

    def __init__(self, parent: Path | None) -> None:
        """Keep files below ``parent``; with none, below a folder of this user's in the system's temporary one."""
        self._given = parent
        self._parent = parent or Path(tempfile.gettempdir()) / f"agentsocket-{os.getuid()}"
        self._own: Path | None = None
        self._lock: int | None = None
        self._making = threading.Lock()

    def prepare(self) -> None:
        """Make the parent where it was asked for, and remove what processes that are gone left there.

        Raises:
            OSError: if the parent cannot be made or written to.
        """
        if self._given is not None:
            self._parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._parent):
                pass
        elif not self._is_private():
            return
        if not any(self._parent.glob(f"{PREFIX}*")):
            return
        with _locked(self._parent / LOCK):
            for folder in self._parent.glob(f"{PREFIX}*"):
                if not folder.is_symlink() and folder != self._own and not _is_in_use(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def make(self) -> Path:
        """Return the process's own folder; made at first, and anew where a temporary folder was cleaned. In any thread.

        Raises:
            OSError: if it cannot be made.
        """
        with self._making:
            if self._own is None or not self._own.is_dir():
                self._let_go()
                self._own = self._make()
            return self._own

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None
        self._let_go()

    def _make(self) -> Path:
        self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._given is None and not self._is_private():
            # Somebody else was there before: a folder that nobody can guess, then.
            self._parent = Path(tempfile.mkdtemp(prefix="agentsocket-"))
        with _locked(self._parent / LOCK):
            own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._lock = os.open(own / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return own

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_private(self) -> bool:
        """Whether the parent is a folder of this user's alone: in a temporary folder anybody may make one."""
        try:
            found = self._parent.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _is_in_use(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make and sweep one at a time: a folder that has no lock yet looks like one that is left over."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class KeptFolder:
    """A folder whose files outlive the process; whoever keeps them says which."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Make the folder, for nobody else to look into.

        Raises:
            OSError: if it cannot be made or written to.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path):
            pass

    def make(self) -> Path:
        """Return the folder."""
        return self._path

    def remove(self) -> None:
        """Leave it."""
