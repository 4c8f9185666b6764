"""The command goes on with conversations: ``--continue``, and the file that knows the last one."""

import json
import re
from pathlib import Path

import pytest

from agentsocket.client.last_conversation import LastConversation
from tests.conversations.keeping import keeping
from tests.scripted_server import listening
from tests.support import Scripted, serving
from tests.test_client_cli import command, outcome


async def test_the_last_conversation_is_gone_on_with(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    async with keeping(tmp_path) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        code, _, said = await outcome("--uri", uri, "--continue", XDG_STATE_HOME=state)
        assert (code, "No conversation at" in said) == (1, True)
        assert await outcome("--uri", uri, "one", XDG_STATE_HOME=state) == (0, "ONE\n", "")
        assert await outcome("--uri", uri, "--continue", "recall", XDG_STATE_HOME=state) == (0, "one\n", "")
        assert await outcome("recall", "--uri", uri, "--continue", XDG_STATE_HOME=state) == (0, "one\n", "")
        kept = tmp_path / "state" / "agentsocket" / "conversations.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        known = json.loads(kept.read_text())[uri]
        assert await outcome("--uri", uri, "recall", XDG_STATE_HOME=state) == (0, "\n", "")  # another one
        assert await outcome("--uri", uri, "--continue", known, "recall", XDG_STATE_HOME=state) == (0, "one\n", "")
        assert json.loads(kept.read_text()) == {uri: known}
        code, _, said = await outcome("--uri", uri, f"--continue={'0' * 32}", "recall", XDG_STATE_HOME=state)
        assert (code, said) == (1, "error: There is no such conversation. (conversation_not_found)\n")


async def test_a_pipe_goes_on_too_and_is_shown_what_was_said(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    async with keeping(tmp_path) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        typed = "one\n/history\n/rename The first\n/delete 1\n/conversations\n/delete 0123456789abcdef\nrecall\n"
        code, answers, said = await outcome("--uri", uri, typed=typed, XDG_STATE_HOME=state)
        assert (code, answers) == (0, "ab\nONE\nab\nONE\none\n")
        assert "> one" in said
        assert "It is called “The first” now." in said
        assert re.search("The id of this conversation:\n[0-9a-f]{32}\n", said)
        assert "nobody can be asked" in said
        code, answers, said = await outcome("--uri", uri, "--continue", typed="recall\n", XDG_STATE_HOME=state)
        assert (code, answers) == (0, "one\n")
        assert said.startswith("Going on with “The first”.\n> one\n  ONE\n> recall\n  one\n")


async def test_a_server_that_keeps_none_says_so(tmp_path: Path) -> None:
    async with serving(Scripted) as server:
        arguments = ("--uri", f"ws://127.0.0.1:{server.port}", "--continue", "0" * 32, "hello")
        code, _, said = await outcome(*arguments, XDG_STATE_HOME=str(tmp_path))
        assert (code, said) == (1, "error: This server keeps no conversations. (conversation_not_found)\n")


async def test_what_the_agent_does_not_remember_and_what_could_not_be_kept_is_told() -> None:
    async with listening() as line, command("--uri", line.uri, "--continue", "0" * 32, "hello") as process:
        wire = await line.wires.get()
        assert (await wire.expect("login"))["conversation_id"] == "0" * 32
        await wire.send("login_response", session_id="s", status="success", conversation_id="0" * 32, memory="none")
        await wire.accept("t")
        await wire.send("agent_response", task_id="t", response="y", unsaved=True)
        out, err = await process.communicate()
    told = "The agent does not remember this conversation.\nThe server could not keep this in the conversation.\n"
    assert (out, err.decode()) == (b"y\n", told)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ws://a": 1}', "\x00"])
def test_a_file_that_is_none_of_its_own_is_no_reason_to_fail(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep" / "c.json"
    path.parent.mkdir()
    path.write_text(text)
    last = LastConversation(path, "ws://user:secret@a/?token=secret")
    assert last.id is None
    last.note("c")
    assert "secret" not in path.read_text()
    assert LastConversation(path, "ws://user:secret@a/?token=secret").id == "c"
    assert LastConversation(path, "ws://b").id is None
    LastConversation(path, "ws://b").note("d")
    last.note(None)
    assert json.loads(path.read_text()) == {"ws://b": "d"}


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    last = LastConversation(tmp_path / "file" / "c.json", "ws://a")
    last.note("c")
    assert last.id == "c"


def test_a_hundred_addresses_are_remembered(tmp_path: Path) -> None:
    for number in range(102):
        LastConversation(tmp_path / "c.json", f"ws://a{number}").note("c")
    known = json.loads((tmp_path / "c.json").read_text())
    assert (len(known), "ws://a1" in known, "ws://a2" in known) == (100, False, True)
