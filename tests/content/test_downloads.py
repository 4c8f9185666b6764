"""A file of an agent's is got by its path and by nothing else, and harms nobody who looks at it."""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import AgentError, Turn
from agentsocket.server import AgentServer
from tests.content.uploading import FEATURES, files_in, get, read, upload
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving
from tests.wire import wired

LARGE = os.urandom(3_000_000)


async def send(rest: str, turn: Turn) -> str:
    """Send a file of this name and type."""
    name, _, media_type = rest.partition(" ")
    file = await turn.send_file(b"0123456789", name=name, media_type=media_type or None, tool_call_id="c")
    return file.url


async def sent(peer: Peer, message: str) -> dict[str, Any]:
    await peer.request(message)
    file = await peer.expect("agent_file")
    assert (await peer.expect("agent_response"))["response"] == file["url"]
    return file


async def test_a_file_is_got_by_its_path() -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        assert (file["name"], file["media_type"], file["size"], file["tool_call_id"]) == (
            "plot.png",
            "image/png",
            10,
            "c",
        )
        status, headers, body = await asyncio.to_thread(get, server, file["url"])
        assert (status, body) == (200, b"0123456789")
        assert headers["content-type"] == "image/png"
        assert headers["content-disposition"] == "inline; filename*=UTF-8''plot.png"
        status, headers, body = await asyncio.to_thread(get, server, file["url"], "HEAD")
        assert (status, headers["content-length"], body) == (200, "10", b"")


@pytest.mark.parametrize(
    "media_type", ["image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "video/mp4"]
)
async def test_pictures_and_sound_are_shown_in_place(media_type: str) -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, f"send a.bin {media_type}")
        _, headers, _ = await asyncio.to_thread(get, server, file["url"])
        assert headers["content-type"] == media_type
        assert headers["content-disposition"].startswith("inline")


@pytest.mark.parametrize(
    "media_type",
    ["text/html", "image/svg+xml", "application/pdf", "text/javascript", "application/xhtml+xml", "IMAGE/SVG+XML", "x"],
)
async def test_everything_else_is_unknown_bytes_to_be_saved(media_type: str) -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, f"send a.html {media_type}")
        _, headers, _ = await asyncio.to_thread(get, server, file["url"])
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment")


async def test_every_answer_forbids_what_could_be_made_of_it() -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, 'send \u202eé";\r\n.html')
        _, headers, _ = await asyncio.to_thread(get, server, file["url"])
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9%22%3B.html"


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=0-", 200, b"0123456789", None),
        ("bytes=-99", 200, b"0123456789", None),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("rows=1-2", 200, b"0123456789", None),
        ("bytes=1_0-", 200, b"0123456789", None),
        ("bytes=" + "9" * 5000 + "-", 200, b"0123456789", None),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_part_may_be_asked_for(asked: str, status: int, body: bytes, told: str | None) -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        got = await asyncio.to_thread(get, server, file["url"], Range=asked)
        assert (got[0], got[2], got[1].get("content-range")) == (status, body, told)
        got = await asyncio.to_thread(get, server, file["url"], Range=asked, If_Range='"another"')
        assert (got[0], got[2]) == (200, b"0123456789")


async def test_below_a_base_path_the_path_has_it_too() -> None:
    async with (
        serving(lambda: Scripted(send=send), base_path="/agent") as server,
        connected_below(server, "/agent") as peer,
    ):
        await peer.login(features=FEATURES)
        file = await sent(peer, "send plot.png")
        assert file["url"].startswith("/agent/files/")
        assert (await asyncio.to_thread(get, server, file["url"]))[0] == 200
        assert (await asyncio.to_thread(get, server, file["url"].removeprefix("/agent")))[0] == 404


@contextlib.asynccontextmanager
async def connected_below(server: AgentServer, path: str) -> AsyncIterator[Peer]:
    async with connect(f"ws://127.0.0.1:{server.port}{path}", compression=None) as socket:
        yield Peer(socket)


@pytest.mark.parametrize("path", ["/files/", "/files/..", "/files/" + "0" * 32, "/files", "/files/%2e%2e/x"])
async def test_any_other_path_leads_nowhere(path: str) -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        for each in (path, f"{file['url']}/x", file["url"][:-1], file["url"] + "0"):
            assert (await asyncio.to_thread(get, server, each))[0] == 404


async def test_a_path_ends_with_its_session_and_an_upload_has_none_to_be_guessed() -> None:
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        file_id = await upload(peer, b"abc")
        for guess in (file_id, file["file_id"]):
            assert (await asyncio.to_thread(get, server, f"/files/{guess}"))[0] == 404
        await peer.send("logout")
        await peer.expect("logout_response")
        assert (await asyncio.to_thread(get, server, file["url"]))[0] == 404


async def test_a_path_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        await asyncio.to_thread(get, server, file["url"])
        await asyncio.to_thread(get, server, file["url"], "POST")
        await asyncio.to_thread(get, server, file["url"] + "0")
        assert file["url"].rpartition("/")[2] not in caplog.text


async def send_large(_: str, turn: Turn) -> str:
    return (await turn.send_file(LARGE, name="large.bin")).url


async def test_a_large_file_comes_whole_and_a_slow_reader_of_it_holds_up_nobody() -> None:
    async with (
        serving(lambda: Scripted(large=send_large), send_buffer=64 * 1024) as server,
        logged_in(server, features=FEATURES) as peer,
        wired(server.port) as slow,
    ):
        url = await peer.ask("large")
        slow.send(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status, _, body = await asyncio.to_thread(get, server, url)
        assert status == 200
        assert body == LARGE
        assert await peer.ask("hello") == "hello"
        async with asyncio.timeout(10):
            data = await slow.reader.read()
        assert data.endswith(LARGE)


@pytest.mark.parametrize("read", [0, 1000], ids=["at once", "within"])
async def test_who_has_said_all_that_there_is_to_say_gets_the_whole_file_all_the_same(read: int) -> None:
    async with (
        serving(lambda: Scripted(large=send_large), send_buffer=64 * 1024) as server,
        logged_in(server, features=FEATURES) as peer,
        wired(server.port) as wire,
    ):
        wire.send(f"GET {await peer.ask('large')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = await wire.reader.readexactly(read)
        wire.writer.write_eof()
        async with asyncio.timeout(10):
            received += await wire.reader.read()
        assert received.endswith(LARGE)


async def test_who_reads_nothing_of_a_file_is_cut_off_in_time() -> None:
    async with (
        serving(lambda: Scripted(large=send_large), write_deadline=0.3) as server,
        logged_in(server, features=FEATURES) as peer,
        wired(server.port, receive_buffer=4096) as stalled,
    ):
        url = await peer.ask("large")
        stalled.send(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await eventually(lambda: len(server.connections) == 2)
        await eventually(lambda: len(server.connections) == 1)


async def test_a_file_at_a_path_is_copied_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes(b"a,b\n")

    async def give(_: str, turn: Turn) -> str:
        file = await turn.send_file(path)
        path.write_bytes(b"changed")  # a few bytes
        return f"{file.name} {file.media_type} {file.size}"

    async with serving(lambda: Scripted(give=give)) as server, logged_in(server, features=FEATURES) as peer:
        await peer.request("give")
        file = await peer.expect("agent_file")
        assert (await peer.expect("agent_response"))["response"] == "sales.csv text/csv 4"
        assert (await asyncio.to_thread(get, server, file["url"]))[2] == b"a,b\n"


async def test_a_file_of_a_call_whose_id_has_broken_characters_is_sent() -> None:
    async def draw(_: str, turn: Turn) -> str:
        return (await turn.send_file(b"abc", tool_call_id="a\ud800")).url

    async with serving(lambda: Scripted(draw=draw)) as server, logged_in(server, features=FEATURES) as peer:
        assert (await sent(peer, "draw"))["tool_call_id"] == "a\ufffd"


async def test_a_synchronous_tool_sends_a_file_from_its_thread() -> None:
    async def give(_: str, turn: Turn) -> str:
        file = await in_thread(turn.send_file_blocking, b"abc", name="a.txt")
        with pytest.raises(RuntimeError, match="block the event loop"):
            turn.send_file_blocking(b"abc")
        return file.name

    async with serving(lambda: Scripted(give=give)) as server, logged_in(server) as peer:
        assert await peer.ask("give") == "a.txt"


@pytest.mark.parametrize("source", ["missing", "folder", "pipe"])
async def test_what_is_no_file_is_the_agents_error(source: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    async def give(_: str, turn: Turn) -> str:
        with pytest.raises(OSError, match=source):
            await turn.send_file(tmp_path / source)
        return "refused"

    async with serving(lambda: Scripted(give=give)) as server, logged_in(server) as peer:
        assert await peer.ask("give") == "refused"


async def test_a_file_that_has_no_room_fails_with_a_sentence_for_the_client() -> None:
    async def give(_: str, turn: Turn) -> str:
        with pytest.raises(AgentError):
            await turn.send_file(b"x" * 11)
        await turn.send_file(b"x" * 11)
        return ""

    async with serving(lambda: Scripted(give=give), max_file_size=10) as server, logged_in(server) as peer:
        await peer.request("give")
        error = await peer.expect("error")
        assert (error["code"], error["message"]) == ("agent_failed", "A file may have 10 bytes.")


async def test_an_agents_file_may_be_attached_to_a_later_request() -> None:
    async with serving(lambda: Scripted(send=send, read=read)) as server, logged_in(server, features=FEATURES) as peer:
        file = await sent(peer, "send plot.png")
        await peer.request("read", attachments=[file["file_id"]])
        assert (await peer.expect("agent_response"))["response"] == "plot.png image/png 10 012345"


async def test_a_task_that_is_stopped_while_it_sends_a_file_leaves_nothing(tmp_path: Path) -> None:
    entered = threading.Event()

    async def give(_: str, turn: Turn) -> str:
        entered.set()
        while True:
            await turn.send_file(LARGE)

    async with serving(lambda: Scripted(give=give), files_dir=tmp_path) as server:
        async with logged_in(server) as peer:
            task_id = await peer.request("give")
            await asyncio.to_thread(entered.wait, 10)
            await peer.send("cancel_request", task_id=task_id)
            await peer.expect("task_cancelled")
        await eventually(lambda: not server.manager.sessions and not files_in(tmp_path))


async def test_there_is_an_end_to_the_files_that_are_on_their_way() -> None:
    async with (
        serving(lambda: Scripted(large=send_large), max_connections=2) as server,
        logged_in(server, features=FEATURES) as peer,
    ):
        url = await peer.ask("large")
        async with contextlib.AsyncExitStack() as slow:
            for _ in range(2):
                wire = await slow.enter_async_context(wired(server.port, receive_buffer=4096))
                wire.send(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                await wire.reader.readexactly(1)
            status, headers, _ = await asyncio.to_thread(get, server, url)
            assert (status, headers["retry-after"]) == (503, "5")
        await eventually(lambda: len(server.connections) == 1)
        assert (await asyncio.to_thread(get, server, url))[0] == 200


async def test_whoever_knows_a_path_gets_it_while_connections_are_scarce() -> None:
    async with serving(lambda: Scripted(send=send), max_connections=1) as server, connected(server) as peer:
        await peer.login(features=FEATURES)
        file = await sent(peer, "send plot.png")
        assert (await asyncio.to_thread(get, server, file["url"]))[0] == 200
