"""The client and conversations: what it can ask about them, and how it goes on with one where its session is gone."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.client.client import SnapshotOutput, WebSocketClient
from agentsocket.client.errors import ConnectionLost, ServerError, TaskCancelled, TaskInterrupted
from agentsocket.protocol.events import AgentOutput
from agentsocket.protocol.frames import AgentFileFrame, AgentResponseFrame
from agentsocket.server import AgentServer
from tests.clients import collect, spawn
from tests.conversations.keeping import keeping
from tests.scripted_server import Line, Wire, listening
from tests.server_process import ROOT, server_process
from tests.support import PATIENCE, Scripted, eventually, serving

STORE = {"resumable": True, "resume_token": "secret", "last_seq": 0, "conversation_id": "c"}

FILE = {"file_id": "f", "name": "a.txt", "media_type": "text/plain", "size": 1, "url": "/files/f"}


def turn(task_id: str, status: str, **said: Any) -> dict[str, Any]:
    """Return a turn as a server has it."""
    known = {"message": "x", "started_at": "2026-11-28T12:00:00.000Z", "events": []}
    return {"task_id": task_id, "status": status, **known, **said}


async def another_session(line: Line, session_id: str = "s2", **said: Any) -> tuple[Wire, dict[str, Any]]:
    """Take the client's next connection, and go on with its conversation in a new session."""
    wire = await line.wires.get()
    login = await wire.expect("login")
    await wire.send(
        "login_response", **{**STORE, "session_id": session_id, "status": "success", "memory": "restored", **said}
    )
    return wire, login


async def tell(wire: Wire, *turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Answer a question about the conversation."""
    asked = await wire.expect("get_conversation")
    known = {"conversation_id": "c", "title": "x", "agent": "a", "request_id": asked["request_id"]}
    await wire.send("conversation", **known, turns=list(turns), **more)
    return asked


def client_of(server: AgentServer, **options: Any) -> WebSocketClient:
    return WebSocketClient(f"ws://127.0.0.1:{server.port}", **options)


@contextlib.asynccontextmanager
async def broken(message: str = "x") -> AsyncIterator[tuple[Line, WebSocketClient, list[Any], asyncio.Task[Any]]]:
    """Have a client whose connection breaks while a task of its conversation runs; give what it hears of that."""
    heard: list[Any] = []

    async def listen() -> None:
        async for event in client.stream(message):
            heard.append(event)  # noqa: PERF401  # one by one, to be looked at meanwhile

    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        hearing = spawn(listen())
        await wire.accept("t1", seq=1)
        await wire.send("agent_output", task_id="t1", output="on", seq=2)
        await eventually(lambda: bool(heard))
        wire.drop()
        yield line, client, heard, hearing
        hearing.cancel()
        await client.close()


# ---- Asking about conversations --------------------------------------------------------------------------------------


async def test_a_user_lists_reads_renames_and_deletes_conversations(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), keeping(tmp_path, users=True) as server:
        ids = []
        for number in range(3):
            async with client_of(server, token="ada") as client:
                assert await client.ask(f"question {number}") == f"QUESTION {number}"
                assert client.conversation_id is not None
                ids.append(client.conversation_id)
        async with client_of(server, token="ada") as client:
            page = await client.conversations(limit=2)
            assert [card.title for card in page.conversations] == ["question 2", "question 1"]
            rest = await client.conversations(before=page.next)
            assert ([card.title for card in rest.conversations], rest.next) == (["question 0"], None)
            assert [card.conversation_id async for card in client.all_conversations()] == ids[::-1]
            assert await client.rename_conversation(ids[0], " The  first ") == "The first"
            first = await client.history(ids[0])
            assert (first.title, [told.response for told in first.turns]) == ("The first", ["QUESTION 0"])
            assert first.turns[0].request_id  # by which a request is found that was not confirmed
            await client.delete_conversation(ids[1])
            assert [card.conversation_id async for card in client.all_conversations()] == [ids[2], ids[0]]
            with pytest.raises(ServerError, match="conversation_not_found"):
                await client.history(ids[1])
        async with client_of(server, token="bob") as other:
            assert (await other.conversations()).conversations == []
            with pytest.raises(ServerError, match="conversation_not_found"):
                await other.delete_conversation(ids[0])


async def test_a_conversation_goes_on_with_what_its_agent_remembers(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), keeping(tmp_path) as server:
        async with client_of(server) as client:
            await client.ask("one")
            known = client.conversation_id
            assert (known is None, client.memory) == (False, None)
        async with client_of(server, conversation_id=known) as client:
            assert (client.conversation_id, client.memory) == (known, "restored")
            assert await client.ask("recall") == "one"
            assert [told.message for told in (await client.history()).turns] == ["one", "recall"]
            newest = await client.history(limit=1)
            assert [told.message for told in newest.turns] == ["recall"]
            older = await client.history(before=newest.next)
            assert [told.message for told in older.turns] == ["one"]
            await client.logout()
            await client.login()
            assert client.conversation_id == known  # it is the client's
        async with client_of(server) as client:
            assert client.conversation_id != known
            await client.logout()
            await client.login(known)
            assert client.conversation_id == known


async def test_a_conversation_is_not_silently_begun_anew() -> None:
    async with asyncio.timeout(PATIENCE), serving(Scripted) as server:
        client = client_of(server, conversation_id="c")
        await client.connect()
        with pytest.raises(ServerError, match="This server keeps no conversations"):
            await client.login()
        assert client.session_id is None
        await client.close()
        async with client_of(server) as client:
            assert (await client.conversations()).conversations == []
            assert client.conversation_id is None


async def test_deleting_ones_own_conversation_ends_the_session(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), keeping(tmp_path) as server, client_of(server) as client:
        await client.ask("one")
        assert client.conversation_id is not None
        await client.delete_conversation(client.conversation_id)
        assert client.session_id is None
        await client.login()
        assert await client.ask("two") == "TWO"


async def test_what_a_store_cannot_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.02)
    async with asyncio.timeout(PATIENCE), keeping(tmp_path) as server, client_of(server) as client:
        answered = [event async for event in client.stream("one") if isinstance(event, AgentResponseFrame)]
        assert answered[0].unsaved is None
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ServerError) as refused:
                await client.ask("two")
            assert (refused.value.code, refused.value.retry_after) == ("store_unavailable", 5.0)
        assert await client.ask("three") == "THREE"


async def test_an_end_that_is_not_kept_says_so() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        for event, error in (("task_cancelled", TaskCancelled), ("error", ServerError)):
            asked = spawn(client.ask("x"))
            await wire.accept(event)
            await wire.send(event, task_id=event, message="", unsaved=True)
            with pytest.raises(error) as told:
                await asked
            assert told.value.unsaved  # type: ignore[attr-defined]  # either has it
        answers = spawn(collect(client))
        await wire.accept("t")
        await wire.send("agent_response", task_id="t", response="y", unsaved=True)
        assert (await answers)[0].unsaved
        await client.close()


async def test_what_was_asked_is_asked_again_after_a_break_and_once_done_is_done() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        asking = [spawn(client.conversations()), spawn(client.delete_conversation("d"))]
        first = [await wire.expect("list_conversations"), await wire.expect("delete_conversation")]
        wire.drop()
        wire, _ = await line.resumed()
        again = [await wire.expect("list_conversations"), await wire.expect("delete_conversation")]
        assert again == first
        await wire.send("conversations", conversations=[], request_id=again[0]["request_id"])
        gone = {"message": "There is no such conversation.", "code": "conversation_not_found"}
        await wire.send("error", **gone, request_id=again[1]["request_id"])
        assert (await asking[0]).conversations == []
        await asking[1]
        await client.close()


@pytest.mark.parametrize("asked", ["conversations", "history"])
async def test_a_question_about_conversations_has_an_end(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("link.ANSWER_WITHIN", "link.PROBE_WITHIN"):
        monkeypatch.setattr(f"agentsocket.client.{name}", 0.1)
    async with listening() as line:
        client = line.client()
        await line.log_in(client)
        with pytest.raises(ConnectionLost, match="has not answered"):
            await getattr(client, asked)()
        await client.close()


# ---- Where the session is gone ---------------------------------------------------------------------------------------


async def test_the_login_that_comes_back_names_session_and_conversation() -> None:
    async with broken() as (line, client, _, hearing):
        wire, login = await another_session(line)
        assert {name: login[name] for name in ("session_id", "resume_token", "last_seq", "conversation_id")} == {
            "session_id": "s",
            "resume_token": "secret",
            "last_seq": 2,
            "conversation_id": "c",
        }
        assert login["resumable"] is True
        await tell(wire, turn("t1", "completed", response="y"))
        await hearing
        assert (client.session_id, client.conversation_id, client.memory) == ("s2", "c", "restored")


async def test_an_answer_that_was_missed_is_delivered_once() -> None:
    async with broken() as (line, client, heard, hearing):
        wire, _ = await another_session(line)
        events = [{"kind": "output", "output": "on"}, {"kind": "file", **FILE}, {"kind": "output", "output": "e"}]
        await tell(wire, turn("t1", "completed", events=events, response="one", usage={"requests": 1}))
        await hearing
        text, file, answer = heard[1:]
        assert isinstance(text, SnapshotOutput)
        assert isinstance(file, AgentFileFrame)
        assert isinstance(answer, AgentResponseFrame)
        assert (text.output, file.name, answer.response, answer.usage) == ("one", "a.txt", "one", {"requests": 1})
        asked = spawn(client.ask("z"))
        await wire.accept("t2", seq=1)  # the numbers of another session
        await wire.send("agent_response", task_id="t2", response="zz", seq=2)
        assert await asked == "zz"


@pytest.mark.parametrize(
    ("status", "said", "error", "text"),
    [
        ("interrupted", {}, TaskInterrupted, "not run again by itself"),
        ("cancelled", {}, TaskCancelled, "cancelled"),
        ("failed", {"error": {"message": "Oh", "code": "agent_failed", "error_id": "e"}}, ServerError, "Oh"),
        ("none", {}, ConnectionLost, "forgot the task"),
    ],
)
async def test_how_a_task_ended_otherwise_is_told(status: str, said: Any, error: type[Exception], text: str) -> None:
    async with broken() as (line, client, heard, hearing):
        cancelling = spawn(client.cancel_request("t1"))
        wire, _ = await another_session(line)
        await tell(wire, *([] if status == "none" else [turn("t1", status, **said)]))
        with pytest.raises(error, match=text):
            await hearing
        assert len(heard) == 1
        await cancelling  # it is over, after all


async def test_a_cancel_that_the_other_session_knows_nothing_of_changes_nothing() -> None:
    async with broken() as (line, client, heard, hearing):
        wire, _ = await another_session(line)
        asked = await wire.expect("get_conversation")
        cancelling = spawn(client.cancel_request("t1"))
        await wire.expect("cancel_request")
        await wire.send("error", message="No such task.", code="unknown_task", task_id="t1")
        known = {"conversation_id": "c", "title": "x", "agent": "a", "request_id": asked["request_id"]}
        await wire.send("conversation", **known, turns=[turn("t1", "completed", response="y")])
        await asyncio.gather(hearing, cancelling)
        assert heard[-1].response == "y"


async def test_a_request_that_was_accepted_is_not_sent_again_and_one_that_was_not_is() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        asked = [spawn(client.ask("one")), spawn(client.ask("two"))]
        requests = [await wire.expect("agent_request") for _ in asked]
        wire.drop()
        wire, _ = await another_session(line)
        await tell(wire, turn("t1", "completed", request_id=requests[0]["request_id"], response="first"))
        assert await asked[0] == "first"
        assert await wire.accept("t2", seq=1) == requests[1]
        await wire.send("agent_response", task_id="t2", response="second", seq=2)
        assert await asked[1] == "second"
        await client.close()


async def test_older_pages_are_looked_through_as_far_as_they_matter() -> None:
    async with broken() as (line, client, _, hearing):
        waiting = spawn(client.ask("y"))
        wire, _ = await another_session(line)
        first = await tell(wire, turn("t9", "completed"), next="9")
        assert "conversation_id" not in first
        assert "before" not in first
        assert (await tell(wire, turn("t1", "interrupted"), next="1"))["before"] == "9"
        with pytest.raises(TaskInterrupted):
            await hearing
        await wire.accept("t10", seq=1)  # nothing older is asked for
        await wire.send("agent_response", task_id="t10", response="yy", seq=2)
        assert await waiting == "yy"


async def test_a_conversation_that_cannot_be_read_yet_is_read_later() -> None:
    async with broken() as (line, _, _, hearing):
        wire, _ = await another_session(line)
        asked = await wire.expect("get_conversation")
        failed = {"message": "Later.", "code": "store_unavailable", "retry_after": 0.1}
        await wire.send("error", **failed, request_id=asked["request_id"])
        wire = await line.wires.get()
        assert (await wire.expect("login"))["session_id"] == "s2"
        resumed = {"resumed": True, "lossless": True, "tasks": []}
        await wire.send("login_response", **STORE, session_id="s2", status="success", **resumed)
        await tell(wire, turn("t1", "completed", response="y"))
        await hearing


async def test_a_login_waits_for_a_conversation_that_is_busy() -> None:
    async with broken() as (line, _, _, hearing):
        for code in ("conversation_busy", "store_unavailable"):
            wire = await line.wires.get()
            await wire.expect("login")
            await wire.send("error", message="Later.", code=code, retry_after=0.01)
        wire, _ = await another_session(line)
        await tell(wire, turn("t1", "completed", response="y"))
        await hearing


async def test_a_conversation_of_which_nothing_was_kept_is_begun_anew() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        asked = spawn(client.ask("x"))
        await wire.expect("agent_request")
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("error", message="There is none.", code="conversation_not_found")
        wire, login = await another_session(line, conversation_id="c2", memory=None)
        assert not {"session_id", "conversation_id"} & set(login)
        await tell(wire)
        await wire.accept("t1", seq=1)
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert (await asked, client.conversation_id) == ("y", "c2")
        await client.close()


async def test_a_conversation_that_was_deleted_meanwhile_is_gone() -> None:
    async with broken() as (line, _, _, hearing):
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("error", message="There is no such conversation.", code="conversation_not_found")
        with pytest.raises(ConnectionLost, match="no such conversation"):
            await hearing


async def test_what_a_session_itself_has_forgotten_its_conversation_knows() -> None:
    async with broken() as (line, _, _, hearing):
        wire = await line.wires.get()
        await wire.expect("login")
        lossy = {**STORE, "session_id": "s", "resumed": True, "lossless": False, "last_seq": 9, "tasks": []}
        await wire.send("login_response", **lossy, status="success")
        await tell(wire, turn("t1", "completed", response="y"))
        await hearing


async def test_an_upload_begins_anew_in_another_session() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        sending = spawn(client.upload(b"hello"))
        start = await wire.expect("upload_start")
        await wire.send("upload_progress", upload_id=start["upload_id"], received=0)
        await wire.expect("upload_chunk")
        wire.drop()
        wire, _ = await another_session(line)
        assert await wire.expect("upload_start") == start
        await wire.send("upload_progress", upload_id=start["upload_id"], received=0)
        assert (await wire.expect("upload_chunk"))["offset"] == 0
        await wire.send("upload_complete", upload_id=start["upload_id"], file_id="f")
        assert (await sending).file_id == "f"
        await client.close()


async def test_who_asked_and_left_gets_nothing_asked_again() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire = await line.log_in(client, **STORE)
        asked = [spawn(client.ask("one")), spawn(client.ask("two"))]
        requests = [await wire.expect("agent_request") for _ in asked]
        wire.drop()
        for asking in asked:
            asking.cancel()
        await asyncio.wait(asked)
        wire, _ = await another_session(line)
        await tell(wire, turn("t1", "interrupted", request_id=requests[0]["request_id"]))
        assert await client_says_next(client, wire) == "three"
        await client.close()


async def client_says_next(client: WebSocketClient, wire: Wire) -> str:
    """Return the next request that the server gets, when the client asks "three"."""
    asked = spawn(client.ask("three"))
    request = await wire.accept("t3", seq=1)
    await wire.send("agent_response", task_id="t3", response="y", seq=2)
    await asked
    message: str = request["message"]
    return message


# ---- The real server, killed and started again -----------------------------------------------------------------------

AGENT = f"{ROOT / 'tests' / 'test_client_conversations.py'}:Slow"


class Slow:
    """Remembers what it was asked, and never answers "park"."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, message: str, turn: Turn) -> str:
        if message == "park":
            await turn.emit(AgentOutput(output="parked\n"))
            await asyncio.Event().wait()
        if message == "recall":
            return " ".join(self.heard)
        self.heard.append(message)
        return message.upper()

    async def save(self) -> list[str]:
        return self.heard

    async def load(self, memory: list[str]) -> None:
        self.heard = memory


async def test_a_conversation_goes_on_by_itself_when_the_server_is_killed_and_started_again(tmp_path: Path) -> None:
    store = ("--store", f"sqlite:{tmp_path / 'c.db'}")
    (tmp_path / "a.txt").write_text("a")
    back = asyncio.Event()
    async with asyncio.timeout(6 * PATIENCE):
        async with server_process(*store, agent=AGENT) as server:
            client = WebSocketClient(
                f"ws://127.0.0.1:{server.port}",
                resumable=True,
                backoff=lambda: [0.2] * 100,
                on_connection=lambda there: back.set() if there else None,
            )
            await client.connect()
            await client.login()
            file = await client.upload(tmp_path / "a.txt")
            async for _ in client.stream("one", attachments=[file]):
                pass
            known, started = client.conversation_id, asyncio.Event()

            async def park() -> None:
                async for _ in client.stream("park", on_start=lambda _: started.set()):
                    pass

            parked = spawn(park())
            await started.wait()
            server.process.kill()
            await server.process.wait()
        asked = spawn(client.ask("two"))
        async with server_process(*store, "--port", str(server.port), agent=AGENT):
            with pytest.raises(TaskInterrupted):
                await parked
            assert await asked == "TWO"
            assert back.is_set()
            assert (client.conversation_id, client.memory) == (known, "restored")
            async for event in client.stream("recall", attachments=[file]):
                assert isinstance(event, AgentResponseFrame)
                assert event.response == "one two"
            statuses = [told.status for told in (await client.history()).turns]
            assert statuses == ["completed", "interrupted", "completed", "completed"]
            await client.close()
