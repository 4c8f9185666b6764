"""Whatever an agent does to its process, the server goes on; and when that is to end, it ends. On either loop."""

import asyncio
import contextlib
import importlib.util
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.containment.agents import AWAITED, UNAWAITED
from tests.server_process import ServerProcess, server_process
from tests.support import PATIENCE, Peer, side_by_side

AGENT = f"{Path(__file__).with_name('agents.py')}:Agent"
TERMINAL = ("agent_response", "error", "task_cancelled")


LOOPS = ["--no-uvloop", *(["--uvloop"] if importlib.util.find_spec("uvloop") else [])]


@contextlib.asynccontextmanager
async def talking(*flags: str, agent: str = AGENT) -> AsyncIterator[tuple[ServerProcess, Peer]]:
    async with server_process("--shutdown-grace", "0", *flags, agent=agent) as server, client(server) as peer:
        yield server, peer


@contextlib.asynccontextmanager
async def client(server: ServerProcess) -> AsyncIterator[Peer]:
    async with connect(f"ws://127.0.0.1:{server.port}", ping_interval=None) as socket:
        peer = Peer(socket)
        await peer.login()
        yield peer


async def logged(server: ServerProcess, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in server.log:  # noqa: ASYNC110  # another process has no event
            await asyncio.sleep(0.01)


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in status(pid)
    except OSError:
        return False


async def test_an_exit_anywhere_on_the_loop_fails_its_own_task_and_nobody_elses() -> None:
    async def check(loop: str) -> None:
        async with talking(loop) as (server, peer), client(server) as neighbour:
            for script in (*AWAITED, *UNAWAITED):
                await peer.request(script.__name__)
                event, data = (await peer.until(*TERMINAL))[-1]
                assert (event, data.get("code")) == ("error", "agent_failed"), script
                await logged(server, data["error_id"])
                assert await neighbour.ask("echo") == "echo"
            assert (await server.stop())[0] == 0

    await side_by_side(check, LOOPS)


async def test_an_exit_that_the_agent_catches_or_has_left_behind_fails_nothing() -> None:
    async def check(loop: str) -> None:
        async with talking(loop) as (server, peer):
            assert await peer.ask("caught") == "caught"
            assert await peer.ask("left_behind") == "done before"
            assert await peer.ask("stops_the_loop") == "still here"
            server.process.send_signal(signal.SIGINT)  # a real one ends it all the same
            async with asyncio.timeout(PATIENCE):
                assert await server.process.wait() == 0

    await side_by_side(check, LOOPS)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
async def test_a_forked_child_dies_of_its_own_signals_serves_nothing_and_holds_no_socket() -> None:
    async def check(loop: str) -> None:
        async with talking(loop) as (server, peer):
            for message, right in {
                "terminated": "{-15}",
                "terminated_in_a_thread": "{-15}",
                "interrupted": "ended",
                "pool": "elsewhere",
                "forked_exit": "7",
                "forked_return": "1",
                "forked_in_a_thread": "1",
                "preexec": "-15",
                "sockets": "0",
            }.items():
                assert await peer.ask(message) == right, message
            assert "shutting down" not in server.log
            assert (await server.stop())[0] == 0

    await side_by_side(check, LOOPS)


async def test_what_agents_leave_running_ends_with_the_server() -> None:
    async def check(loop: str) -> None:
        async with talking(loop) as (server, peer):
            children = [int(pid) for pid in (await peer.ask("everything")).split()]
            code, seconds = await server.stop()
            assert (code, seconds < 2) == (0, True)
            assert len(children) >= 3
            assert not any(runs(pid) for pid in children)
            assert "an exit function was called" in server.log
            assert "Traceback" not in server.log

    await side_by_side(check, LOOPS)


async def test_where_nothing_hangs_nothing_is_waited_for() -> None:
    async with talking() as (server, peer):
        await peer.ask("nothing_that_hangs")
        code, seconds = await server.stop()
        assert (code, seconds < 1) == (0, True)
        assert "an exit function was called" in server.log


async def test_neither_an_exit_function_nor_a_blocked_loop_keeps_the_process() -> None:
    async def check(message: str) -> None:
        async with talking("--block-warning", "0.1") as (server, peer):
            await peer.request(message)
            if message == "blocks":
                await logged(server, "stands still")
            else:
                await peer.expect("agent_response")
            code, seconds = await server.stop()
            assert (code, seconds < 2) == (0, True)
            assert "ending without waiting" in server.log

    await side_by_side(check, ["hangs_at_exit", "blocks"])


async def test_a_call_that_lets_no_thread_run_does_not_keep_the_process() -> None:
    async def check(loop: str) -> None:
        async with talking(loop, "--block-warning", "none") as (server, peer):
            await peer.request("computes")
            await asyncio.sleep(0.2)  # nothing of the process can tell that it has begun
            _, seconds = await server.stop()
            assert seconds < 3
            assert "in computes" in server.log  # where it stood

    await side_by_side(check, LOOPS)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_a_second_signal_ends_a_blocked_server_within_a_second() -> None:
    async with talking("--shutdown-grace", "60", "--block-warning", "0.1") as (server, peer):
        await peer.request("blocks")
        await logged(server, "stands still")
        server.process.send_signal(signal.SIGINT)  # not the same twice: two that wait are one
        while "ShdPnd:\t0000000000000000" not in status(server.process.pid):  # noqa: ASYNC110
            # While one waits for the main thread, the next is given to any other, which does not wake that one.
            await asyncio.sleep(0.01)
        code, seconds = await server.stop()
        assert (code, seconds < 1) == (0, True)


async def test_the_shutdown_says_what_it_waits_for_and_how_to_end_it_now() -> None:
    async with talking("--shutdown-grace", "60") as (server, peer):
        await peer.request("task")
        server.process.terminate()
        await logged(server, "shutting down")
        assert "waiting for 1 running tasks, 60 s at most; a second Ctrl-C ends it now" in server.log
        assert (await server.stop())[0] == 0


async def test_hung_calls_hold_up_no_login_and_are_told_once() -> None:
    agent = AGENT.replace(":Agent", ":hangs")
    async with talking("--max-threads", "2", agent=agent) as (server, peer):
        for _ in range(5):
            await peer.request("hang")
        async with client(server) as other:
            await other.request("waits")
        await logged(server, "are busy")
        assert server.log.count("all 2 threads of 'agent-thread' are busy") == 1
        assert (await server.stop())[0] == 0
