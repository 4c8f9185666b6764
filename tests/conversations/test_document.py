"""Every program and command of ``docs/conversations.md``: served as they stand, stopped or killed, and gone on with."""

import asyncio
import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import connect

from tests.conversations.keeping import history
from tests.server_process import ROOT, ServerProcess, server_process
from tests.support import PATIENCE, Peer

DOCUMENT = (ROOT / "docs" / "conversations.md").read_text()
AGENTS = DOCUMENT.partition("\n## What an agent does for it\n")[2].partition("\n## ")[0]
NOTEBOOK, COUNTER, FUNCTION = re.findall(r"```python\n(.*?)```", AGENTS, re.DOTALL)
COMMAND, *_ = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)


class Case(NamedTuple):
    """A program, and what it says to "one", and to "two" after that and a restart."""

    program: str
    attribute: str
    memory: str
    first: str
    then: str


CASES = {
    "notebook": Case(NOTEBOOK, "Notebook", "restored", "That was page 1.", "That was page 2."),
    "counter": Case(COUNTER, "agent", "restored", "1 words so far.", "2 words so far."),
    "function": Case(FUNCTION, "agent", "none", "ONE", "TWO"),
}


@contextlib.asynccontextmanager
async def running(folder: Path, attribute: str) -> AsyncIterator[tuple[ServerProcess, Peer]]:
    """Serve what is in a folder, by the document's own flags; give a client of it."""
    _, program, *flags = shlex.split(COMMAND)
    assert program == "websocket_server.py"
    async with (
        server_process(*flags, "--env-file", "none", agent=f"documented.py:{attribute}", cwd=folder) as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as socket,
    ):
        yield server, Peer(socket)


@pytest.mark.parametrize("end", ["stopped", "killed"])
@pytest.mark.parametrize("name", CASES)
async def test_an_agent_goes_on_with_what_it_remembers(name: str, end: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "documented.py").write_text(case.program)
    async with running(tmp_path, case.attribute) as (server, peer):
        opened = await peer.login()
        assert await peer.ask("one") == case.first
        if end == "stopped":
            assert (await server.stop())[0] == 0
    async with running(tmp_path, case.attribute) as (server, peer):
        answer = await peer.login(conversation_id=opened["conversation_id"])
        assert (answer["memory"], await peer.ask("two")) == (case.memory, case.then)
        assert [turn["response"] for turn in await history(peer)] == [case.first, case.then]
        assert "Traceback" not in server.log
    if name == "counter":
        assert (tmp_path / "words.log").read_text() == "one\ntwo\n"


async def test_another_agent_behind_the_name_is_told_and_the_conversation_goes_on(tmp_path: Path) -> None:
    (tmp_path / "documented.py").write_text(NOTEBOOK)
    async with running(tmp_path, "Notebook") as (_, peer):
        opened = await peer.login()
        await peer.ask("one")
    (tmp_path / "documented.py").write_text(COUNTER)
    async with running(tmp_path, "agent") as (server, peer):
        answer = await peer.login(conversation_id=opened["conversation_id"])
        assert (answer["memory"], await peer.ask("two words")) == ("none", "2 words so far.")
        assert "cannot take up what it remembered" in server.log


async def test_a_copy_is_made_while_the_server_runs(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("needs sqlite3")
    (command,) = re.findall(r"`(sqlite3 .*?)`", DOCUMENT)
    (tmp_path / "documented.py").write_text(NOTEBOOK)
    async with running(tmp_path, "Notebook") as (_, peer):
        opened: dict[str, Any] = await peer.login()
        await peer.ask("one")
        copied = await asyncio.to_thread(
            subprocess.run, shlex.split(command), cwd=tmp_path, timeout=PATIENCE, check=False
        )
        assert copied.returncode == 0
        await peer.ask("two")
    other = tmp_path / "other"
    other.mkdir()
    for name, place in {"documented.py": "documented.py", "copy.db": "conversations.db"}.items():
        (tmp_path / name).rename(other / place)
    async with running(other, "Notebook") as (_, peer):
        await peer.login(conversation_id=opened["conversation_id"])
        assert await peer.ask("again") == "That was page 2."
