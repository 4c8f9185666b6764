"""Agents that miss a cancel, that come too late, that set what their runs are to see: tasks, creation and closing."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import Turn
from agentsocket.agent.loader import _Factory
from agentsocket.containment.stopping import cleans_up, stop
from agentsocket.protocol.events import InputRequired
from agentsocket.telemetry import logs
from tests.support import PATIENCE, Scripted, connected, eventually, logged_in, serving

SET: ContextVar[str] = ContextVar("set", default="nothing")


async def misses_one_cancel() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


async def missing(_: str, __: Turn) -> str:
    await misses_one_cancel()
    return "not reached"


async def missing_in_a_child(_: str, __: Turn) -> str:
    await asyncio.gather(misses_one_cancel(), asyncio.Event().wait())
    return "not reached"


@pytest.mark.parametrize("script", [missing, missing_in_a_child])
async def test_a_cancel_that_is_missed_once_stops_the_task_all_the_same(script: Any) -> None:
    async with serving(lambda: Scripted(go=script)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await peer.send("cancel_request", task_id=task_id)
        assert await peer.expect("task_cancelled") == {"task_id": task_id}


async def test_a_time_out_that_is_missed_once_stops_the_task_all_the_same() -> None:
    async with serving(lambda: Scripted(go=missing), agent_timeout=0.05) as server, logged_in(server) as peer:
        await peer.request("go")
        assert (await peer.expect("error"))["code"] == "agent_timeout"


async def test_nothing_runs_on_after_its_session_though_it_missed_the_cancel() -> None:
    class Missing(Scripted):
        async def aclose(self) -> None:
            await misses_one_cancel()

    async with serving(lambda: Missing(go=missing), cancel_timeout=0.4) as server:
        before = asyncio.all_tasks()
        async with logged_in(server) as peer:
            await peer.request("go")
        await eventually(lambda: not server.manager.running)
        await eventually(lambda: not asyncio.all_tasks() - before)


async def test_a_shutdown_that_is_missed_once_stops_the_tasks_all_the_same() -> None:
    async with serving(lambda: Scripted(go=missing)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await asyncio.gather(server.manager.drain(0))
        assert await peer.expect("task_cancelled") == {"task_id": task_id}


async def says_goodbye(said: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.15)  # three times what is between two cancels
        said.append("goodbye")


async def in_a_generator(said: list[str]) -> None:
    async def generator() -> AsyncIterator[int]:
        await says_goodbye(said)
        yield 1

    async for _ in generator():
        pass


async def in_a_context_manager(said: list[str]) -> None:
    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0.15)
            said.append("goodbye")

    async with manager():
        await asyncio.Event().wait()


async def in_a_child(said: list[str]) -> None:
    await asyncio.gather(says_goodbye(said))


async def in_a_group(said: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(says_goodbye(said))


@pytest.mark.parametrize("where", [says_goodbye, in_a_generator, in_a_context_manager, in_a_child, in_a_group])
async def test_what_cleans_up_after_a_cancel_is_not_cancelled_again(where: Any) -> None:
    said: list[str] = []

    async def script(_: str, __: Turn) -> str:
        await where(said)
        return "not reached"

    async with serving(lambda: Scripted(go=script)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await peer.send("cancel_request", task_id=task_id)
        await peer.expect("task_cancelled")
        assert said == ["goodbye"]


async def test_a_clean_up_that_hangs_is_cancelled_in_the_end() -> None:
    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    task = asyncio.create_task(hangs())
    await asyncio.sleep(0)
    assert not cleans_up(task)
    stop(task, 0.3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cleans_up(task)
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_question_of_a_task_that_is_over_is_not_waited_for(abandoned: bool) -> None:  # noqa: FBT001
    left: list[asyncio.Task[Any]] = []
    gate = asyncio.Event()

    async def script(_: str, turn: Turn) -> str:
        left.append(asyncio.create_task(turn.ask(InputRequired(prompt="?", kind="text"))))
        await asyncio.sleep(0)
        while abandoned and not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        return "fine"

    async with serving(lambda: Scripted(go=script), cancel_timeout=0.1) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await peer.expect("input_required")
        if abandoned:
            await peer.send("cancel_request", task_id=task_id)
        await peer.until("agent_response", "error")
        await eventually(left[0].done)
        assert left[0].cancelled()
        gate.set()


# ---- Agents that come too late ---------------------------------------------------------------------------------------


class Late:
    """Factories that make an agent when the gate opens, whatever comes before."""

    def __init__(self) -> None:
        self.agent = Scripted()
        self.gate, self.thread_gate = asyncio.Event(), threading.Event()
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def stubborn(self) -> Scripted:
        self.begun.set()
        while not self.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.gate.wait()
        return self.agent

    def synchronous(self) -> Scripted:
        self._loop.call_soon_threadsafe(self.begun.set)
        self.thread_gate.wait(PATIENCE)
        return self.agent

    @contextlib.asynccontextmanager
    async def manager(self) -> AsyncIterator[Scripted]:
        yield await self.stubborn()
        await self.agent.aclose()

    @contextlib.contextmanager
    def synchronous_manager(self) -> Iterator[Scripted]:
        yield self.synchronous()
        self.agent.closed += 1

    def open(self) -> None:
        self.gate.set()
        self.thread_gate.set()


@pytest.mark.parametrize("make", [Late.stubborn, Late.synchronous, Late.manager, Late.synchronous_manager])
@pytest.mark.parametrize("given_up", ["the connection is lost", "it took too long", "the server shuts down"])
async def test_an_agent_that_is_made_after_its_login_was_given_up_is_closed(
    make: Callable[[Late], Any], given_up: str, caplog: pytest.LogCaptureFixture
) -> None:
    late = Late()
    timeout = 0.05 if given_up == "it took too long" else PATIENCE
    async with serving(
        _Factory(lambda: make(late)), agent_creation_timeout=timeout, ping_interval=None, close_timeout=0.1
    ) as server:
        async with connected(server) as peer:
            await peer.send("login", resumable=True)
            async with asyncio.timeout(PATIENCE):
                await late.begun.wait()
            if given_up == "it took too long":
                assert (await peer.expect("error"))["code"] == "agent_unavailable"
            elif given_up == "the server shuts down":
                await server.manager.drain(0)
        if given_up == "the connection is lost":
            await eventually(lambda: not server.connections)
        late.open()
        await eventually(lambda: late.agent.closed == 1)
        assert not server.manager.sessions
    assert "never retrieved" not in caplog.text


# ---- Context ---------------------------------------------------------------------------------------------------------


class Seeing(Scripted):
    """Says what is set, in the run and in a thread; and sets something for nobody but itself."""

    seen: str

    async def run(self, _: str, __: Turn) -> str:
        seen = f"{SET.get()} {await in_thread(SET.get)}"
        SET.set("by a run")
        await asyncio.sleep(0)
        return seen

    async def aclose(self) -> None:
        self.seen = SET.get()


made: list[Seeing] = []


def new() -> Seeing:
    made.append(Seeing())
    SET.set(f"by factory {len(made)}")
    return made[-1]


async def asynchronous() -> Seeing:
    return new()


class Subclass(Seeing):
    def __init__(self) -> None:
        super().__init__()
        made.append(self)
        SET.set(f"by factory {len(made)}")


@contextlib.asynccontextmanager
async def manager() -> AsyncIterator[Seeing]:
    before = SET.set("by the manager")
    try:
        yield new()
    finally:
        SET.reset(before)


@contextlib.contextmanager
def synchronous_manager() -> Iterator[Seeing]:
    before = SET.set("by the manager")
    try:
        yield new()
    finally:
        SET.reset(before)


@pytest.mark.parametrize("factory", [new, asynchronous, Subclass, manager, synchronous_manager])
async def test_runs_and_closing_see_what_their_own_factory_has_set(
    factory: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    made.clear()
    async with serving(_Factory(factory)) as server:
        for number in (1, 2, 3):  # the first is made in a thread, those that follow a quick one are not
            async with logged_in(server) as peer:
                for _ in range(2):
                    assert await peer.ask("go") == f"by factory {number} by factory {number}"
                await peer.send("logout")
                await peer.expect("logout_response")
            assert made[-1].seen == f"by factory {number}"
    assert SET.get() == "nothing"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_ids_in_the_log_are_those_of_who_asks_and_not_of_who_logged_in() -> None:
    async def ids(_: str, __: Turn) -> str:
        return logs.IDS.get()

    async with serving(lambda: Scripted(ids=ids)) as server:
        async with connected(server) as first:
            opened = await first.login(resumable=True)
            assert "connection=1 session=" in await first.ask("ids")
        async with connected(server) as second:
            await second.login(session_id=opened["session_id"], resume_token=opened["resume_token"], last_seq=0)
            await second.until("agent_response")
            assert f"connection=2 session={opened['session_id']} task=" in await second.ask("ids")
