"""The process in trouble: told to stop at a bad moment, and out of descriptors."""

import asyncio
import contextlib
import resource
import signal

from tests.server_process import server_process
from tests.support import PATIENCE
from tests.wire import Wire, handshake, text, upgraded, wired


async def test_sigterm_during_a_handshake_refuses_it_and_exits() -> None:
    arguments = ("--close-timeout", "0.2")
    async with server_process(*arguments) as server, wired(server.port) as silent, wired(server.port) as half:
        half.send(handshake()[:30])
        async with upgraded(server.port):  # the server has seen the others by now
            pass
        code, seconds = await server.stop()
        assert code == 0
        assert seconds < 2
        assert await silent.lost()
        assert await half.lost()
        assert "Traceback" not in server.log


async def test_sigterm_twice_skips_the_grace() -> None:
    async with server_process("--shutdown-grace", "60") as server, upgraded(server.port, resumable=False) as wire:
        wire.send(text("agent_request", message="park"))
        await wire.receive_event()
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            while (await server.health())["status"] == "ok":
                pass
        code, seconds = await server.stop()
        assert code == 0
        assert seconds < 1
        assert "Traceback" not in server.log


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


def hardly_any_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))


async def test_whoever_is_silent_takes_nobodys_descriptor() -> None:
    async with server_process(preexec_fn=few_descriptors) as server, contextlib.AsyncExitStack() as stack:
        neighbour = await stack.enter_async_context(upgraded(server.port, resumable=False))
        silent = [await stack.enter_async_context(wired(server.port)) for _ in range(120)]
        # Long before the time for a handshake is over.
        assert await silent[0].lost(within=2)
        assert await answer(neighbour) == "still there"
        async with upgraded(server.port, resumable=False) as late:
            assert await answer(late) == "still there"
        assert server.log.count("too many sockets") == 1
        assert "no more connections" not in server.log


async def test_without_descriptors_the_server_waits_for_some_and_goes_on() -> None:
    arguments = ("--handshake-timeout", "1")
    async with (
        server_process(*arguments, preexec_fn=hardly_any_descriptors) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        neighbour = await stack.enter_async_context(upgraded(server.port, resumable=False))
        silent = [await stack.enter_async_context(wired(server.port)) for _ in range(120)]
        assert await answer(neighbour) == "still there"
        # Those that say nothing are cut, and whoever had to wait for a descriptor is served.
        assert await silent[0].lost()
        async with upgraded(server.port, resumable=False) as late:
            assert await answer(late) == "still there"
        assert server.log.count("no more connections can be accepted for now") == 1
        assert "Traceback" not in server.log


async def answer(wire: Wire) -> str:
    wire.send(text("agent_request", message="echo still there"))
    while True:
        event, data = await wire.receive_event()
        if event == "agent_response":
            return str(data["response"])
