"""Every agent of ``docs/content.md``, served as it stands, to real clients."""

import asyncio
import base64
import contextlib
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE, Peer, load_agent, logged_in, serving
from tests.wire import handshake, wired

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "content.md").read_text()
ALL_OF_IT, GENERATOR, TOOL, READER, CLIENT = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)

ALL = ["reasoning", "progress", "data", "files"]


@contextlib.asynccontextmanager
async def asked(folder: Path, program: str, features: list[str] | None) -> AsyncIterator[tuple[int, Peer]]:
    """Serve a program of the document's to one client; give its port and the client."""
    (folder / "content_agent.py").write_text(program)
    login: dict[str, Any] = {} if features is None else {"features": features}
    async with (
        serving(load_agent(f"{folder / 'content_agent.py'}:agent")) as server,
        logged_in(server, **login) as peer,
    ):
        yield server.port, peer


async def frames_of(peer: Peer, message: str, **data: Any) -> list[tuple[str, dict[str, Any]]]:
    task_id = await peer.request(message, **data)
    frames = await peer.until("agent_response", "error")
    assert all(data.pop("task_id") == task_id for _, data in frames)
    return frames


async def got(port: int, path: str) -> tuple[int, bytes]:
    """Get a file as anybody may who has its path."""
    async with wired(port) as wire:
        wire.send(handshake(path=path, upgrade=False))
        head, _, body = (await wire.reader.read()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_an_agent_says_all_of_it(tmp_path: Path) -> None:
    async with asked(tmp_path, ALL_OF_IT, ALL) as (port, peer):
        frames = await frames_of(peer, "one three")
        kinds = ["agent_reasoning", "tool_call", *["tool_progress", "agent_data"] * 2, "tool_result", "agent_file"]
        assert [event for event, _ in frames] == [*kinds, "agent_response"]
        assert frames[0][1] == {"reasoning": "It is about words, so I count them."}
        assert frames[4][1] == {"tool_call_id": "1", "progress": 2, "total": 2, "message": "three"}
        assert frames[5][1] == {"name": "lengths", "data": {"one": 3, "three": 5}, "id": "lengths"}
        assert frames[-1][1] == {"response": "2 words.", "result": {"words": 2}}
        file = frames[-2][1]
        assert (file["name"], file["media_type"], file["tool_call_id"]) == ("lengths.csv", "text/csv", "1")
        assert await got(port, file["url"]) == (200, b"word,length\none,3\nthree,5\n")


async def test_a_client_that_names_nothing_sees_what_it_always_saw(tmp_path: Path) -> None:
    async with asked(tmp_path, ALL_OF_IT, None) as (_, peer):
        frames = await frames_of(peer, "one three")
        assert [event for event, _ in frames] == ["tool_call", "tool_result", "agent_response"]
        assert frames[-1][1]["result"] == {"words": 2}


async def test_a_generator_yields_events_beside_its_text(tmp_path: Path) -> None:
    async with asked(tmp_path, GENERATOR, ALL) as (port, peer):
        frames = await frames_of(peer, "ab")
        assert [event for event, _ in frames] == [
            "agent_reasoning",
            *["tool_progress", "agent_output"] * 2,
            "agent_file",
            "agent_response",
        ]
        assert frames[-1][1]["response"] == "AB"
        assert await got(port, frames[-2][1]["url"]) == (200, b"ab")


async def test_a_plain_generator_may_do_the_same(tmp_path: Path) -> None:
    program = GENERATOR.replace("async def", "def").replace("await turn.send_file(", "turn.send_file_blocking(")
    assert program != GENERATOR
    async with asked(tmp_path, program, ALL) as (_, peer):
        frames = await frames_of(peer, "ab")
        assert "agent_file" in dict(frames)
        assert frames[-1][1]["response"] == "AB"


async def test_a_tool_finds_the_turn_and_speaks_from_its_thread(tmp_path: Path) -> None:
    async with asked(tmp_path, TOOL, ALL) as (port, peer):
        frames = await frames_of(peer, "1 20 3")
        assert [event for event, _ in frames] == ["tool_progress", "agent_file", "tool_progress", "agent_response"]
        assert frames[-1][1]["response"] == "I have drawn 3 points."
        status, svg = await got(port, frames[1][1]["url"])
        assert (status, frames[1][1]["media_type"]) == (200, "image/svg+xml")
        assert b'points="0,99 10,80 20,97"' in svg


@pytest.mark.parametrize("features", [ALL, None], ids=["all features", "none"])
async def test_an_agent_reads_what_is_attached(tmp_path: Path, features: list[str] | None) -> None:
    async with asked(tmp_path, READER, features) as (_, peer):
        assert await peer.ask("hello") == "Nothing is attached."
        await peer.send("upload_start", upload_id="1", name="../a.txt", media_type="text/plain", size=2)
        await peer.expect("upload_progress")
        await peer.send("upload_chunk", upload_id="1", offset=0, data=base64.b64encode(b"hi").decode())
        file_id = (await peer.expect("upload_complete"))["file_id"]
        frames = await frames_of(peer, "hello", attachments=[file_id])
        assert frames[-1][1]["response"] == "a.txt (text/plain, 2 bytes): b'hi'"


async def test_a_client_attaches_a_file_and_fetches_what_the_agent_sends(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("month,revenue\nJan,10\nFeb,30\n")
    async with serving(load_agent("test:create_agent")) as server:
        program = CLIENT.replace("WebSocketClient()", f'WebSocketClient("ws://127.0.0.1:{server.port}")')
        assert program != CLIENT
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(2 * PATIENCE):
            printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    said = printed.decode()
    assert said.startswith("(thinks: This needs read_attachment")
    assert "sales-chart.png" in said
    assert (tmp_path / "sales-chart.png").read_bytes().startswith(b"\x89PNG")
    assert said.endswith("revenue: 2 numbers, min 10, mean 20, max 30\n")
