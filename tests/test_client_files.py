"""The client's files: those that it sends, and those that it fetches, across breaks too."""

import asyncio
import base64
import contextlib
import itertools
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.client import download, link, uploads
from agentsocket.client.client import File, SnapshotOutput, WebSocketClient
from agentsocket.client.errors import ConnectionLost, FileError, ServerError
from agentsocket.client.saving import reserve, safe_name
from agentsocket.client.sources import Attachable
from agentsocket.protocol.events import AgentData, AgentFile, AgentReasoning, AgentResponse, ToolProgress
from agentsocket.protocol.frames import (
    AgentDataFrame,
    AgentFileFrame,
    AgentReasoningFrame,
    AgentResponseFrame,
    ToolProgressFrame,
)
from tests.clients import collect, spawn, talking
from tests.scripted_server import Line, Wire, listening
from tests.support import PATIENCE, Scripted, eventually, serving

ALL = ["heartbeat", "reasoning", "progress", "data", "files"]


class Reader:
    """An agent that keeps what it is sent, and sends what it has."""

    def __init__(self, **sends: bytes) -> None:
        self.got: list[tuple[str, str, bytes]] = []
        self.sends = sends
        self.script = Scripted(read=self.read, send=self.send)

    async def read(self, _: str, turn: Turn) -> str:
        self.got = [(file.name, file.media_type, await file.read()) for file in turn.attachments]
        return str(len(self.got))

    async def send(self, name: str, turn: Turn) -> str:
        await turn.send_file(self.sends[name], name=name)
        return "sent"


def no_delay() -> Any:
    return itertools.repeat(0.0, 50)


def cut(client: WebSocketClient) -> None:
    assert client._reader.socket is not None
    client._reader.socket.transport.abort()


def listed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def a_file_of(client: WebSocketClient, name: str) -> AgentFileFrame:
    (file,) = [event for event in await collect(client, f"send {name}") if isinstance(event, AgentFileFrame)]
    return file


# ---- What an agent says beside text ----------------------------------------------------------------------------------


async def test_a_stream_yields_what_there_is_beside_text_and_the_result() -> None:
    async def more(_: str, turn: Turn) -> AgentResponse:
        await turn.emit(AgentReasoning(reasoning="Hm."))
        await turn.emit(ToolProgress(progress=1, total=4))
        await turn.emit(AgentData(name="chart", data=[1, 2.5]))
        await turn.send_file(b"abc", name="a.txt")
        return AgentResponse(response="done", result={"n": 1})

    async with talking(Scripted(more=more)) as client:
        thought, progress, data, file, answer = await collect(client, "more")
        assert isinstance(file, AgentFileFrame)
        assert await client.download(file) == b"abc"
    assert isinstance(thought, AgentReasoningFrame)
    assert isinstance(progress, ToolProgressFrame)
    assert isinstance(data, AgentDataFrame)
    assert isinstance(answer, AgentResponseFrame)
    assert (thought.reasoning, progress.progress, data.data, answer.result) == ("Hm.", 1, [1, 2.5], {"n": 1})


async def test_a_client_that_wants_the_base_alone_gets_no_more() -> None:
    async def more(_: str, turn: Turn) -> str:
        await turn.emit(AgentReasoning(reasoning="Hm."))
        await turn.emit(AgentData(name="chart", data=1))
        return "done"

    async with talking(Scripted(more=more), features=None) as client:
        (answer,) = await collect(client, "more")
    assert isinstance(answer, AgentResponseFrame)


async def test_after_a_gap_files_and_data_come_each_once() -> None:
    file = {"file_id": "f1", "name": "a", "media_type": "text/plain", "size": 1, "url": "/files/1"}
    late = {**file, "file_id": "f2"}
    one: dict[str, Any] = {"name": "chart", "data": 1, "id": "c1"}
    same = {"name": "chart", "data": [0], "id": "c2"}
    async with listening() as line:
        client, wire = await line.resumable(features=ALL)
        events = spawn(collect(client))
        await wire.accept("t1", seq=1)
        await wire.send("agent_file", task_id="t1", **file, seq=2)
        for seq, data in enumerate((one, same), 3):
            await wire.send("agent_data", task_id="t1", **data, seq=seq)
        await eventually(lambda: client._reader._last_seq == 4)
        wire.drop()
        newer = {**one, "data": 2}
        task = {"task_id": "t1", "status": "running", "output": "so far", "files": [file], "data": [newer]}
        wire, _ = await line.resumed(lossless=False, last_seq=9, tasks=[task])
        await wire.send("agent_file", task_id="t1", **late, seq=10)
        await wire.send("agent_data", task_id="t1", **same, seq=11)  # for this there was no room in the snapshot
        await wire.send("agent_data", task_id="t1", **newer, seq=12)  # and this is said anew
        await wire.send("agent_response", task_id="t1", response="done", seq=13)
        seen = await events
        await client.close()
    told = [getattr(event, "file_id", None) or getattr(event, "data", None) or type(event).__name__ for event in seen]
    assert told == ["f1", 1, [0], "SnapshotOutput", 2, "f2", 2, "AgentResponseFrame"]
    assert isinstance(seen[3], SnapshotOutput)


async def test_after_a_gap_a_task_that_has_ended_tells_its_files_and_its_result() -> None:
    async with listening() as line:
        client, wire = await line.resumable(features=ALL)
        events = spawn(collect(client))
        await wire.accept("t1", seq=1)
        wire.drop()
        file = {"file_id": "f1", "name": "a", "media_type": "text/plain", "size": 1, "url": "/files/1"}
        end = {"status": "completed", "output": "", "response": "done", "result": [1], "files": [file]}
        await line.resumed(lossless=False, last_seq=9, tasks=[{"task_id": "t1", **end}])
        _, told, answer = await events
        await client.close()
    assert (told.file_id, answer.response, answer.result) == ("f1", "done", [1])


# ---- Sending ---------------------------------------------------------------------------------------------------------


async def test_whatever_is_attached_arrives_whole(tmp_path: Path) -> None:
    data, agent = os.urandom(300_000), Reader(own=b"own")
    path = tmp_path / "sales.csv"
    path.write_bytes(data)
    told: list[tuple[str, int]] = []
    async with talking(agent.script) as client:
        uploaded = await client.upload(b"xy", name="b.json")
        sent = await a_file_of(client, "own")
        attachments: list[Attachable] = [path, str(path), b"bare", b"", uploaded, sent]
        assert await client.ask(
            "read", attachments=attachments, on_upload=lambda file, sent: told.append((file.name, sent))
        )
        got = agent.got
        assert await client.ask("read", attachments=[uploaded]) == "1"
    assert (uploaded.name, uploaded.media_type, uploaded.size) == ("b.json", "application/json", 2)
    assert got == [
        ("sales.csv", "text/csv", data),
        ("sales.csv", "text/csv", data),
        ("file", "application/octet-stream", b"bare"),
        ("file", "application/octet-stream", b""),
        ("b.json", "application/json", b"xy"),
        ("own", "application/octet-stream", b"own"),
    ]
    assert {("sales.csv", 0), ("sales.csv", len(data)), ("file", 4), ("file", 0)} <= set(told)


@pytest.mark.parametrize("breaks", [1, 3])
async def test_an_upload_goes_on_across_breaks(tmp_path: Path, breaks: int) -> None:
    data, agent, cuts = os.urandom(1_500_000), Reader(), list[int]()
    (tmp_path / "big").write_bytes(data)
    offsets: list[int] = []

    def watch(_: File, sent: int) -> None:
        offsets.append(sent)
        if len(cuts) < breaks and sent > 300_000 * len(cuts):
            cuts.append(sent)
            cut(client)

    async with talking(agent.script, resumable=True, backoff=no_delay) as client:
        await client.ask("read", attachments=[tmp_path / "big"], on_upload=watch)
    assert [content for *_, content in agent.got] == [data]
    assert offsets == sorted(offsets)
    assert len(cuts) == breaks


async def test_two_uploads_run_at_once_and_the_others_wait(tmp_path: Path) -> None:
    contents, agent = [os.urandom(400_000) for _ in range(4)], Reader()
    order: list[str] = []
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    async with talking(agent.script) as client:
        paths = [tmp_path / str(number) for number in range(4)]
        await client.ask("read", attachments=paths, on_upload=lambda file, _: order.append(file.name))
    assert [content for *_, content in agent.got] == contents
    assert order.index("1") < len(order) - 1 - order[::-1].index("0")
    first_end = min(len(order) - 1 - order[::-1].index(name) for name in "01")
    assert not {"2", "3"} & set(order[:first_end])


async def test_of_a_large_file_little_is_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(12_000_000)
    async with talking(Scripted()) as client:
        await client.upload(b"warm")
        tracemalloc.start()
        try:
            await client.upload(tmp_path / "large")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"max_file_size": 1000}, "file_too_large"),
        ({"file_types": ["image/*"]}, "file_type_refused"),
        ({"max_files_size": 1500}, "too_many_files"),
    ],
)
async def test_a_file_that_is_refused_is_a_server_error_and_nothing_else_suffers(
    settings: dict[str, Any], code: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(1200))
    agent = Reader()
    async with talking(agent.script, settings) as client:
        with pytest.raises(ServerError) as refused:
            await client.ask("read", attachments=[tmp_path / "a.txt", tmp_path / "a.txt"])
        assert refused.value.code == code
        assert await client.ask("fine") == "fine"
        if code == "too_many_files":  # what was sent for it was taken back
            assert await client.ask("read", attachments=[tmp_path / "a.txt"]) == "1"
    assert agent.script.runs.count("read") == (code == "too_many_files")


async def test_more_attachments_than_a_request_may_have_are_refused_before_they_are_sent() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, features=ALL)
        with pytest.raises(FileError, match="20 attachments"):
            await client.ask("x", attachments=[b""] * 21)
        with pytest.raises(ValueError, match="surrogates"):
            await client.ask("\ud800", attachments=[b""])
        leaving = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("logout_response", status="success")
        await leaving
        await client.close()


async def test_what_cannot_be_read_is_told_and_nothing_is_asked(tmp_path: Path) -> None:
    agent = Reader()
    os.mkfifo(tmp_path / "pipe")
    async with talking(agent.script) as client:
        with pytest.raises(FileNotFoundError):
            await client.ask("read", attachments=[tmp_path / "nothing"])
        with pytest.raises(IsADirectoryError):
            await client.ask("read", attachments=[tmp_path])
        with pytest.raises(FileError, match="is no file"):
            await client.ask("read", attachments=[tmp_path / "pipe"])
    assert not agent.script.runs


@pytest.mark.parametrize("change", [lambda file: file.truncate(200_000), lambda file: file.write(b"more")])
async def test_a_file_that_changes_while_it_is_sent_is_an_error(change: Callable[[Any], Any], tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(1_000_000))
    os.utime(tmp_path / "log", (1, 1))

    def touch(_: File, sent: int) -> None:
        if 0 < sent < 200_000:
            with (tmp_path / "log").open("r+b") as file:
                change(file)

    async with talking(Scripted(), {"max_files_size": 1_000_000}) as client:
        with pytest.raises(FileError, match="has changed"):
            await client.upload(tmp_path / "log", progress=touch)
        await client.upload(bytes(1_000_000))  # for which there is room again


@contextlib.asynccontextmanager
async def uploading(
    data: bytes, **terms: Any
) -> AsyncIterator[tuple[Line, WebSocketClient, Wire, asyncio.Task[File], str]]:
    """Have an upload begun; the server has not answered yet."""
    async with listening() as line:
        client, wire = await line.resumable(features=ALL, **terms)
        sending = spawn(client.upload(data, name="a.bin"))
        upload_id = (await wire.expect("upload_start"))["upload_id"]
        yield line, client, wire, sending, upload_id
        await client.close()
        await asyncio.wait([sending])


async def chunk(wire: Wire) -> tuple[int, int]:
    data = await wire.expect("upload_chunk")
    return data["offset"], len(base64.b64decode(data["data"]))


async def test_an_upload_goes_on_from_where_the_server_says() -> None:
    async with uploading(bytes(50_000)) as (_, _, wire, sending, upload_id):
        await wire.send("upload_progress", upload_id=upload_id, received=0)
        assert (await chunk(wire))[0] == 0
        await wire.send("upload_progress", upload_id=upload_id, received=7)
        assert (await chunk(wire))[0] == 7
        await wire.send("upload_complete", upload_id=upload_id, file_id="f1")
        assert await sending == File("a.bin", "application/octet-stream", 50_000, "f1")


async def test_who_is_told_to_be_slower_waits_and_goes_on() -> None:
    async with uploading(bytes(10_000)) as (_, _, wire, sending, upload_id):
        limit = {"code": "rate_limited", "message": "Wait.", "upload_id": upload_id, "retry_after": 0.01}
        await wire.send("error", **limit)
        await wire.expect("upload_start")
        await wire.send("upload_progress", upload_id=upload_id, received=0)
        assert await chunk(wire) == (0, 10_000)
        await wire.send("error", **limit)
        assert await chunk(wire) == (0, 10_000)
        await wire.send("upload_complete", upload_id=upload_id, file_id="f1")
        assert (await sending).file_id == "f1"


async def test_a_server_that_never_takes_anything_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_IN_VAIN", 3)
    async with uploading(bytes(10)) as (_, _, wire, sending, upload_id):
        for _ in range(5):
            await wire.send("upload_progress", upload_id=upload_id, received=0)
        with pytest.raises(FileError, match="takes no more"):
            await sending


async def test_after_a_break_the_same_upload_is_asked_about_first() -> None:
    async with uploading(bytes(40_000)) as (line, _, wire, sending, upload_id):
        await wire.send("upload_progress", upload_id=upload_id, received=0)
        await chunk(wire)
        wire.drop()
        second, _ = await line.resumed()
        assert (await second.expect("upload_start"))["upload_id"] == upload_id
        await second.send("upload_progress", upload_id=upload_id, received=100)
        assert (await chunk(second))[0] == 100
        second.drop()
        third, _ = await line.resumed()
        await third.expect("upload_start")
        await third.send("upload_complete", upload_id=upload_id, file_id="f1")
        assert (await sending).file_id == "f1"


async def test_a_stream_that_is_cancelled_gives_its_uploads_up() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, features=ALL)
        asked = spawn(client.ask("x", attachments=[b"one", bytes(40_000)]))
        first, second = [await wire.expect("upload_start") for _ in range(2)]
        await wire.send("upload_complete", upload_id=first["upload_id"], file_id="f1")
        await wire.send("upload_progress", upload_id=second["upload_id"], received=0)
        await chunk(wire)
        asked.cancel()
        gone = {(await wire.expect("upload_cancel"))["upload_id"] for _ in range(2)}
        assert gone == {first["upload_id"], second["upload_id"]}
        await asyncio.wait([asked])
        await client.close()


async def test_an_upload_given_up_during_a_break_is_given_up_after_it() -> None:
    async with uploading(bytes(40_000)) as (line, _, wire, sending, upload_id):
        await wire.send("upload_progress", upload_id=upload_id, received=0)
        await chunk(wire)
        wire.drop()
        again = await line.wires.get()
        await again.expect("login")
        sending.cancel()
        await asyncio.wait([sending])
        await again.send("login_response", session_id="s", status="success", resumed=True, lossless=True, last_seq=0)
        assert await again.expect("upload_cancel") == {"upload_id": upload_id}


async def test_a_session_that_is_lost_is_the_end_of_an_upload_and_the_next_begins_anew() -> None:
    agent = Reader()

    def break_off(_: File, sent: int) -> None:
        if sent:
            cut(client)

    async with asyncio.timeout(PATIENCE), serving(lambda: agent.script) as server:
        client = WebSocketClient(f"ws://127.0.0.1:{server.port}")
        async with client:
            with pytest.raises(ConnectionLost):
                await client.upload(bytes(1_000_000), progress=break_off)
            await client.connect()
            await client.login()
            assert await client.ask("read", attachments=[b"again"]) == "1"


async def test_a_server_that_takes_no_files_is_sent_none() -> None:
    async with listening() as line:
        client = line.client()
        await line.log_in(client, features=["heartbeat"])
        with pytest.raises(FileError, match="takes no files"):
            await client.ask("x", attachments=[b"x"])
        await client.close()


@pytest.mark.parametrize(("limit", "piece"), [(4096, 2880), (None, uploads.FIRST_PIECE), (10**6, uploads.FIRST_PIECE)])
async def test_a_piece_is_no_larger_than_the_server_takes(limit: int | None, piece: int) -> None:
    terms = {} if limit is None else {"max_message_size": limit}
    async with uploading(bytes(50_000), **terms) as (_, _, wire, _, upload_id):
        await wire.send("upload_progress", upload_id=upload_id, received=0)
        assert await chunk(wire) == (0, piece)


async def test_an_error_about_an_upload_fails_nothing_else() -> None:
    async with uploading(b"x") as (_, client, wire, sending, upload_id):
        leaving = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("error", code="file_too_large", message="Too large.", upload_id=upload_id)
        await wire.send("error", code="unknown_upload", message="?", upload_id="another")
        with pytest.raises(ServerError, match="file_too_large"):
            await sending
        await wire.send("logout_response", status="success")
        await leaving


async def test_a_logout_is_the_end_of_an_upload() -> None:
    async with uploading(b"x") as (_, client, wire, sending, _):
        leaving = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("logout_response", status="success")
        await leaving
        with pytest.raises(ConnectionLost, match="session has ended"):
            await sending


# ---- Fetching --------------------------------------------------------------------------------------------------------


async def test_a_file_is_fetched_to_memory_or_to_a_path(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    async with talking(Reader(big=data, empty=b"").script) as client:
        file, empty = await a_file_of(client, "big"), await a_file_of(client, "empty")
        assert await client.download(file) == data
        assert await client.download(empty) == b""
        (tmp_path / "out").write_text("of before")
        assert await client.download(file, tmp_path / "out") == tmp_path / "out"
        await client.logout()
        with pytest.raises(FileError, match="no such file"):
            await client.download(file, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert listed(tmp_path) == ["out"]


async def test_a_file_is_fetched_through_tls_below_a_path(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    agent = Reader(a=b"abc").script
    settings = {"tls_cert": cert, "tls_key": key, "host": "localhost", "base_path": "/agent"}
    async with (
        asyncio.timeout(PATIENCE),
        serving(lambda: agent, **settings) as server,
        WebSocketClient(f"wss://localhost:{server.port}/agent") as client,
    ):
        assert await client.download(await a_file_of(client, "a")) == b"abc"


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a proxy for one connection."""
    target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
    inner, outer = await asyncio.open_connection("127.0.0.1", int(target.rpartition(":")[2]))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    await asyncio.gather(pass_on(reader, outer), pass_on(inner, writer))


@pytest.mark.parametrize("secure", [False, True])
async def test_a_file_is_fetched_through_the_proxy_of_the_connection(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    cert, key = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    agent = Reader(a=b"abc").script
    settings = {"tls_cert": cert, "tls_key": key} if secure else {}
    async with (
        asyncio.timeout(PATIENCE),
        await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy,
        serving(lambda: agent, host="localhost", **settings) as server,
    ):
        way = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        monkeypatch.setattr(link, "proxy_for", lambda _: way)
        async with WebSocketClient(f"{'wss' if secure else 'ws'}://localhost:{server.port}") as client:
            assert await client.download(await a_file_of(client, "a")) == b"abc"


class Shop:
    """A server of plain HTTP that answers each request as a test has it."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.answers.pop(0))
        await writer.drain()
        writer.close()


CONTENT = bytes(range(256)) * 4
FILE = AgentFile(file_id="f", name="a", media_type="text/plain", size=len(CONTENT), url="/files/secret")


def answer(status: str, body: bytes, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def whole(body: bytes = CONTENT) -> bytes:
    return answer("200 OK", body, f"Content-Length: {len(CONTENT)}")


def rest(start: int, body: bytes, size: int = len(CONTENT)) -> bytes:
    return answer("206 Partial Content", body, f"Content-Range: bytes {start}-{size - 1}/{size}")


CHUNKED = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (CONTENT[:100], CONTENT[100:])) + b"0\r\n\r\n"


@contextlib.asynccontextmanager
async def shop(*answers: bytes) -> AsyncIterator[tuple[Shop, WebSocketClient]]:
    shop = Shop(*answers)
    async with asyncio.timeout(PATIENCE), await asyncio.start_server(shop.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield shop, WebSocketClient(f"ws://ada:pw@127.0.0.1:{port}/base", backoff=no_delay)


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        ([whole()], [None]),
        ([whole(CONTENT[:300]), rest(300, CONTENT[300:])], [None, 300]),
        ([whole(CONTENT[:300]), rest(300, CONTENT[300:700]), b"", rest(700, CONTENT[700:])], [None, 300, 700, 700]),
        ([whole(CONTENT[:300]), whole()], [None, 300]),
        ([answer("503 Busy", b"", "Retry-After: 0"), whole()], [None, None]),
        ([answer("100 Continue", b"") + whole()], [None]),
        ([answer("200 OK", CONTENT)], [None]),
        ([answer("200 OK", CHUNKED, "Transfer-Encoding: chunked")], [None]),
        ([answer("200 OK", CHUNKED[:80], "Transfer-Encoding: chunked"), whole()], [None, 72]),
    ],
)
async def test_a_download_goes_on_after_a_break(answers: list[bytes], ranges: list[int | None], tmp_path: Path) -> None:
    async with shop(*answers) as (seller, client):
        assert (await client.download(FILE, tmp_path / "a")).read_bytes() == CONTENT
    asked = [request.partition("Range: bytes=")[2].partition("-")[0] for request in seller.requests]
    assert asked == ["" if start is None else str(start) for start in ranges]
    for request in seller.requests:
        assert request.startswith("GET /files/secret HTTP/1.1\r\nHost: 127.0.0.1:")
        assert "\r\nAuthorization: Basic YWRhOnB3\r\n" in request


@pytest.mark.parametrize(
    "reply",
    [
        answer("404 Not Found", b""),
        answer("302 Found", b"", "Location: http://127.0.0.1:1/"),
        answer("416 Range Not Satisfiable", b""),
        answer("200 OK", CONTENT + b"x"),
        answer("200 OK", b"abc", "Content-Length: 3"),
        rest(5, CONTENT[5:]),
        rest(0, CONTENT, 5000),
        b"HTTP/1.1\r\n\r\n",
        b"\x00" * 100_000,
        answer("200 OK", b"zz\r\n", "Transfer-Encoding: chunked"),
    ],
)
async def test_what_is_not_that_file_is_an_error_that_keeps_the_path_to_itself(reply: bytes, tmp_path: Path) -> None:
    async with shop(reply) as (_, client):
        with pytest.raises(FileError) as failed:
            await client.download(FILE, tmp_path / "a")
    assert "secret" not in str(failed.value)
    assert not listed(tmp_path)


async def test_a_server_that_stays_away_ends_a_download() -> None:
    async with shop(*[b""] * 20) as (seller, client):
        with pytest.raises(FileError, match="could not be fetched"):
            await client.download(FILE)
        assert len(seller.requests) == download.TRIES + 1


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/", "/a b", "/a\r\nX: y", "files/x"])
async def test_a_file_whose_path_is_none_is_not_asked_for(url: str) -> None:
    async with shop() as (seller, client):
        with pytest.raises(FileError, match="no path"):
            await client.download(FILE.model_copy(update={"url": url}))
        assert not seller.requests


async def test_a_download_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async with talking(Reader(big=bytes(20_000_000)).script) as client:
        fetching = spawn(client.download(await a_file_of(client, "big"), tmp_path / "a"))
        await eventually(lambda: bool(listed(tmp_path)))
        fetching.cancel()
        await asyncio.wait([fetching])
    assert not listed(tmp_path)


# ---- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plot.png", "plot.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\a.exe", "a.exe"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        (".bashrc", "bashrc"),
        ("a\x1b[2J\n\u202eb\ud800.txt", "a[2Jb.txt"),
        ("Ärger 日本.csv", "Ärger 日本.csv"),
        ("x" * 300 + ".tar", "x" * 196 + ".tar"),
        ("x." + "y" * 300, "x." + "y" * 198),
        ("日" * 100, "日" * 66),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(tmp_path / "elsewhere")
    folder = tmp_path / "new" / "folder"
    names = [reserve(folder, "plot.png").name for _ in range(3)]
    assert names == ["plot.png", "plot (2).png", "plot (3).png"]
    assert reserve(tmp_path, "link.txt").name == "link (2).txt"
    assert reserve(tmp_path, "x" * 300).parent == tmp_path
