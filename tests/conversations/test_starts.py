"""A store that cannot be used stops the start, in one line."""

import fcntl
import os
import sqlite3
import sys
from asyncio import timeout
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsocket.settings import SettingsError, load_settings
from tests.server_process import ROOT
from tests.support import PATIENCE


def newer(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 1097290595")
    database.execute("PRAGMA user_version = 99")
    database.close()


def a_folder(path: Path) -> None:
    path.mkdir()


def no_database(path: Path) -> None:
    path.write_text("These are my notes. " * 100)


def no_room_for_files(path: Path) -> None:
    Path(f"{path}.files").write_text("")


def held(path: Path) -> None:
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)  # as long as the tests run
    fcntl.flock(lock, fcntl.LOCK_EX)


HOLDERS: list[sqlite3.Connection] = []


def locked(path: Path) -> None:
    HOLDERS.append(sqlite3.connect(path, isolation_level=None))
    HOLDERS[-1].execute("BEGIN EXCLUSIVE")


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    yield
    while HOLDERS:
        HOLDERS.pop().close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (newer, "newer version"),
        (a_folder, "unable to open|Is a directory"),
        (no_database, "not a database"),
        (no_room_for_files, "files cannot be kept"),
        (held, "another server"),
        (locked, "locked"),
    ],
)
async def test_a_store_that_cannot_be_used_is_told_in_one_line(make: object, told: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "c.db")
    process = await create_subprocess_exec(
        *(sys.executable, str(ROOT / "websocket_server.py"), "--port", "0", "--env-file", "none"),
        *("--store", f"sqlite:{tmp_path / 'c.db'}"),
        stdout=PIPE,
        stderr=PIPE,
    )
    async with timeout(PATIENCE):
        _, errors = await process.communicate()
    assert process.returncode == 2
    (line,) = errors.decode().splitlines()
    assert "--store" in line
    assert any(part in line for part in told.split("|"))


@pytest.mark.parametrize("store", ["sqlite", "sqlite:", "conversations.db", "mysql://localhost"])
def test_an_address_that_is_none_says_what_one_would_be(store: str) -> None:
    with pytest.raises(SettingsError, match=r"--store: .*sqlite:conversations\.db"):
        load_settings(["--store", store], {})
