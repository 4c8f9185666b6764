"""The server as a process: how it starts, what it prints, how it ends."""

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support import PATIENCE, Peer, side_by_side

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "websocket_server.py"

AGENTS = """
import asyncio, threading, time

class Deaf:
    async def run(self, message, turn):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

class Lingering:
    async def run(self, message, turn):
        return message

    async def aclose(self):
        await Deaf().run("", None)

def block(message):
    time.sleep(3600)

async def echo(message):
    return message

async def loop(message):
    return type(asyncio.get_running_loop()).__module__

async def key(message):
    import os
    return os.environ["SOME_KEY"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "process_agents.py").write_text(AGENTS)
    return tmp_path


@asynccontextmanager
async def started(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVER),
        *arguments,
        cwd=folder,
        stdout=PIPE,
        stderr=PIPE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def told_port(process: Process) -> tuple[int, str]:
    """Read the banner up to its first URL."""
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(PATIENCE):
        while not (found := re.search(r"wss?://\S+:(\d+)\n", text)):
            line = await process.stdout.readline()
            assert line, f"the server has ended: {text}"  # at the end, reading waits no more, nor does this loop
            text += line.decode()
    return int(found[1]), text


@asynccontextmanager
async def talking(process: Process) -> AsyncIterator[Peer]:
    port, _ = await told_port(process)
    async with connect(f"ws://127.0.0.1:{port}") as connection:
        peer = Peer(connection)
        await peer.login()
        yield peer


async def test_it_says_where_it_is_what_it_serves_and_that_it_is_open(folder: Path) -> None:
    async with started(folder, "--port", "0", "--agent", "process_agents:echo") as process:
        port, banner = await told_port(process)
        process.terminate()
        code, rest, log = await ended(process)
    text = banner + rest
    assert code == 0
    assert "process_agents:echo" in text
    assert f"ws://localhost:{port}" in text
    assert "Traceback" not in log
    addresses = re.findall(r"ws://([\d.]+):", text)
    assert bool(addresses) == ("WARNING: no token is set" in text)  # a machine without a network is not open


async def test_it_serves_though_nothing_can_be_printed(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def check(source: str) -> None:
        home = tmp_path_factory.mktemp("agents")
        (home / "process_agents.py").write_text(f"{source}\n{AGENTS}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = ("--host", "127.0.0.1", "--port", str(port), "--agent", "process_agents:echo")
        async with started(home, *arguments) as process:
            assert process.stderr is not None
            async with asyncio.timeout(PATIENCE):
                assert b"nothing can be printed" in await process.stderr.readline()
            async with connect(f"ws://127.0.0.1:{port}") as connection:
                peer = Peer(connection)
                await peer.login()
                assert await peer.ask("hello") == "hello"
            process.terminate()
            code, _, log = await ended(process)
        assert (code, "Traceback" in log) == (0, False)

    await side_by_side(check, ["import sys; sys.stdout.close()", "import os; os.close(1); os.open('/dev/full', 1)"])


async def test_a_loopback_address_needs_no_warning(folder: Path) -> None:
    async with started(folder, "--port", "0", "--host", "127.0.0.1", "--agent", "process_agents:echo") as process:
        _, banner = await told_port(process)
        process.send_signal(signal.SIGINT)
        code, rest, _ = await ended(process)
    assert (code, "WARNING" in banner + rest) == (0, False)


async def test_settings_and_keys_come_from_the_file_env(folder: Path) -> None:
    (folder / ".env").write_text("WS_AGENT=process_agents:key\nWS_PORT=0\nSOME_KEY=found\nWS_LOG_LEVEL=debug\n")
    async with started(folder, WS_LOG_LEVEL="warning") as process:
        async with talking(process) as peer:
            assert await peer.ask("key") == "found"
        process.terminate()
        code, _, log = await ended(process)
    assert (code, log) == (0, "")


async def test_which_file_env_was_read_and_what_it_set_is_said_before_its_agent_is_run(folder: Path) -> None:
    (folder / ".env").write_text("WS_AGENT=says_so:agent\nWS_PORT=0\nWS_HOST=127.0.0.1\nSOME_KEY=secret\n")
    (folder / "says_so.py").write_text("print('imported', flush=True)\nasync def agent(message):\n    return message\n")
    async with started(folder, WS_HOST="127.0.0.2", WS_MAX_TASK="5", WS_LOG_LEVEL="warning") as process:
        _, banner = await told_port(process)
        process.terminate()
        code, _, log = await ended(process)
    first, second = banner.splitlines()[:2]
    assert (first, second) == (f"{folder / '.env'} sets WS_AGENT, WS_PORT, SOME_KEY", "imported")
    assert "did you mean WS_MAX_TASKS?" in log
    assert (code, "secret" in banner + log) == (0, False)


async def test_the_file_env_is_left_alone_where_that_is_wanted(folder: Path) -> None:
    (folder / ".env").write_text("WS_AGENT=no_such_module:agent\n")
    arguments = ("--env-file", "none", "--port", "0", "--agent", "process_agents:echo")
    async with started(folder, *arguments) as process:
        _, banner = await told_port(process)
        process.terminate()
        code, _, _ = await ended(process)
    assert (code, ".env" in banner) == (0, False)


async def test_a_wrong_setting_stops_the_start_with_one_clear_line(folder: Path) -> None:
    async def check(case: tuple[list[str], str]) -> None:
        arguments, told = case
        async with started(folder, *arguments) as process:
            code, _, log = await ended(process)
        assert code == 2
        assert told in log
        assert log.count("\n") == 1

    cases = [
        (["--port", "many"], "websocket_server.py: --port: input should be a valid integer"),
        (["--agent", "no_such_module:agent"], "websocket_server.py: cannot load agent 'no_such_module:agent'"),
        (["--agent", "process_agents:missing"], "has no attribute 'missing'"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--send-buffer", "99999999999"], "--send-buffer: "),
        (["--auth-token", "s\udce9same"], "--auth-token: it is not UTF-8"),
        (["--env-file", "process_agents.py/env"], "process_agents.py/env: cannot be read: Not a directory"),
    ]
    await side_by_side(check, cases)


async def test_uvloop_runs_the_server_where_it_is_asked_for(folder: Path) -> None:
    pytest.importorskip("uvloop")
    async with started(folder, "--port", "0", "--uvloop", "--agent", "process_agents:loop") as process:
        async with talking(process) as peer:
            assert await peer.ask("which") == "uvloop"
        process.terminate()
        code, _, log = await ended(process)
    assert (code, "Traceback" in log) == (0, False)


async def test_uvloop_that_is_not_installed_stops_the_start_with_what_to_do(folder: Path) -> None:
    (folder / "uvloop.py").write_text("raise ImportError\n")  # as if it were not
    async with started(folder, "--uvloop", PYTHONPATH=str(folder)) as process:
        code, _, log = await ended(process)
    assert code == 2
    assert log.startswith("websocket_server.py: --uvloop: it is not installed;")
    assert log.endswith('pip install ".[uvloop]"\n')


async def test_a_port_that_is_taken_stops_the_start(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with started(folder, "--host", "127.0.0.1", "--port", port) as process:
            code, _, log = await ended(process)
    assert code == 1
    assert log.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in log


async def test_an_agent_that_resists_does_not_hold_up_the_end(folder: Path) -> None:
    async def check(agent: str) -> None:
        arguments = ("--port", "0", "--shutdown-grace", "0", "--agent", f"process_agents:{agent}")
        async with started(folder, *arguments) as process:
            async with talking(process) as peer:
                task_id = await peer.request("go")
                process.terminate()
                error = await peer.expect("error")
                assert (error["code"], error["task_id"]) == ("cancel_failed", task_id)
                assert await peer.closed() == 1001
            code, _, log = await ended(process)
        assert code == 0
        assert "still run" in log
        assert "Traceback" not in log

    await side_by_side(check, ["Deaf", "block"])


async def test_an_agent_that_does_not_let_itself_be_closed_does_not_hold_up_the_end(folder: Path) -> None:
    async with started(folder, "--port", "0", "--agent", "process_agents:Lingering") as process:
        async with talking(process) as peer:
            assert await peer.ask("hello") == "hello"
            process.terminate()
            assert await peer.closed() == 1001
        code, _, log = await ended(process)
    assert code == 0
    assert "1 tasks and 0 threads of agents still run" in log
    assert "Traceback" not in log


async def test_a_second_signal_skips_the_grace(folder: Path) -> None:
    arguments = ("--port", "0", "--shutdown-grace", "60", "--max-tasks", "9999", "--rate-limit", "none")
    async with started(folder, *arguments, "--agent", "process_agents:Deaf") as process:
        async with talking(process) as peer:
            await peer.send("agent_request", message="go")
            process.terminate()
            while (await peer.receive())[0] == "agent_request_received":
                await peer.send("agent_request", message="more")  # refused once the signal has arrived
            process.terminate()
            async with asyncio.timeout(1):
                await process.wait()
        code, _, log = await ended(process)
    assert code == 0
    assert "Traceback" not in log


async def test_ids_stand_on_every_line_of_a_task_and_what_was_said_on_none(folder: Path) -> None:
    arguments = ("--port", "0", "--log-level", "debug", "--agent", "process_agents:echo")
    async with started(folder, *arguments) as process:
        async with talking(process) as peer:
            task_id = await peer.request("a private matter")
            await peer.expect("agent_response")
        process.terminate()
        _, _, log = await ended(process)
    lines = [line for line in log.splitlines() if task_id in line]
    assert len(lines) >= 2
    assert all("connection=" in line and "session=" in line for line in lines)
    assert "private" not in log
