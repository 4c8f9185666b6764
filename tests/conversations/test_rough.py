"""Agents, files and moments that are none of the usual: what was promised holds all the same."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import AgentError, Turn
from agentsocket.conversations.sqlite import SqliteStore
from agentsocket.protocol.events import AgentResponse
from tests.content.uploading import get, upload
from tests.conversations.keeping import Rememberer, entered, history, keeping, question
from tests.support import Peer, Scripted, connected, eventually

# ---- Agents ----------------------------------------------------------------------------------------------------------


def raising(*_: object) -> Any:
    raise ValueError("no")


class Unasked:
    """Raises as soon as it is looked at."""

    def __get__(self, *_: object) -> Any:
        raise ValueError("no")


async def broken_generator(_: object) -> Any:
    return (raising() for _ in "a")


@pytest.mark.parametrize(
    "save", [raising, Unasked(), broken_generator], ids=["raises when called", "raises when looked at", "half JSON"]
)
async def test_however_saving_fails_the_turn_itself_is_kept(
    save: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Rememberer, "save", save)
    async with keeping(tmp_path) as server, entered(server) as (peer, _):
        await peer.request("one")
        assert (await peer.until("agent_response"))[-1][1]["unsaved"]
        assert "is not kept" in caplog.text
        assert [(turn["status"], turn["response"]) for turn in await history(peer)] == [("completed", "ONE")]


@pytest.mark.parametrize("load", [raising, Unasked(), None], ids=["raises when called", "raises when looked at", "-"])
async def test_however_taking_a_memory_up_fails_the_conversation_goes_on(
    load: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(tmp_path) as server:
        async with entered(server) as (peer, opened):
            await peer.ask("one")
        if load is None:
            with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database, database:
                database.execute("UPDATE memories SET memory = x'ff'")
        else:
            monkeypatch.setattr(Rememberer, "load", load)
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, answer):
            assert answer["memory"] == "none"
            assert await peer.ask("recall") == ""


class Loud:
    """Says more than a turn may have."""

    async def run(self, message: str, _: Turn) -> str | AgentResponse:
        if message == "fail":
            raise AgentError("\n" * 400_000)
        if message == "result":
            return AgentResponse(response="short", result=["r" * 1000] * 400, usage={"tokens": 1})
        return "\n" * 400_000


@pytest.mark.parametrize(
    ("message", "kept"),
    [("m" * 255_000, "response"), ("fail", "error"), ("result", "response"), ("short", "response")],
    ids=["message", "error", "result", "response"],
)
async def test_no_turn_is_larger_than_it_may_be_and_it_says_what_is_missing(
    message: str, kept: str, tmp_path: Path
) -> None:
    async with keeping(tmp_path, Loud) as server, entered(server) as (peer, _):
        await peer.request(message)
        await peer.until("agent_response", "error")
        await peer.send("get_conversation")
        frame = await peer.socket.recv()
        assert len(frame) < 257 * 1024
        (turn,) = json.loads(frame)["data"]["turns"]
        assert turn[kept]
        assert message.startswith(turn["message"])
        assert "result" not in turn
        assert turn.get("usage") == ({"tokens": 1} if message == "result" else None)
        assert turn["events"][-1]["kind"] == "cut"
        assert turn["events"][-1]["left_out"] > 100_000


# ---- Moments ---------------------------------------------------------------------------------------------------------


async def test_a_request_that_comes_as_its_conversation_is_deleted_brings_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    begin = SqliteStore.begin

    async def slow(*args: Any) -> None:
        begun.set()
        await gate.wait()
        await begin(*args)

    async with keeping(tmp_path) as server, connected(server) as peer, connected(server) as newer:
        opened = await peer.login(resumable=True)
        await peer.ask("one")
        monkeypatch.setattr(SqliteStore, "begin", slow)
        await peer.send("agent_request", message="two")
        await begun.wait()
        token = {"session_id": opened["session_id"], "resume_token": opened["resume_token"]}
        await newer.login(**token, last_seq=4)
        await newer.send("agent_request", message="three", request_id="r")  # waits for the one before
        await newer.send("heartbeat")
        async with entered(server) as (other, _):
            about = {"conversation_id": opened["conversation_id"]}
            await other.send("delete_conversation", **about)
            await eventually(lambda: opened["session_id"] not in server.manager.sessions)
            gate.set()
            await other.expect("conversation_deleted")
            refused = (await newer.until("error"))[-1][1]
            assert (refused["code"], refused["request_id"]) == ("not_logged_in", "r")
            assert (await question(other, "get_conversation", **about))[1]["code"] == "conversation_not_found"


async def test_who_takes_a_session_up_hears_nothing_of_a_request_that_is_not_kept_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.3)
    async with keeping(tmp_path) as server, connected(server) as peer, connected(server) as newer:
        opened = await peer.login(resumable=True)
        with held(tmp_path):
            await peer.send("agent_request", message="one")
            (session,) = server.manager.sessions.values()
            await eventually(lambda: bool(session.tasks))
            answer = await newer.login(session_id=opened["session_id"], resume_token=opened["resume_token"])
            assert answer["tasks"] == []
            await eventually(lambda: not session.tasks)
        assert await newer.ask("two") == "TWO"


async def test_a_turn_whose_end_could_not_be_kept_does_not_seem_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.02)
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent) as server, entered(server) as (peer, _):
        await peer.request("park")
        await agent.parked.wait()
        assert [turn["status"] for turn in await history(peer)] == ["running"]
        with held(tmp_path):
            agent.gate.set()
            assert (await peer.expect("agent_response"))["unsaved"]
        assert [turn["status"] for turn in await history(peer)] == ["interrupted"]


async def test_a_title_given_before_the_first_turn_is_stored_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed, gate = asyncio.Event(), asyncio.Event()
    rename = SqliteStore.rename

    async def slow(*args: Any) -> None:
        await rename(*args)
        renamed.set()
        await gate.wait()

    monkeypatch.setattr(SqliteStore, "rename", slow)
    async with (
        keeping(tmp_path, users=True) as server,
        entered(server, token="ada") as (peer, opened),
        entered(server, token="ada") as (other, _),
    ):
        await other.send("rename_conversation", conversation_id=opened["conversation_id"], title="mine")
        await renamed.wait()
        await peer.ask("one")
        gate.set()
        await other.expect("conversation_updated")
        assert await titles(peer) == ["mine", "mine"]


async def test_a_first_message_without_words_leaves_the_title_to_the_next(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server, entered(server, token="ada") as (peer, _):
        await peer.ask(" \n ")
        assert await titles(peer) == ["", ""]
        await peer.ask("two words")
        await peer.ask("three")
        assert await titles(peer) == ["two words", "two words"]


async def titles(peer: Peer) -> list[str]:
    (card,) = (await question(peer, "list_conversations"))[1]["conversations"]
    return [card["title"], (await question(peer, "get_conversation"))[1]["title"]]


async def test_however_many_are_too_old_they_go_at_once_but_not_what_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.session.conversations.AT_ONCE", 3)
    async with keeping(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database:
        with database:
            rows = [(f"old{number}", "agent", "old") for number in range(20)]
            database.executemany("INSERT INTO conversations VALUES (?, NULL, ?, ?, 1, 1, 1)", rows)
        async with keeping(tmp_path, conversation_ttl=1000) as server, entered(server) as (peer, _):
            await peer.ask("one")
            query = "SELECT title FROM conversations"
            await eventually(lambda: database.execute(query).fetchall() == [("one",)])


# ---- Files -----------------------------------------------------------------------------------------------------------


async def test_what_is_no_file_of_ours_is_left_alone_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "letters").mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    (folder / f"{'a' * 32}.txt").write_text("of a server that crashed")
    async with keeping(tmp_path, files_dir=folder):
        assert sorted(path.name for path in folder.iterdir()) == ["letters", "thesis.tex"]  # once


@pytest.mark.parametrize(
    "about",
    [
        b"[]",
        b'{"id":[],"name":"a","media_type":"text/plain","size":3}',
        b'{"id":"x","name":5,"media_type":"text/plain","size":3}',
        b'{"id":"x","name":"a.txt","media_type":"text/plain","size":1.5}',
        b'{"id":"x","name":"a.txt","media_type":"text/plain","size":99}',
        b'{"id":"x","name":"a.txt","media_type":"audio/x\\r\\nSet-Cookie: a=b","size":3}',
    ],
)
async def test_what_somebody_has_done_to_a_kept_file_harms_nobody(
    about: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(tmp_path) as server, entered(server) as (peer, opened):
        await peer.request("one", attachments=[await upload(peer, b"abc", name="a.txt")])
        await peer.until("agent_response")
        (turn,) = await history(peer)
        url = turn["attachments"][0]["url"]
    (beside,) = (tmp_path / "c.db.files").glob("*.about.json")  # once
    beside.write_bytes(about)
    async with keeping(tmp_path) as server:
        status, headers, _ = await asyncio.to_thread(get, server, url)
        assert status == (200 if b"Cookie" in about else 404)
        assert "set-cookie" not in headers
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
            assert await peer.ask("two") == "TWO"
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_file_of_a_request_that_could_not_be_kept_goes_with_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.02)
    async with keeping(tmp_path, users=True) as server:
        async with entered(server, token="ada") as (peer, _):
            file_id = await upload(peer, b"abc")
            with held(tmp_path):
                await peer.send("agent_request", message="one", attachments=[file_id])
                assert (await peer.expect("error"))["code"] == "store_unavailable"
        await eventually(lambda: not server.manager.sessions)
        await eventually(lambda: not list((tmp_path / "c.db.files").iterdir()))
        await eventually(lambda: not server.manager.files._sizes)


async def test_an_address_gets_the_room_of_deleted_files_back(tmp_path: Path) -> None:
    async with keeping(tmp_path, max_files_size=5) as server:
        for _ in range(2):
            async with entered(server) as (peer, opened):
                server.manager.sessions[opened["session_id"]].address_share = "203.0.113.1"
                await peer.request("one", attachments=[await upload(peer, b"abc")])
                await peer.until("agent_response")
            async with entered(server) as (peer, _):
                await question(peer, "delete_conversation", conversation_id=opened["conversation_id"])


@contextlib.contextmanager
def held(folder: Path) -> Any:
    """Hold the database as another process would."""
    with contextlib.closing(sqlite3.connect(folder / "c.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
