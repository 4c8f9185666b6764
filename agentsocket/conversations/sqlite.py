"""The embedded engine: one SQLite file, used by one process, in a thread of its own."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from agentsocket.conversations.contract import Conversation, KeptFile, StoredTurn, StoreError, TurnEnd

logger = logging.getLogger("agentsocket.store")

T = TypeVar("T")

APPLICATION: Final = 0x41675363
"""SQLite's ``application_id``, so that no other program's database is taken for ours."""

MIGRATIONS: Final = (
    """
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY, owner TEXT, agent TEXT NOT NULL, title TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, turns INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX of_owner ON conversations (owner, updated_at DESC, id DESC);
    CREATE INDEX by_age ON conversations (updated_at);
    CREATE TABLE memories (
        conversation_id TEXT PRIMARY KEY REFERENCES conversations ON DELETE CASCADE, memory BLOB NOT NULL
    );
    CREATE TABLE turns (
        conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE, number INTEGER NOT NULL,
        task_id TEXT NOT NULL, status TEXT NOT NULL, head BLOB NOT NULL, tail BLOB NOT NULL,
        UNIQUE (conversation_id, number)
    );
    CREATE INDEX by_task ON turns (task_id);
    CREATE INDEX running ON turns (status) WHERE status = 'running';
    CREATE TABLE files (
        token TEXT PRIMARY KEY, file_id TEXT NOT NULL, size INTEGER NOT NULL,
        conversation_id TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX of_conversation ON files (conversation_id);
    """,
)
"""What makes each version of the schema out of the one before; the first, out of nothing."""

BUSY: Final = 2.0
"""Seconds that another process may hold the file for, a backup say: they count from when something was asked."""

PROMPT: Final = 0.1
"""Seconds in line that do not count."""

FIND: Final = "SELECT id, owner, agent, title, created_at, updated_at, turns FROM conversations"

QUIET: Final = 10.0
"""Seconds between two log lines that say that the store cannot be used."""


class SqliteStore:
    """Conversations in one file. SQLite's own thread is the only one that waits for the disk."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Use this file; ``durable`` has each write wait for the disk, which a power failure is then no danger to.

        Without it a write is the system's when it returns: it survives whatever becomes of this process.
        """
        self._path, self._durable = path, durable
        self._thread = ThreadPoolExecutor(1, "store")
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._patience = BUSY
        self._quiet_until = math.inf  # until it is open: that it cannot be opened is told by whoever wants it

    async def open(self) -> None:
        """Open the file, or make it; see ``Store``."""
        try:
            await self._run(self._open)
        except StoreError:
            await self.close()
            raise
        self._quiet_until = 0.0

    async def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(RuntimeError):  # it is closed
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    async def find(self, conversation_id: str) -> Conversation | None:
        """See ``Store``."""
        found = await self._rows(f"{FIND} WHERE id = ?", conversation_id)
        return Conversation(*found[0]) if found else None

    async def memory(self, conversation_id: str) -> bytes | None:
        """See ``Store``."""
        found = await self._rows("SELECT memory FROM memories WHERE conversation_id = ?", conversation_id)
        return found[0][0] if found else None

    async def files(self, conversation_id: str) -> Sequence[KeptFile]:
        """See ``Store``."""
        rows = await self._rows("SELECT file_id, token, size FROM files WHERE conversation_id = ?", conversation_id)
        return [KeptFile(*row) for row in rows]

    async def all_files(self) -> Sequence[tuple[str | None, KeptFile]]:
        """See ``Store``."""
        query = "SELECT owner, file_id, token, size FROM files JOIN conversations ON id = conversation_id"
        return [(owner, KeptFile(*file)) for owner, *file in await self._rows(query)]

    async def begin(self, conversation: Conversation, task_id: str, head: bytes, files: Sequence[KeptFile]) -> None:
        """See ``Store``."""

        def begin(database: sqlite3.Connection) -> None:
            known = conversation
            database.execute(
                "INSERT INTO conversations (id, owner, agent, title, created_at, updated_at, turns) "
                "VALUES (?, ?, ?, ?, ?, ?, 1) "
                "ON CONFLICT (id) DO UPDATE SET turns = turns + 1, updated_at = excluded.updated_at, "
                "title = CASE title WHEN '' THEN excluded.title ELSE title END",
                (known.id, known.owner, known.agent, known.title, known.created_at, known.updated_at),
            )
            database.execute(
                "INSERT INTO turns (conversation_id, number, task_id, status, head, tail) "
                "SELECT id, turns, ?, 'running', ?, x'' FROM conversations WHERE id = ?",
                (task_id, head, known.id),
            )
            _add_files(database, known.id, files)

        await self._change(begin)

    async def end(self, conversation_id: str, turn: TurnEnd, memory: bytes | None) -> None:
        """See ``Store``."""

        def end(database: sqlite3.Connection) -> None:
            changed = database.execute(
                "UPDATE turns SET status = ?, tail = ? WHERE task_id = ? AND conversation_id = ?",
                (turn.status, turn.tail, turn.task_id, conversation_id),
            )
            if not changed.rowcount:
                return  # the conversation was deleted meanwhile
            database.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (_now(), conversation_id))
            _add_files(database, conversation_id, turn.files)
            if memory is not None:
                database.execute("REPLACE INTO memories VALUES (?, ?)", (conversation_id, memory))

        await self._change(end)

    async def listed(self, owner: str, limit: int, before: tuple[int, str] | None) -> Sequence[Conversation]:
        """See ``Store``."""
        query = f"{FIND} WHERE owner = ?"
        if before is not None:
            query += " AND (updated_at, id) < (?, ?)"
        query += " ORDER BY updated_at DESC, id DESC LIMIT ?"
        return [Conversation(*row) for row in await self._rows(query, owner, *(before or ()), limit)]

    async def turns(
        self, conversation_id: str, limit: int, before: int | None, size: int | None = None
    ) -> Sequence[StoredTurn]:
        """See ``Store``."""
        query = "SELECT number, status, head, tail FROM turns WHERE conversation_id = ? AND number < ?"
        query += " ORDER BY number DESC LIMIT ?"

        def read() -> list[StoredTurn]:
            turns, read = [], 0
            with contextlib.closing(self._connected.cursor()) as cursor:
                for row in cursor.execute(query, (conversation_id, 2**62 if before is None else before, limit)):
                    turns.append(StoredTurn(*row))
                    read += len(turns[-1].head) + len(turns[-1].tail)
                    if size is not None and read > size:
                        break
            return turns

        return await self._run(read)

    async def count(self, owner: str) -> int:
        """See ``Store``."""
        return int((await self._rows("SELECT count(*) FROM conversations WHERE owner = ?", owner))[0][0])

    async def rename(self, conversation_id: str, title: str) -> None:
        """See ``Store``."""
        await self._change(
            lambda database: database.execute(
                "UPDATE conversations SET title = ? WHERE id = ?", (title, conversation_id)
            )
        )

    async def delete(self, conversation_id: str) -> Sequence[KeptFile]:
        """See ``Store``."""

        def delete(database: sqlite3.Connection) -> list[KeptFile]:
            files = database.execute(
                "SELECT file_id, token, size FROM files WHERE conversation_id = ?", (conversation_id,)
            )
            kept = [KeptFile(*row) for row in files]
            database.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))
            return kept

        kept = await self._change(delete)
        with contextlib.suppress(StoreError):
            await self._run(self._empty_log)
        return kept

    async def untouched_since(self, time: int, limit: int) -> Sequence[str]:
        """See ``Store``."""
        query = "SELECT id FROM conversations WHERE updated_at < ? ORDER BY updated_at LIMIT ?"
        return [row[0] for row in await self._rows(query, time, limit)]

    # ---- In the thread -----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        # Made here and not by SQLite, which would let everybody read it.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        database = self._database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        self._identity = _identity_of(self._path)
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION and tables:
            raise StoreError("it is another program's database")
        if version > len(MIGRATIONS):
            raise StoreError(f"it was written by a newer version (schema {version}, known are {len(MIGRATIONS)})")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")  # what is deleted is deleted
        if version < len(MIGRATIONS):
            steps = "".join(MIGRATIONS[version:])
            done = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {len(MIGRATIONS)};"
            database.executescript(f"BEGIN IMMEDIATE; {steps} {done} COMMIT;")
        database.execute("UPDATE turns SET status = 'interrupted' WHERE status = 'running'")

    def _take_lock(self) -> None:
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError("another server uses it") from None

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _empty_log(self) -> None:
        """Write what is in the log to where it belongs: what was deleted would stand in it until it is written over."""
        self._be_patient(0)  # while somebody reads, a backup say, it cannot be emptied
        self._connected.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def _rows(self, query: str, *values: object) -> list[Any]:
        return await self._run(lambda: self._connected.execute(query, values).fetchall())

    async def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in a transaction."""

        def transact() -> T:
            database = self._connected
            if _identity_of(self._path) != self._identity:
                raise OSError(errno.ESTALE, "another file is in its place")
            database.execute("BEGIN IMMEDIATE")
            try:
                result = change(database)
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
            return result

        return await self._run(transact)

    @property
    def _connected(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreError("it is closed")
        return self._database

    def _be_patient(self, seconds: float) -> None:
        """Wait so long from now on where another process holds the file."""
        if self._database is not None and seconds != self._patience:
            self._patience = seconds
            self._database.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    async def _run(self, function: Callable[[], T]) -> T:
        asked = time.monotonic()

        def run() -> T:
            # All of a line would else wait one after the other, and the last for minutes.
            waited = time.monotonic() - asked
            self._be_patient(BUSY if waited < PROMPT else max(0.0, BUSY - waited))
            return function()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (sqlite3.Error, OSError) as exc:
            failure = StoreError(getattr(exc, "strerror", None) or str(exc))
        except RuntimeError as exc:  # the thread is gone
            failure = StoreError(str(exc))
        self._tell(failure)
        raise failure

    def _tell(self, failure: StoreError) -> None:
        now = time.monotonic()
        if self._database is not None and now >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.error("the store %s cannot be used: %s", self._path, failure)


def _identity_of(path: Path) -> tuple[int, int]:
    """Return what tells a file from another one of the same name."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _now() -> int:
    return time.time_ns() // 1_000_000


def _add_files(database: sqlite3.Connection, conversation_id: str, files: Sequence[KeptFile]) -> None:
    rows = [(file.token, file.id, file.size, conversation_id) for file in files]
    database.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", rows)
