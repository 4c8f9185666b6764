"""A conversation outlives its session, belongs to its user, and never loses in silence what was said to be done."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, InputRequired, ToolCall, ToolResult
from tests.content.uploading import FEATURES, get, upload
from tests.conversations.keeping import Rememberer, entered, history, keeping, question
from tests.support import Peer, Scripted, connected, eventually, serving
from tests.test_resume import drop


async def test_without_a_store_everything_is_as_it_was() -> None:
    async with serving() as server, connected(server) as peer:
        assert set(await peer.login(resumable=True)) == {"session_id", "status", "resumable", "resume_token"}
        assert await question(peer, "list_conversations") == ("conversations", {"conversations": []})
        event, error = await question(peer, "get_conversation", request_id="r")
        assert (event, error["code"], error["request_id"]) == ("error", "conversation_not_found", "r")
        assert "seq" not in error
        async with connected(server) as other:
            assert "memory" not in await other.login(conversation_id="anything")


async def test_a_conversation_goes_on_after_logout_and_after_the_process(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server, entered(server) as (peer, opened):
        assert await peer.ask("one") == "ONE"
        await peer.send("logout")
        await peer.expect("logout_response")
        continued = await peer.login(conversation_id=opened["conversation_id"])
        assert (continued["conversation_id"], continued["memory"]) == (opened["conversation_id"], "restored")
        assert continued["session_id"] != opened["session_id"]
        assert await peer.ask("recall") == "one"
        assert await peer.ask("two") == "TWO"
    async with keeping(tmp_path) as server, entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
        assert await peer.ask("recall") == "one two"
        assert [turn["message"] for turn in await history(peer)] == ["one", "recall", "two", "recall"]


async def test_a_turn_is_kept_whole_and_in_order(tmp_path: Path) -> None:
    async def work(_: str, turn: Turn) -> str:
        await turn.emit(AgentReasoning(reasoning="I "))
        await turn.emit(AgentReasoning(reasoning="think"))
        await turn.emit(AgentOutput(output="Let "))
        await turn.emit(AgentOutput(output="me see"))
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"at": "it"}, tool_call_id="c"))
        await turn.emit(ToolResult(tool_output={"seen": 1}, tool_call_id="c"))
        await turn.emit(AgentData(name="chart", data=1, id="x"))
        await turn.emit(AgentOutput(output="So"))
        await turn.emit(AgentData(name="chart", data=2, id="x"))
        await turn.emit(AgentData(name="now", data=3, transient=True))
        await turn.send_file(b"abc", name="a.txt")
        answer = await turn.ask(InputRequired(prompt="Sure?"))
        return f"done {answer}"

    async with keeping(tmp_path, lambda: Scripted(work=work)) as server, entered(server) as (peer, _):
        file_id = await upload(peer, b"abc", name="given.txt")
        await peer.request("work hard", attachments=[file_id])
        _, asked = (await peer.until("input_required"))[-1]
        await peer.send("input_response", task_id=asked["task_id"], input_id=asked["input_id"], response="yes")
        await peer.expect("agent_response")
        (turn,) = await history(peer)
        assert (turn["message"], turn["status"], turn["response"]) == ("work hard", "completed", "done yes")
        assert [file["name"] for file in turn["attachments"]] == ["given.txt"]
        assert turn["started_at"] <= turn["ended_at"]
        assert turn["started_at"].endswith("Z")
        file = turn["events"].pop(6)
        assert turn["events"] == [
            {"kind": "reasoning", "reasoning": "I think"},
            {"kind": "output", "output": "Let me see"},
            {"kind": "tool_call", "tool_name": "look", "tool_kwargs": {"at": "it"}, "tool_call_id": "c"},
            {"kind": "tool_result", "tool_name": "look", "tool_output": {"seen": 1}, "tool_call_id": "c"},
            {"kind": "data", "name": "chart", "data": 2, "id": "x"},
            {"kind": "output", "output": "So"},
            {
                "kind": "question",
                "question": {"prompt": "Sure?", "kind": "text", "input_id": asked["input_id"]},
                "response": "yes",
            },
        ]
        assert (file["kind"], file["name"]) == ("file", "a.txt")


async def test_each_end_is_kept_as_it_was(tmp_path: Path) -> None:
    async def fail(_: str, __: Turn) -> str:
        raise ValueError("no")

    agent = Scripted(fail=fail)
    async with keeping(tmp_path, lambda: agent) as server, entered(server) as (peer, _):
        await peer.request("fail")
        error = await peer.expect("error")
        task_id = await peer.request("park")
        await agent.parked.wait()
        await peer.send("cancel_request", task_id=task_id)
        await peer.expect("task_cancelled")
        agent.parked.clear()
        await peer.request("park")
        await agent.parked.wait()
        failed, cancelled, running = await history(peer)
        assert failed["status"] == "failed"
        assert failed["error"] == {key: error[key] for key in ("message", "code", "error_id")}
        assert (cancelled["status"], "response" in cancelled) == ("cancelled", False)
        assert (running["status"], running["events"], "ended_at" in running) == ("running", [], False)


async def test_what_a_client_was_told_is_on_disk_before_it_was_told(tmp_path: Path) -> None:
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent) as server, entered(server) as (peer, _):
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database:
            query = "SELECT status FROM turns ORDER BY number"
            for number in range(20):
                await peer.request("park" if number == 0 else "hello")
                assert len(database.execute(query).fetchall()) == number + 1
                if number:
                    await peer.expect("agent_response")
                    assert database.execute(query).fetchall()[number] == ("completed",)


async def test_a_long_turn_says_where_it_was_cut(tmp_path: Path) -> None:
    async def talk(rest: str, turn: Turn) -> str:
        for _ in range(int(rest)):
            await turn.emit(AgentOutput(output="x" * 1000))
            await turn.emit(ToolCall(tool_name="look"))
        return "said"

    async with keeping(tmp_path, lambda: Scripted(talk=talk)) as server, entered(server) as (peer, _):
        for length in (500, 10, 10):
            await peer.request(f"talk {length}")
            await peer.until("agent_response")
        await peer.send("get_conversation")
        frame = await peer.socket.recv()
        assert len(frame) < 257 * 1024
        answer = json.loads(frame)["data"]
        assert [turn["message"] for turn in answer["turns"]] == ["talk 10", "talk 10"]
        (turn,) = await history(peer, before=answer["next"])
        assert turn["response"] == "said"
        assert turn["events"][-1]["kind"] == "cut"
        assert turn["events"][-1]["left_out"] > 200_000
        assert len(json.dumps(turn, separators=(",", ":"))) < 256 * 1024


async def test_two_users_never_meet(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server, entered(server, token="ada") as (ada, opened):
        await ada.ask("one")
        file_id = opened["conversation_id"]
        async with entered(server, token="ben") as (ben, _):
            assert (await question(ben, "list_conversations"))[1]["conversations"] == []
            for event, data in [
                ("get_conversation", {}),
                ("rename_conversation", {"title": "mine"}),
                ("delete_conversation", {}),
            ]:
                wrong = await question(ben, event, conversation_id=file_id, **data)
                none = await question(ben, event, conversation_id="0" * 32, **data)
                assert wrong == none
                assert wrong[1]["code"] == "conversation_not_found"
        for conversation_id in (file_id, "0" * 32):
            async with connected(server) as peer:
                await peer.send("login", token="ben", conversation_id=conversation_id)
                assert (await peer.expect("error"))["code"] == "conversation_not_found"
        listed = (await question(ada, "list_conversations"))[1]["conversations"]
        assert [(each["title"], each["turns"], each["running"]) for each in listed] == [("one", 1, False)]
    # Switched off, the names are nobody's, and what belongs to somebody stays closed.
    async with keeping(tmp_path) as server, connected(server) as peer:
        await peer.send("login", conversation_id=file_id)
        assert (await peer.expect("error"))["code"] == "conversation_not_found"


async def test_the_list_comes_in_pages_newest_first(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server:
        for number in range(5):
            async with entered(server, token="ada") as (peer, _):
                await peer.ask(f"number {number}")
        async with entered(server, token="ada") as (peer, _):
            titles: list[str] = []
            page: dict[str, Any] = {"next": None}
            while "next" in page:
                before = {} if page["next"] is None else {"before": page["next"]}
                _, page = await question(peer, "list_conversations", limit=2, request_id="r", **before)
                assert page["request_id"] == "r"
                titles += [each["title"] for each in page["conversations"]]
            assert titles == [f"number {number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("before", ["", "x", "9" * 40, "-", "1-", "\u0661-x"])
async def test_a_place_that_is_none_is_refused(before: str, tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server, entered(server, token="ada") as (peer, _):
        _, error = await question(peer, "get_conversation", before=before, request_id="r")
        assert (error["code"], error["request_id"]) == ("invalid_frame", "r")
        event, answer = await question(peer, "list_conversations", before=before)
        assert event == "conversations" or answer["code"] == "invalid_frame"


async def test_a_user_takes_the_living_session_up_without_its_token(tmp_path: Path) -> None:
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent, users=True) as server:
        async with entered(server, token="ada", resumable=True) as (old, opened):
            task_id = await old.request("park")
            await agent.parked.wait()
            async with entered(server, token="ada", conversation_id=opened["conversation_id"]) as (new, answer):
                assert await old.closed() == 4501
                assert (answer["resumed"], answer["lossless"]) == (True, False)
                assert answer["session_id"] == opened["session_id"]
                assert answer["resume_token"] != opened["resume_token"]
                assert [task["task_id"] for task in answer["tasks"]] == [task_id]
                agent.gate.set()
                assert (await new.expect("agent_response"))["response"] == "released"
        async with connected(server) as peer:
            await peer.send("login", token="ada", session_id=opened["session_id"], resume_token=opened["resume_token"])
            assert (await peer.expect("error"))["code"] == "session_not_found"


async def test_without_users_the_living_session_needs_its_token(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server, entered(server, resumable=True) as (peer, opened):
        await peer.ask("one")
        known = {"conversation_id": opened["conversation_id"]}
        for login in (known, {**known, "resume_token": "wrong"}):
            async with connected(server) as other:
                await other.send("login", **login)
                error = await other.expect("error")
                assert (error["code"], error["retry_after"]) == ("conversation_busy", 1)
        async with entered(server, **known, resume_token=opened["resume_token"]) as (_, answer):
            assert answer["session_id"] == opened["session_id"]


async def test_a_session_is_tried_before_its_conversation(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        async with entered(server, resumable=True) as (peer, opened):
            await peer.ask("one")
            await drop(peer)
        login = {name: opened[name] for name in ("session_id", "resume_token", "conversation_id")}
        async with entered(server, **login, last_seq=0, resumable=True) as (peer, answer):
            assert (answer["resumed"], answer["conversation_id"]) == (True, opened["conversation_id"])
            await peer.until("agent_response")
            await peer.send("logout")
            await peer.expect("logout_response")
        async with entered(server, **login, last_seq=0, resumable=True) as (peer, answer):
            assert "resumed" not in answer
            assert answer["memory"] == "restored"
            assert await peer.ask("recall") == "one"


async def test_deleting_really_deletes_and_ends_what_is_alive(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server, entered(server, token="ada") as (old, opened):
        file_id = await upload(old, b"abc")
        await old.request("hello", attachments=[file_id])
        await old.until("agent_response")
        (turn,) = await history(old)
        url = turn["attachments"][0]["url"]
        assert (await asyncio.to_thread(get, server, url))[0] == 200
        async with entered(server, token="ada") as (peer, _):
            event, _ = await question(peer, "delete_conversation", conversation_id=opened["conversation_id"])
            assert event == "conversation_deleted"
            assert await old.expect("logout_response")
            await old.send("agent_request", message="hello")
            assert (await old.expect("error"))["code"] == "not_logged_in"
            assert (await asyncio.to_thread(get, server, url))[0] == 404
            assert (await question(peer, "list_conversations"))[1]["conversations"] == []
            await old.send("login", token="ada", conversation_id=opened["conversation_id"])
            assert (await old.expect("error"))["code"] == "conversation_not_found"
    assert list_of(tmp_path / "c.db.files") == []


def list_of(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_files_outlive_the_process_with_their_conversation(tmp_path: Path) -> None:
    async def send(_: str, turn: Turn) -> str:
        return (await turn.send_file(b"agent's", name="a.json")).url

    async def read(_: str, turn: Turn) -> str:
        return " ".join([(await file.read()).decode() for file in turn.attachments])

    agent = {"send": send, "read": read}
    async with keeping(tmp_path, lambda: Scripted(**agent)) as server, entered(server) as (peer, opened):
        file_id = await upload(peer, b"client's")
        await upload(peer, b"never named", "other")
        await peer.request("read", attachments=[file_id])
        await peer.expect("agent_response")
        url = await peer.ask("send")
    assert len(list_of(tmp_path / "c.db.files")) == 4
    (tmp_path / "c.db.files" / ("0" * 32)).write_text("left over")
    async with keeping(tmp_path, lambda: Scripted(**agent)) as server:
        assert len(list_of(tmp_path / "c.db.files")) == 4
        assert (await asyncio.to_thread(get, server, url))[2] == b"agent's"
        async with entered(server, conversation_id=opened["conversation_id"], features=FEATURES) as (peer, _):
            sent = (await history(peer))[1]["events"][0]
            await peer.request("read", attachments=[file_id, sent["file_id"]])
            assert (await peer.expect("agent_response"))["response"] == "client's agent's"


async def test_a_title_is_the_first_message_until_it_is_renamed(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server, entered(server, token="ada") as (peer, opened):
        await peer.ask("What  is\nthe " + "x" * 100)
        conversation_id = opened["conversation_id"]
        (listed,) = (await question(peer, "list_conversations"))[1]["conversations"]
        assert listed["title"] == ("What is the " + "x" * 100)[:60]
        renamed = await question(peer, "rename_conversation", conversation_id=conversation_id, title=" A  title ")
        assert renamed == ("conversation_updated", {"conversation_id": conversation_id, "title": "A title"})
        await peer.ask("two")
        (listed,) = (await question(peer, "list_conversations"))[1]["conversations"]
        assert listed["title"] == "A title"
        for title in ("", "x" * 201, "  "):
            _, error = await question(peer, "rename_conversation", conversation_id=conversation_id, title=title)
            assert error["code"] == "invalid_frame"


async def test_there_is_an_end_to_a_users_conversations(tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True, max_conversations_per_user=2) as server:
        for number in range(2):
            async with entered(server, token="ada") as (peer, opened):
                await peer.ask(f"number {number}")
        async with connected(server) as peer:
            await peer.send("login", token="ada")
            error = await peer.expect("error")
            assert (error["code"], error["scope"]) == ("too_many_conversations", "user")
            assert "2 conversations" in error["message"]
            await peer.login(token="ada", conversation_id=opened["conversation_id"])
        async with entered(server, token="ben"), entered(server, token="ben"), connected(server) as peer:
            await peer.send("login", token="ben")
            assert (await peer.expect("error"))["code"] == "too_many_conversations"


async def test_conversations_that_are_old_go(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server, entered(server) as (peer, opened):
        await peer.ask("one")
    async with keeping(tmp_path, conversation_ttl=0.05) as server:
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as database:
            await eventually(lambda: not database.execute("SELECT * FROM conversations").fetchall())
        async with connected(server) as peer:
            await peer.send("login", conversation_id=opened["conversation_id"])
            assert (await peer.expect("error"))["code"] == "conversation_not_found"


# ---- What the agent remembers ----------------------------------------------------------------------------------------


async def test_an_agent_without_a_memory_is_gone_on_with_all_the_same(tmp_path: Path) -> None:
    async with keeping(tmp_path, Scripted) as server:
        async with entered(server) as (peer, opened):
            await peer.ask("one")
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, answer):
            assert answer["memory"] == "none"
            assert len(await history(peer)) == 1


async def test_only_a_completed_turn_is_remembered(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        async with entered(server) as (peer, opened):
            await peer.ask("one")
            await peer.request("fail")
            await peer.until("error")
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
            assert await peer.ask("recall") == "one"


async def raising(_: Rememberer) -> Any:
    raise ValueError("cannot be said")


async def hanging(_: Rememberer) -> Any:
    await asyncio.get_running_loop().create_future()


async def returning(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    "save",
    [
        raising,
        hanging,
        lambda _: returning("x" * 1_048_577),
        lambda _: returning(object()),
        lambda _: returning({"a": {1: {2: asyncio}}}),
    ],
    ids=["raises", "hangs", "too large", "no JSON", "deep"],
)
async def test_a_memory_that_cannot_be_kept_is_told_and_the_answer_comes(
    save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(tmp_path, save_timeout=0.05) as server:
        async with entered(server) as (peer, opened):
            await peer.ask("one")
            with monkeypatch.context() as patched:
                patched.setattr(Rememberer, "save", save)
                await peer.request("two")
                response = (await peer.until("agent_response"))[-1][1]
            assert (response["response"], response["unsaved"]) == ("TWO", True)
            assert "is not kept" in caplog.text
            assert [turn["status"] for turn in await history(peer)] == ["completed", "completed"]
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, answer):
            assert answer["memory"] == "restored"
            assert await peer.ask("recall") == "one"


async def test_a_memory_that_does_not_come_is_waited_for_once_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Rememberer, "save", hanging)
    async with keeping(tmp_path, save_timeout=0.2) as server, entered(server) as (peer, _):
        started = asyncio.get_running_loop().time()
        for number in range(10):
            await peer.send("agent_request", message=f"n{number}")
        unsaved = 0
        while unsaved < 10:
            event, data = await peer.receive()
            unsaved += event == "agent_response" and data["unsaved"]
        assert asyncio.get_running_loop().time() - started < 1.5
        assert caplog.text.count("is not kept") < 5


async def test_a_memory_that_cannot_be_taken_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def load(_: Rememberer, memory: Any) -> None:
        raise ValueError(memory)

    async with keeping(tmp_path) as server:
        async with entered(server) as (peer, opened):
            await peer.ask("one")
        monkeypatch.setattr(Rememberer, "load", load)
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, answer):
            assert answer["memory"] == "none"
            assert "cannot take up what it remembered" in caplog.text
            assert await peer.ask("recall") == ""


# ---- A store that fails ----------------------------------------------------------------------------------------------


async def test_a_store_that_fails_refuses_requests_and_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsocket.conversations.sqlite.BUSY", 0.02)
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent) as server, entered(server, resumable=True) as (peer, _):
        await peer.request("park")
        await agent.parked.wait()
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await peer.send("agent_request", message="hello", request_id="r")
            error = await peer.expect("error")
            assert (error["code"], error["request_id"], error["retry_after"]) == ("store_unavailable", "r", 5)
            agent.gate.set()
            response = await peer.expect("agent_response")
            assert (response["response"], response["unsaved"]) == ("released", True)
            other.execute("ROLLBACK")
        await peer.request("hello", request_id="r")
        assert "unsaved" not in await peer.expect("agent_response")
        assert not server.manager.running


async def test_a_request_sent_again_while_it_is_kept_runs_once(tmp_path: Path) -> None:
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent) as server, entered(server, resumable=True) as (old, opened):
        await old.send("agent_request", message="hello", request_id="r")
        login = {name: opened[name] for name in ("session_id", "resume_token")}
        async with entered(server, **login, last_seq=0) as (new, _):
            await new.send("agent_request", message="hello", request_id="r")
            await new.until("agent_response")
            assert len(await history_of(new)) == 1
            assert agent.runs == ["hello"]


async def history_of(peer: Peer) -> list[dict[str, Any]]:
    await peer.send("get_conversation")
    frames = await peer.until("conversation")
    turns: list[dict[str, Any]] = frames[-1][1]["turns"]
    return turns


async def test_many_turns_at_once_are_all_kept(tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        async with entered(server) as (peer, opened):
            for number in range(16):
                await peer.send("agent_request", message=f"n{number}")
            done = 0
            while done < 16:
                done += (await peer.receive())[0] == "agent_response"
            assert len(await history(peer)) == 16
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
            assert sorted((await peer.ask("recall")).split()) == sorted(f"n{number}" for number in range(16))


async def test_a_session_that_ends_in_the_midst_of_it_all_keeps_how(tmp_path: Path) -> None:
    agent = Scripted()
    async with keeping(tmp_path, lambda: agent) as server:
        async with entered(server) as (peer, opened):
            await peer.request("park")
            await agent.parked.wait()
            await peer.send("agent_request", message="hello")
            await peer.send("logout")
            await peer.until("logout_response")
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
            turns = await history(peer)
            assert turns[0]["status"] == "cancelled"
            assert "running" not in {turn["status"] for turn in turns}
