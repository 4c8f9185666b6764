"""What every engine of the store does. Each test runs over each of them."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentsocket.conversations.contract import Conversation, KeptFile, Store, StoreError, TurnEnd
from agentsocket.conversations.engines import folder_beside, store_for
from agentsocket.conversations.sqlite import SqliteStore

ENGINES = ["sqlite"]


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    assert request.param in ENGINES
    opened = SqliteStore(tmp_path / "c.db")
    await opened.open()
    yield opened
    await opened.close()


def conversation(conversation_id: str = "c", owner: str | None = "ada", at: int = 1000) -> Conversation:
    return Conversation(conversation_id, owner, "agent", f"title of {conversation_id}", at, at)


async def test_a_conversation_begins_with_its_first_turn(store: Store) -> None:
    assert await store.find("c") is None
    await store.begin(conversation(), "t1", b'{"n":1}', [])
    await store.begin(conversation(at=2000), "t2", b'{"n":2}', [])
    found = await store.find("c")
    assert found is not None
    assert (found.owner, found.title, found.created_at, found.updated_at, found.turns) == (
        "ada",
        "title of c",
        1000,
        2000,
        2,
    )
    turns = await store.turns("c", 10, None)
    assert [(turn.status, turn.head, turn.tail) for turn in turns] == [
        ("running", b'{"n":2}', b""),
        ("running", b'{"n":1}', b""),
    ]


async def test_the_end_of_a_turn_comes_with_what_the_agent_remembers(store: Store) -> None:
    await store.begin(conversation(), "t1", b"{}", [])
    await store.end("c", TurnEnd("t1", "completed", b'{"a":1}'), b"[1]")
    assert await store.memory("c") == b"[1]"
    (turn,) = await store.turns("c", 10, None)
    assert (turn.status, turn.tail) == ("completed", b'{"a":1}')
    await store.begin(conversation(), "t2", b"{}", [])
    await store.end("c", TurnEnd("t2", "failed", b"{}"), None)
    assert await store.memory("c") == b"[1]"


async def test_an_end_of_what_was_deleted_brings_nothing_back(store: Store) -> None:
    await store.begin(conversation(), "t1", b"{}", [KeptFile("f", "token", 3)])
    assert await store.delete("c") == [KeptFile("f", "token", 3)]
    await store.end("c", TurnEnd("t1", "completed", b"{}", [KeptFile("g", "another", 3)]), b"[1]")
    assert await store.find("c") is None
    assert await store.memory("c") is None
    assert await store.turns("c", 10, None) == []
    assert await store.files("c") == []
    assert await store.all_files() == []


async def test_files_are_those_of_the_turns_beginning_and_end(store: Store) -> None:
    await store.begin(conversation(), "t1", b"{}", [KeptFile("a", "1", 3)])
    await store.end("c", TurnEnd("t1", "completed", b"{}", [KeptFile("b", "2", 4)]), None)
    await store.begin(conversation(), "t2", b"{}", [KeptFile("a", "1", 3)])
    assert sorted(await store.files("c")) == [KeptFile("a", "1", 3), KeptFile("b", "2", 4)]
    assert sorted(await store.all_files()) == [("ada", KeptFile("a", "1", 3)), ("ada", KeptFile("b", "2", 4))]


async def test_the_list_is_newest_first_and_comes_in_pages(store: Store) -> None:
    for number in range(5):
        await store.begin(conversation(f"c{number}", at=1000 + number // 2), "t", b"{}", [])
    await store.begin(conversation("other", owner="ben"), "t", b"{}", [])
    await store.begin(conversation("nobodys", owner=None), "t", b"{}", [])
    seen: list[str] = []
    before = None
    while page := await store.listed("ada", 2, before):
        seen += [each.id for each in page]
        before = page[-1].updated_at, page[-1].id
    assert seen == ["c4", "c3", "c2", "c1", "c0"]
    assert await store.count("ada") == 5


async def test_turns_come_in_pages(store: Store) -> None:
    for number in range(5):
        await store.begin(conversation(), f"t{number}", b'{"n":%d}' % number, [])
    first = await store.turns("c", 2, None)
    assert [turn.head for turn in first] == [b'{"n":4}', b'{"n":3}']
    second = await store.turns("c", 10, first[-1].number)
    assert [turn.head for turn in second] == [b'{"n":2}', b'{"n":1}', b'{"n":0}']


async def test_no_more_turns_are_read_than_were_to_be(store: Store) -> None:
    for number in range(4):
        await store.begin(conversation(), f"t{number}", b"x" * 1000, [])
    assert len(await store.turns("c", 10, None, 4000)) == 4
    assert len(await store.turns("c", 10, None, 1500)) == 2  # one of them too many: there are more
    assert len(await store.turns("c", 10, None, 10)) == 1
    assert len(await store.turns("c", 10, 4, 1500)) == 2


async def test_a_title_is_changed_and_stays(store: Store) -> None:
    await store.begin(conversation(), "t1", b"{}", [])
    await store.rename("c", "another")
    await store.begin(conversation(), "t2", b"{}", [])
    found = await store.find("c")
    assert found is not None
    assert found.title == "another"


async def test_what_nobody_has_touched_is_found_by_its_age(store: Store) -> None:
    for number in range(3):
        await store.begin(conversation(f"c{number}", at=1000 * number), "t", b"{}", [])
    assert await store.untouched_since(1500, 10) == ["c0", "c1"]
    assert await store.untouched_since(1500, 1) == ["c0"]


# ---- SQLite's own ----------------------------------------------------------------------------------------------------


async def test_what_ran_when_the_process_ended_is_interrupted(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        await store.begin(conversation(), "t1", b"{}", [])
    async with sqlite(tmp_path) as store:
        assert [turn.status for turn in await store.turns("c", 10, None)] == ["interrupted"]


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        await store.begin(conversation(), "t1", b"{}", [])
        modes = modes_in(tmp_path)
    assert set(modes.values()) == {0o600}
    assert "c.db-wal" in modes


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.glob("c.db*")}


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no database at all" * 100, "not a database"), (b"SQLite format 3\x00" + b"\xff" * 5000, ".")],
)
async def test_what_is_no_database_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "c.db").write_bytes(content)
    with pytest.raises(StoreError, match=told):
        await SqliteStore(tmp_path / "c.db").open()
    assert (tmp_path / "c.db").read_bytes() == content


async def test_the_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with sqlite(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer version"):
        await SqliteStore(tmp_path / "c.db").open()


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database:
        database.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="another program's"):
        await SqliteStore(tmp_path / "c.db").open()


async def test_a_file_has_one_server(tmp_path: Path) -> None:
    async with sqlite(tmp_path):
        with pytest.raises(StoreError, match="another server uses it"):
            await SqliteStore(tmp_path / "c.db").open()
    async with sqlite(tmp_path):
        pass


async def test_a_file_that_another_program_holds_is_told_and_nothing_is_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.05)
    async with sqlite(tmp_path) as store:
        await store.begin(conversation(), "t1", b"{}", [])
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await store.begin(conversation(), "t2", b"{}", [])
            assert len(await store.turns("c", 10, None)) == 1
            other.execute("ROLLBACK")
        await store.begin(conversation(), "t3", b"{}", [])
    assert caplog.text.count("cannot be used") == 1


async def test_all_that_wait_for_a_file_that_another_program_holds_are_told_in_the_time_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.5)
    async with sqlite(tmp_path) as store:
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            all_begun = (store.begin(conversation(str(number)), "t", b"{}", []) for number in range(10))
            refused = await asyncio.gather(*all_begun, return_exceptions=True)
            assert all(isinstance(each, StoreError) for each in refused)
            assert time.monotonic() - started < 2.5
            other.execute("ROLLBACK")
        await store.begin(conversation(), "t", b"{}", [])


@pytest.mark.parametrize("replaced", [False, True])
async def test_nothing_is_said_to_be_kept_in_a_file_that_is_gone(replaced: bool, tmp_path: Path) -> None:  # noqa: FBT001  # the runner's
    async with sqlite(tmp_path) as store:
        await store.begin(conversation(), "t1", b"{}", [])
        (tmp_path / "c.db").rename(tmp_path / "elsewhere.db")
        if replaced:
            (tmp_path / "c.db").write_bytes(b"")
        with pytest.raises(StoreError):
            await store.begin(conversation(), "t2", b"{}", [])
        (tmp_path / "elsewhere.db").rename(tmp_path / "c.db")
        await store.begin(conversation(), "t2", b"{}", [])


async def test_what_is_deleted_stands_nowhere_in_the_folder_any_more(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        await store.begin(conversation(), "t1", b'"what was asked"', [])
        await store.end("c", TurnEnd("t1", "completed", b'"what was said"'), b'"what it was"')
        await store.delete("c")
        assert b"what" not in b"".join(written_in(tmp_path))


def written_in(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


async def test_a_file_has_one_server_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "c.db")
    async with sqlite(tmp_path):
        with pytest.raises(StoreError, match="another server uses it"):
            await store_for(f"sqlite:{tmp_path / 'link.db'}").open()
    assert folder_beside(f"sqlite:{tmp_path / 'link.db'}") == tmp_path / "c.db.files"


@pytest.mark.parametrize("name", [":memory:", "file:c.db?mode=memory", "a b%20?.db", "new/c.db"])
async def test_a_path_is_a_path_wherever_an_agent_goes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for turns in (1, 2):
        store = store_for(f"sqlite:{name}")
        await store.open()
        await store.begin(conversation(), str(turns), b"{}", [])
        assert len(await store.turns("c", 10, None)) == turns
        await store.close()
    assert (tmp_path / name).is_file()
    folder = folder_beside(f"sqlite:{name}")
    monkeypatch.chdir("/")
    assert folder == tmp_path / f"{name}.files"


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Store]:
    store = SqliteStore(folder / "c.db")
    await store.open()
    try:
        yield store
    finally:
        await store.close()
