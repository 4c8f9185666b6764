"""A file comes in pieces over the connection, goes on after a break, and is bounded in every way."""

import threading
from pathlib import Path
from typing import Any

import pytest

from agentsocket.containment.threads import Threads
from agentsocket.files import store
from agentsocket.identity.user import LoginAttempt, User
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.content.uploading import CHUNK, FEATURES, chunk, files_in, read, start, upload
from tests.support import Scripted, connected, eventually, logged_in, serving
from tests.test_resume import drop, resume

TEXT = b"".join(b"line %d\n" % number for number in range(40_000))  # three pieces


async def test_an_agent_reads_what_came_with_its_request() -> None:
    async with serving(lambda: Scripted(read=read)) as server, logged_in(server) as peer:
        first = await upload(peer, TEXT, "one", name="a.txt")
        second = await upload(peer, b"", "two", name="empty.csv", media_type="text/csv")
        await peer.request("read", attachments=[second, first, first])
        answer = (await peer.expect("agent_response"))["response"]
        long = f"a.txt text/plain {len(TEXT)} line 0"
        assert answer.splitlines() == ["empty.csv text/csv 0 ", long, long]
        await peer.request("read")
        assert (await peer.expect("agent_response"))["response"] == ""


async def test_uploads_are_independent_and_their_answers_are_not_numbered() -> None:
    async with serving(lambda: Scripted(read=read)) as server, connected(server) as peer:
        await peer.login(resumable=True)
        for name in ("one", "two"):
            assert await start(peer, TEXT, name) == ("upload_progress", {"upload_id": name, "received": 0})
        for at in range(0, len(TEXT), CHUNK):
            for name in ("one", "two"):
                event, answer = await chunk(peer, TEXT[at : at + CHUNK], at, name)
                assert "seq" not in answer
        assert event == "upload_complete"
        assert await upload(peer, TEXT, "one") != answer["file_id"]


@pytest.mark.parametrize("cut", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 7, len(TEXT)])
async def test_an_upload_goes_on_where_a_break_has_cut_it(cut: int) -> None:
    async with serving(lambda: Scripted(read=read)) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            await start(peer, TEXT)
            for at in range(0, cut, CHUNK):
                await chunk(peer, TEXT[at : min(cut, at + CHUNK)], at)
            await drop(peer)
        async with connected(server) as peer:
            await peer.login(**resume(opened, last_seq=0))
            event, answer = await start(peer, TEXT)
            if cut == len(TEXT):
                assert event == "upload_complete"
            else:
                assert (event, answer["received"]) == ("upload_progress", cut)
            file_id = await upload(peer, TEXT)
            await peer.request("read", attachments=[file_id])
            assert f" {len(TEXT)} line 0" in (await peer.expect("agent_response"))["response"]


async def test_a_piece_for_another_place_is_dropped_and_says_where_to_go_on() -> None:
    async with serving() as server, logged_in(server) as peer:
        await start(peer, b"abcdef")
        assert (await chunk(peer, b"def", 3))[1]["received"] == 0
        assert (await chunk(peer, b"abc", 0))[1]["received"] == 3
        assert (await chunk(peer, b"abc", 0))[1]["received"] == 3
        assert (await chunk(peer, b"cdef", 2))[1]["received"] == 3
        event, complete = await chunk(peer, b"def", 3)
        assert event == "upload_complete"
        assert await chunk(peer, b"def", 3) == ("upload_complete", complete)
        assert await start(peer, b"abcdef") == ("upload_complete", complete)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("YWJjZGVmZw==", "fewer bytes"),
        ("YWJj!", "not base64"),
        ("YWJ", "not base64"),
        ("YWJj\n", "not base64"),
        ("é", "not base64"),
        ("A" * ((CHUNK + 3) // 3 * 4 + 4), "at most"),
    ],
)
async def test_a_piece_that_is_none_is_refused_and_nothing_is_lost(data: str, told: str) -> None:
    async with serving() as server, connected(server) as peer:
        await peer.login(resumable=True)
        await start(peer, b"abcdef")
        await chunk(peer, b"ab", 0)
        await peer.send("upload_chunk", upload_id="u", offset=2, data=data)
        error = await peer.expect("error")
        assert (error["code"], error["upload_id"]) == ("invalid_frame", "u")
        assert told in error["message"]
        assert "seq" not in error
        assert (await chunk(peer, b"cdef", 2))[0] == "upload_complete"


@pytest.mark.parametrize(
    "fields",
    [
        {"size": -1},
        {"size": 1.5},
        {"size": True},
        {"size": 2**63},
        {"size": None},
        {"name": 3},
        {"name": "x" * 1025},
        {"media_type": None},
        {"media_type": "x" * 257},
    ],
    ids=str,
)
async def test_a_malformed_start_says_which_upload_it_was(fields: dict[str, Any]) -> None:
    async with serving() as server, logged_in(server) as peer:
        event, error = await start(peer, b"abc", **fields)
        assert (event, error["code"], error["upload_id"]) == ("error", "invalid_frame", "u")
        assert next(iter(fields)) in error["message"]


async def test_an_upload_id_is_of_one_to_64_characters() -> None:
    async with serving() as server, logged_in(server) as peer:
        for upload_id in ("", "x" * 65):
            assert (await start(peer, b"abc", upload_id))[1]["code"] == "invalid_frame"
        assert (await start(peer, b"abc", "x" * 64))[0] == "upload_progress"


async def test_what_was_not_begun_is_told_and_cancelling_it_is_silent() -> None:
    async with serving() as server, logged_in(server) as peer:
        event, error = await chunk(peer, b"abc", 0)
        assert (event, error["code"], error["upload_id"]) == ("error", "unknown_upload", "u")
        await peer.send("upload_cancel", upload_id="u")
        assert await peer.ask("hello") == "hello"


async def test_uploading_needs_a_login() -> None:
    async with serving() as server, connected(server) as peer:
        event, error = await start(peer, b"abc")
        assert (event, error["code"], error["upload_id"]) == ("error", "not_logged_in", "u")


async def test_a_cancelled_upload_leaves_nothing_and_gives_its_room_back() -> None:
    async with serving(max_files_size=10) as server, logged_in(server) as peer:
        await start(peer, b"x" * 10)
        await chunk(peer, b"abc", 0)
        await peer.send("upload_cancel", upload_id="u")
        assert (await start(peer, b"x" * 10))[1] == {"upload_id": "u", "received": 0}
        file_id = await upload(peer, b"x" * 10)
        await peer.send("upload_cancel", upload_id="u")
        await peer.send("agent_request", message="hello", attachments=[file_id])
        assert (await peer.expect("error"))["code"] == "unknown_file"
        assert await upload(peer, b"y" * 10)


async def test_what_a_request_has_named_stays_for_its_agent() -> None:
    agent = Scripted(read=read)
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        file_id = await upload(peer, b"abc")
        await peer.request("hello", attachments=[file_id])
        await peer.expect("agent_response")
        await peer.send("upload_cancel", upload_id="u")
        await peer.request("read", attachments=[file_id])
        assert (await peer.expect("agent_response"))["response"] == "notes.txt text/plain 3 abc"


async def test_what_only_a_refused_request_has_named_can_be_given_up() -> None:
    async with serving(max_tasks=1, max_files_size=3) as server, logged_in(server) as peer:
        file_id = await upload(peer, b"abc")
        await peer.request("park")
        await peer.send("agent_request", message="hello", attachments=[file_id])
        assert (await peer.expect("error"))["code"] == "too_many_tasks"
        await peer.send("upload_cancel", upload_id="u")
        assert (await start(peer, b"abc"))[0] == "upload_progress"


async def test_an_error_names_what_its_own_frame_is_known_by_and_nothing_else() -> None:
    async with serving() as server, connected(server) as peer:
        await peer.login(resumable=True)
        await peer.send("agent_request", message=3, request_id="r", upload_id="u")
        error = await peer.expect("error")
        assert (error["request_id"], error["seq"]) == ("r", 1)
        assert "upload_id" not in error
        assert "request_id" not in (await start(peer, b"", name=3, request_id="r"))[1]


async def test_many_who_upload_at_once_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    pool = Threads(1, "files")
    for _ in range(3):  # full, and empty again
        gate = threading.Event()
        for _ in range(5):
            pool.submit(gate.wait)
        gate.set()
        await eventually(lambda: not pool.pending)
    pool.shutdown()
    assert caplog.text.count("are busy") == 1


@pytest.mark.parametrize(
    ("settings", "size", "code"),
    [
        ({"max_file_size": 9}, 10, "file_too_large"),
        ({"max_files_size": 9}, 10, "too_many_files"),
        ({"max_total_files_size": 9}, 10, "too_many_files"),
        ({"file_types": ("image/*", "text/csv")}, 10, "file_type_refused"),
    ],
    ids=str,
)
async def test_what_there_is_no_room_for_is_refused_before_a_byte_of_it_comes(
    settings: dict[str, Any], size: int, code: str
) -> None:
    async with serving(**settings) as server, logged_in(server) as peer:
        event, error = await start(peer, b"x" * size)
        assert (event, error["code"], error["upload_id"]) == ("error", code, "u")
        assert await upload(peer, b"x" * 9, media_type="text/csv; charset=utf-8")


async def test_there_is_an_end_to_the_number_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST", 3)
    async with serving() as server, logged_in(server) as peer:
        for number in range(3):
            await upload(peer, b"", f"u{number}")
        _, error = await start(peer, b"")
        assert (error["code"], error["scope"]) == ("too_many_files", "session")


async def test_a_users_files_count_across_sessions_and_go_with_them() -> None:
    async def authenticate(login: LoginAttempt) -> User:
        return User(id=login.token or "")

    settings = Settings(host="127.0.0.1", port=0, max_files_size=10, shutdown_grace=0)
    async with (
        AgentServer(settings, {"agent": Scripted}, authenticate) as server,
        logged_in(server, token="ada") as one,
        logged_in(server, token="ada") as two,
    ):
        await upload(one, b"x" * 6)
        _, error = await start(two, b"x" * 6)
        assert (error["code"], error["scope"]) == ("too_many_files", "user")
        async with logged_in(server, token="ben") as other:
            await upload(other, b"x" * 6)
        await one.send("logout")
        await one.expect("logout_response")
        await upload(two, b"x" * 6)


async def test_a_file_of_another_session_is_unknown() -> None:
    async with serving() as server, logged_in(server) as one, logged_in(server) as two:
        file_id = await upload(one, b"abc")
        await two.send("agent_request", message="hello", attachments=[file_id], request_id="r")
        error = await two.expect("error")
        assert (error["code"], error["request_id"]) == ("unknown_file", "r")
        await two.send("agent_request", message="hello", attachments=[file_id] * 21, request_id="r")
        error = await two.expect("error")
        assert (error["code"], error["request_id"]) == ("invalid_frame", "r")
        assert await two.ask("hello") == "hello"


HOSTILE = [
    ("../../etc/passwd", "passwd"),
    ("C:\\Windows\\win.ini", "win.ini"),
    ("a\x00b\r\nc.txt", "abc.txt"),
    ("\u202etxt.exe", "txt.exe"),
    ("..", "file"),
    ("", "file"),
    (".hidden", "hidden"),
    ("x" * 300 + ".csv", "x" * 251 + ".csv"),
    ("é" * 200, "é" * 127),
    ("/", "file"),
]


@pytest.mark.parametrize(("name", "clean"), HOSTILE)
async def test_a_hostile_name_becomes_a_harmless_one(name: str, clean: str) -> None:
    async with serving(lambda: Scripted(read=read)) as server, logged_in(server) as peer:
        file_id = await upload(peer, b"abc", name=name)
        await peer.request("read", attachments=[file_id])
        assert (await peer.expect("agent_response"))["response"] == f"{clean} text/plain 3 abc"


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/html\r\nX-Evil: 1", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("image/*", "application/octet-stream"),
        ("x" * 200 + "/y", "application/octet-stream"),
    ],
)
async def test_a_hostile_type_becomes_a_harmless_one(given: str, clean: str) -> None:
    async with serving(lambda: Scripted(read=read)) as server, logged_in(server) as peer:
        file_id = await upload(peer, b"abc", media_type=given)
        await peer.request("read", attachments=[file_id])
        assert (await peer.expect("agent_response"))["response"] == f"notes.txt {clean} 3 abc"


async def test_pieces_count_as_messages(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(rate_limit=1, rate_burst=4) as server, logged_in(server) as peer:
        await start(peer, b"x" * 100)
        answers = [await chunk(peer, b"x", number) for number in range(4)]
        assert answers[-1][0] == "error"
        assert (answers[-1][1]["code"], answers[-1][1]["upload_id"]) == ("rate_limited", "u")
        assert "Traceback" not in caplog.text


async def test_two_connections_of_one_session_do_not_mix_a_file_up() -> None:
    """The one that is displaced may have a piece on its way to the disk."""
    async with serving(lambda: Scripted(read=read)) as server, connected(server) as old:
        opened = await old.login(resumable=True)
        await start(old, TEXT)
        await old.send("upload_chunk", upload_id="u", offset=0, data="QUJD")
        async with connected(server) as new:
            await new.login(**resume(opened, last_seq=0))
            await start(new, TEXT)
            await upload(new, b"ABC" + TEXT[3:])
            session = server.manager.sessions[opened["session_id"]]
            (file,) = session._files._files.values()
            assert await file.read() in {TEXT, b"ABC" + TEXT[3:]}
            assert file.size == len(TEXT)


async def test_nothing_is_left_on_disk_once_the_session_is_over(tmp_path: Path) -> None:
    async with serving(lambda: Scripted(read=read), files_dir=tmp_path) as server:
        async with connected(server) as peer:
            await peer.login(features=FEATURES)
            await upload(peer, TEXT, "one")
            await start(peer, TEXT, "two")
            await chunk(peer, b"abc", 0, "two")
            files = files_in(tmp_path)
            assert len(files) == 2
            assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
            assert files[0].parent.stat().st_mode & 0o777 == 0o700
            await peer.send("logout")
            await peer.expect("logout_response")
            assert files_in(tmp_path) == []
            await peer.login()
            await upload(peer, TEXT, "one")
        # Whoever goes without a word leaves as little.
        await eventually(lambda: not files_in(tmp_path))
