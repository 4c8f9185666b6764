"""How code finds the turn that it runs for, and what it may say from where it runs."""

import asyncio
import threading
from typing import Any

import pytest

from agentsocket import AgentOutput, InputRequired, Turn, current_turn
from agentsocket.agent.adapters.plain import PlainAgent
from tests.support import Peer, Scripted, logged_in, serving


async def talk(turn: Turn) -> str:
    await turn.emit(AgentOutput(output="first "))
    await turn.emit(AgentOutput(output="second"))
    return str(await turn.ask(InputRequired(prompt="Well?")))


def talk_blocking(_: str) -> str:
    turn = current_turn()
    turn.emit_blocking(AgentOutput(output="first "))
    turn.emit_blocking(AgentOutput(output="second"))
    return str(turn.ask_blocking(InputRequired(prompt="Well?")))


def talk_on_a_loop_of_its_own(_: str) -> str:
    """Do as a tool does that is synchronous for its framework, and async within."""
    return asyncio.run(talk(current_turn()))


def talk_blocking_on_a_loop_of_its_own(message: str) -> str:
    async def inner() -> str:
        return talk_blocking(message)

    return asyncio.run(inner())


async def talk_in_a_task(_: str) -> str:
    async def inner() -> str:
        return await talk(current_turn())

    return await asyncio.create_task(inner())


async def talk_in_to_thread(message: str) -> str:
    return await asyncio.to_thread(talk_blocking, message)


async def converse(peer: Peer) -> tuple[str, str]:
    """Run a task that says something and asks; return what it said, and its answer."""
    task_id = await peer.request("talk")
    frames = await peer.until("input_required", "error")
    assert frames[-1][0] == "input_required", frames
    said = "".join(data["output"] for event, data in frames if event == "agent_output")
    await peer.send("input_response", task_id=task_id, input_id=frames[-1][1]["input_id"], response="fine")
    return said, str((await peer.until("agent_response", "error"))[-1][1].get("response"))


@pytest.mark.parametrize(
    "agent",
    [
        talk_blocking,
        talk_on_a_loop_of_its_own,
        talk_blocking_on_a_loop_of_its_own,
        talk_in_a_task,
        talk_in_to_thread,
    ],
)
async def test_code_speaks_and_asks_from_wherever_it_runs(agent: Any) -> None:
    async with serving(lambda: PlainAgent(agent)) as server, logged_in(server) as peer:
        assert await converse(peer) == ("first second", "fine")


@pytest.mark.parametrize("agent", [talk_blocking, talk_on_a_loop_of_its_own, talk_blocking_on_a_loop_of_its_own])
async def test_a_cancel_reaches_a_thread_that_waits_for_an_answer(agent: Any) -> None:
    async with serving(lambda: PlainAgent(agent), cancel_timeout=60) as server, logged_in(server) as peer:
        task_id = await peer.request("talk")
        await peer.until("input_required")
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.until("task_cancelled", "error"))[-1][0] == "task_cancelled"


async def test_a_thread_that_goes_on_after_a_cancel_stops_at_its_next_word() -> None:
    loop, started, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def speak(_: str) -> str:
        loop.call_soon_threadsafe(started.set)
        go.wait(10)
        while True:
            current_turn().emit_blocking(AgentOutput(output="never"))

    async with serving(lambda: PlainAgent(speak), cancel_timeout=60) as server, logged_in(server) as peer:
        task_id = await peer.request("speak")
        await started.wait()
        await peer.send("cancel_request", task_id=task_id)
        await peer.send("cancel_request", task_id="none")
        assert (await peer.expect("error"))["code"] == "unknown_task"  # the first one has been heard
        go.set()
        await peer.expect("task_cancelled")


async def test_it_blocks_no_event_loop() -> None:
    async def block(_: str, turn: Turn) -> str:
        with pytest.raises(RuntimeError, match="would block the event loop"):
            turn.ask_blocking(InputRequired(prompt="Well?"))
        with pytest.raises(RuntimeError, match="would block the event loop"):
            turn.emit_blocking(AgentOutput(output="never"))
        return "refused"

    async with serving(lambda: Scripted(block=block)) as server, logged_in(server) as peer:
        assert await peer.ask("block") == "refused"


async def test_there_is_no_turn_outside_of_one_nor_once_it_is_over() -> None:
    over, found = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def linger() -> None:
        await over.wait()
        try:
            current_turn()
        except LookupError as exc:
            found.set_result(str(exc))

    async def start(_: str, turn: Turn) -> str:
        assert current_turn() is turn
        tasks.append(asyncio.create_task(linger()))
        return "started"

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(LookupError, match="no turn runs here"):
        current_turn()
    async with serving(lambda: Scripted(start=start)) as server, logged_in(server) as peer:
        await peer.ask("start")
        over.set()
        async with asyncio.timeout(10):
            assert await found == "the task of this turn is over"
    await asyncio.gather(*tasks)
