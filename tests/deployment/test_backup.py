"""Conversations are backed up while they go on, and brought back, by the commands of ``docs/deployment.md``."""

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.content.uploading import FEATURES, upload
from tests.conversations.keeping import history
from tests.deployment.proxies import DOCUMENT, blocks
from tests.server_process import ROOT, ServerProcess, server_process
from tests.support import PATIENCE, Peer

AGENT = f"{ROOT / 'tests' / 'conversations' / 'keeping.py'}:Rememberer"
_, BACKUP, RESTORE = blocks("sh")


@contextlib.asynccontextmanager
async def running(folder: Path, **login: Any) -> AsyncIterator[tuple[ServerProcess, Peer, dict[str, Any]]]:
    async with (
        server_process("--store", f"sqlite:{folder / 'conversations.db'}", "--env-file", "none", agent=AGENT) as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as socket,
    ):
        peer = Peer(socket)
        yield server, peer, await peer.login(features=FEATURES, **login)


async def shell(commands: str, folder: Path, backups: Path) -> None:
    """Run the document's commands; services are not ours to stop."""
    commands = re.sub("^systemctl .*\n", "", commands, flags=re.MULTILINE)
    for old, new in {"/var/lib/agent-server": str(folder), "/var/backups": str(backups)}.items():
        assert old in commands, old
        commands = commands.replace(old, new)
    await done("sh", "-euc", commands)


async def done(*command: str, cwd: Path | None = None) -> None:
    finished = await asyncio.to_thread(
        subprocess.run, command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert finished.returncode == 0, finished.stderr


async def test_a_backup_of_a_running_server_is_all_that_was_said_until_then(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("needs sqlite3")
    folder, backups = tmp_path / "state", tmp_path / "backups"
    backups.mkdir()
    async with running(folder) as (server, peer, opened):
        await peer.request("one", attachments=[await upload(peer, b"abc")])
        await peer.until("agent_response")
        await shell(BACKUP, folder, backups)
        await peer.ask("two")
        await server.stop()
    await shell(RESTORE, folder, backups)
    async with running(folder, conversation_id=opened["conversation_id"]) as (server, peer, answer):
        assert answer["memory"] == "restored"
        (turn,) = await history(peer)
        assert (turn["message"], turn["status"]) == ("one", "completed")
        await peer.request("three", attachments=[turn["attachments"][0]["file_id"]])
        await peer.until("agent_response")
        assert await peer.ask("recall") == "one three"


async def test_python_alone_makes_the_copy_too(tmp_path: Path) -> None:
    (program,) = re.findall(r"`python3 -c '(.*?)'`", DOCUMENT)
    async with running(tmp_path) as (_, peer, opened):
        await peer.ask("one")
        await done(sys.executable, "-c", program, cwd=tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "other" / "conversations.db")
    async with running(tmp_path / "other", conversation_id=opened["conversation_id"]) as (_, peer, answer):
        assert (answer["memory"], await peer.ask("recall")) == ("restored", "one")
