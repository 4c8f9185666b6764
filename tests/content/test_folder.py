"""Files lie where nobody else looks, and a crash leaves nothing that the next start does not take away."""

import os
import resource
import shutil
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from agentsocket.files.folder import Folder
from tests.content.uploading import chunk, files_in, start, upload
from tests.server_process import server_process
from tests.support import Peer, eventually, logged_in, serving
from tests.wire import Wire, text, upgraded


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the system's temporary folder be one of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


async def test_without_files_there_is_no_folder(temporary: Path) -> None:
    usual = temporary / f"agentsocket-{os.getuid()}"
    async with serving() as server, logged_in(server) as peer:
        assert await peer.ask("hello") == "hello"
        assert not usual.exists()


async def test_after_a_crash_the_next_start_takes_away_what_is_left(temporary: Path) -> None:
    async with server_process() as server, upgraded(server.port, resumable=False) as wire:
        await _upload(wire)
        assert len(files_in(temporary)) == 1
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        assert len(files_in(temporary)) == 1
    async with server_process() as server:
        assert files_in(temporary) == []
        code, _ = await server.stop()
        assert code == 0


async def test_what_a_server_that_runs_has_another_one_leaves_alone(tmp_path: Path) -> None:
    async with serving(files_dir=tmp_path) as one, logged_in(one) as peer:
        await upload(peer, b"abc")
        async with serving(files_dir=tmp_path) as two, logged_in(two) as other:
            await upload(other, b"def")
            assert len(files_in(tmp_path)) == 2
        assert len(files_in(tmp_path)) == 1


def test_those_who_upload_first_and_at_once_share_one_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    together = threading.Barrier(8)

    def make() -> Path:
        together.wait()
        return folder.make()

    with ThreadPoolExecutor(8) as threads:
        made = [future.result() for future in [threads.submit(make) for _ in range(8)]]
    assert len(set(made)) == 1
    folder.remove()
    assert list(tmp_path.glob("files-*")) == []


async def test_where_a_temporary_folder_was_cleaned_new_files_find_their_place(temporary: Path) -> None:
    async with serving() as server, logged_in(server) as peer:
        await upload(peer, b"abc", "one")
        shutil.rmtree(temporary / f"agentsocket-{os.getuid()}")
        await upload(peer, b"abc", "two")
        assert len(files_in(temporary)) == 1
    assert files_in(temporary) == []


async def test_a_shutdown_with_files_in_every_state_leaves_nothing(temporary: Path) -> None:
    async with server_process() as server, upgraded(server.port, resumable=False) as wire:
        await _upload(wire)
        code, _ = await server.stop()
        assert code == 0
        assert files_in(temporary) == []
        assert "Traceback" not in server.log


async def _upload(wire: Wire) -> None:
    wire.send(text("upload_start", upload_id="u", name="a.txt", media_type="text/plain", size=6))
    wire.send(text("upload_chunk", upload_id="u", offset=0, data="YWJj"))
    await wire.receive_event()
    assert (await wire.receive_event())[1]["received"] == 3


@pytest.mark.parametrize("state", ["open to all", "a link", "a file"])
def test_a_folder_that_somebody_else_may_have_made_is_not_used(state: str, temporary: Path) -> None:
    usual = temporary / f"agentsocket-{os.getuid()}"
    elsewhere = temporary / "elsewhere"
    if state == "open to all":
        usual.mkdir()
        usual.chmod(0o777)
    elif state == "a link":
        elsewhere.mkdir(mode=0o700)
        (elsewhere / "files-mine").mkdir()
        usual.symlink_to(elsewhere)
    else:
        usual.mkdir(mode=0o700)
        (usual / "files-link").symlink_to(temporary)
    folder = Folder(None)
    folder.prepare()
    made = folder.make()
    assert made.stat().st_mode & 0o777 == 0o700
    if state == "a link":
        assert (elsewhere / "files-mine").exists()
    assert (made.parent == usual) is (state == "a file")
    folder.remove()
    assert not made.exists()
    assert temporary.exists()


async def test_a_folder_that_cannot_be_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        async with serving(files_dir=tmp_path / "file" / "below"):
            pass


def hardly_any_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


async def test_where_the_disk_takes_no_more_the_upload_is_told_and_goes_on_later(tmp_path: Path) -> None:
    async with (
        server_process("--files-dir", str(tmp_path), preexec_fn=hardly_any_room) as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as socket,
    ):
        peer = Peer(socket)
        await peer.login()
        await start(peer, b"x" * 200_000)
        assert (await chunk(peer, b"x" * 90_000, 0))[1]["received"] == 90_000
        event, error = await chunk(peer, b"x" * 90_000, 90_000)
        assert (event, error["code"], error["upload_id"]) == ("error", "files_unavailable", "u")
        # What was there before is there still, and nothing of what failed.
        assert (await start(peer, b"x" * 200_000))[1]["received"] == 90_000
        assert (await chunk(peer, b"x" * 1000, 90_000))[1]["received"] == 91_000
        await eventually(lambda: f"error_id={error['error_id']}" in server.log)
        assert "Traceback" not in server.log
