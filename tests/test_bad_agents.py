"""Agents that fail, block, resist and say nonsense: their own task ends as promised, and nobody else notices."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from agentsocket.agent.contract import Agent, Turn
from agentsocket.protocol.events import AgentOutput, ToolCall, ToolResult
from agentsocket.telemetry.watchdog import Watchdog
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving

TERMINAL = ("agent_response", "error", "task_cancelled")


@contextlib.asynccontextmanager
async def running(script: Any, **settings: Any) -> AsyncIterator[tuple[Peer, Peer]]:
    """Give a client of an agent that does this on "go", and a neighbour of it, who is served to the end."""
    async with (
        serving(lambda: Scripted(go=script), **settings) as server,
        logged_in(server) as neighbour,
        logged_in(server) as peer,
    ):
        yield peer, neighbour
        assert await neighbour.ask("after") == "after"
        assert await peer.ask("after") == "after"


def tracebacks(log: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in log.records if record.exc_info]


async def raises_at_once(_: str, __: Turn) -> str:
    raise ValueError("a secret")


async def raises_midway(_: str, turn: Turn) -> str:
    await turn.emit(AgentOutput(output="so far"))
    await turn.emit(ToolCall(tool_name="tool"))
    raise ValueError("a secret")


async def raises_in_its_cleanup(_: str, turn: Turn) -> str:
    try:
        await turn.emit(AgentOutput(output="so far"))
        return "fine"
    finally:
        raise ValueError("a secret")  # that is the fault


async def ends_the_process(_: str, __: Turn) -> str:
    raise SystemExit(3)


async def cancels_itself(_: str, __: Turn) -> str:
    raise asyncio.CancelledError


async def returns_a_number(_: str, __: Turn) -> Any:
    return 42


async def returns_nothing(_: str, __: Turn) -> Any:
    return None


async def emits_a_string(_: str, turn: Any) -> str:
    await turn.emit("text")
    return "fine"


async def emits_none(_: str, turn: Any) -> str:
    await turn.emit(None)
    return "fine"


@pytest.mark.parametrize(
    "script",
    [
        raises_at_once,
        raises_midway,
        raises_in_its_cleanup,
        ends_the_process,
        cancels_itself,
        returns_a_number,
        returns_nothing,
        emits_a_string,
        emits_none,
    ],
)
async def test_an_agent_that_fails_fails_its_task_and_its_reason_stays_in_the_log(
    script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(script) as (peer, _):
        await peer.request("go")
        *before, (event, data) = await peer.until(*TERMINAL)
        assert event == "error"
        assert data["code"] == "agent_failed"
        assert "secret" not in str(data)
        calls = [event for event, _ in before]
        assert calls.count("tool_call") == calls.count("tool_result")
        (record,) = tracebacks(caplog)
        assert data["error_id"] in record.getMessage()


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Wordless:
    def __str__(self) -> str:
        raise ValueError("a secret")


ODD_VALUES: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a cycle": cycle(),
    "nesting of 300": nested(300),
    "nesting of 100,000": nested(100_000),
    "an object whose text fails": Wordless(),
    "a lone surrogate": "a\ud800b",
    "a lone surrogate in a key": {"\ud800": 1},
    "a number of 5,000 digits": 10**5000,
    "an object": object(),
    "bytes": b"\xff\x00",
    "keys that are no strings": {1: 2, (3, 4): 5},
    "10 MB": "x" * 10_000_000,
}


@pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES.keys())
async def test_whatever_a_tool_returns_the_client_can_read_it(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def script(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="tool", tool_kwargs={"value": value}))
        await turn.emit(ToolResult(tool_name="tool", tool_output=value))
        return "fine"

    async with running(script) as (peer, _):
        await peer.request("go")
        events = await peer.until(*TERMINAL)
        assert [event for event, _ in events] == ["tool_call", "tool_result", "agent_response"]
        assert not tracebacks(caplog)


async def test_ten_megabytes_of_text_reach_the_client_whole() -> None:
    said = "".join(chr(0x4E00 + number % 20000) for number in range(3_300_000))

    async def script(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output=said))
        return "fine"

    async with running(script) as (peer, _):
        await peer.request("go")
        *pieces, _ = await peer.until(*TERMINAL)
        assert "".join(data["output"] for _, data in pieces) == said


async def test_nothing_of_a_task_follows_its_end_though_it_started_others(caplog: pytest.LogCaptureFixture) -> None:
    left: list[asyncio.Task[None]] = []
    gate = asyncio.Event()

    async def goes_on(turn: Turn) -> None:
        await gate.wait()
        await turn.emit(AgentOutput(output="too late"))

    async def script(_: str, turn: Turn) -> str:
        left.append(asyncio.create_task(goes_on(turn)))
        return "fine"

    async with running(script) as (peer, _):
        assert await peer.ask("go") == "fine"
        gate.set()
        await eventually(left[0].done)
        assert left[0].cancelled()
        assert not tracebacks(caplog)


async def test_an_agent_that_goes_on_after_its_cancellation_is_abandoned(caplog: pytest.LogCaptureFixture) -> None:
    gate, parked = asyncio.Event(), asyncio.Event()

    async def script(_: str, turn: Turn) -> str:
        while not gate.is_set():
            parked.set()
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        await turn.emit(AgentOutput(output="too late"))
        return "too late"

    async with running(script, cancel_timeout=0.1) as (peer, neighbour):
        task_id = await peer.request("go")
        await parked.wait()
        await peer.send("cancel_request", task_id=task_id)
        assert await neighbour.ask("meanwhile") == "meanwhile"
        assert (await peer.expect("error"))["code"] == "cancel_failed"
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.expect("error"))["code"] == "unknown_task"
        gate.set()
        # What comes next on this connection is the answer to the next request: running() sees to that.
    assert not tracebacks(caplog)


async def test_an_agent_that_answers_its_cancellation_with_a_result_is_cancelled() -> None:
    parked = asyncio.Event()

    async def script(_: str, __: Turn) -> str:
        try:
            parked.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "never mind"
        return "not reached"

    async with running(script) as (peer, _):
        task_id = await peer.request("go")
        await parked.wait()
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.expect("task_cancelled"))["task_id"] == task_id


async def test_an_agent_that_speaks_without_end_can_be_cancelled_and_starves_nobody() -> None:
    async def script(_: str, turn: Turn) -> str:
        while True:
            await turn.emit(AgentOutput(output="and "))

    async with running(script) as (peer, neighbour):
        task_id = await peer.request("go")
        await peer.expect("agent_output")
        assert await neighbour.ask("meanwhile") == "meanwhile"
        await peer.send("cancel_request", task_id=task_id)
        *_, (event, data) = await peer.until(*TERMINAL)
        assert (event, data) == ("task_cancelled", {"task_id": task_id})


async def test_an_agent_that_blocks_the_loop_is_found_and_told_once_with_where_it_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def blocks_the_loop(_: str, __: Turn) -> str:
        time.sleep(0.4)  # noqa: ASYNC251  # that is the fault
        return "fine"

    with Watchdog(0.1):
        async with running(blocks_the_loop) as (peer, _):
            assert await peer.ask("go") == "fine"
            await eventually(lambda: sum("stood still" in record.getMessage() for record in caplog.records) == 1)
    found, for_how_long = (record.getMessage() for record in caplog.records if record.name == "agentsocket.watchdog")
    assert "in blocks_the_loop" in found
    assert "time.sleep(0.4)" in found
    assert for_how_long.startswith("the event loop stood still for 0.")


async def test_an_agent_that_cannot_be_closed_does_not_hold_up_the_logout(caplog: pytest.LogCaptureFixture) -> None:
    class Unclosable(Scripted):
        async def aclose(self) -> None:
            raise ValueError("a secret")

    async with serving(Unclosable) as server, logged_in(server) as peer:
        await peer.send("logout")
        await peer.expect("logout_response")
        assert len(tracebacks(caplog)) == 1
        await peer.login()


async def test_an_agent_whose_closing_hangs_does_not_hold_up_the_logout(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(Scripted):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    async with serving(Hanging, cancel_timeout=0.1) as server, logged_in(server) as peer:
        await peer.send("logout")
        await peer.expect("logout_response")
        await peer.login()
    assert all("could not be closed" in record.getMessage() for record in tracebacks(caplog))


async def fails() -> Agent:
    raise ValueError("a secret")


async def hangs() -> Agent:
    await asyncio.Event().wait()
    raise AssertionError


async def exits() -> Agent:
    raise SystemExit(3)


@pytest.mark.parametrize("create", [fails, hangs, exits])
async def test_where_no_agent_can_be_created_the_login_says_so_and_may_be_tried_again(
    create: Any, caplog: pytest.LogCaptureFixture
) -> None:
    left = [create, create]

    def create_next() -> Agent | Awaitable[Agent]:
        return left.pop()() if left else Scripted()

    async with serving(create_next, agent_creation_timeout=0.1) as server, connected(server) as peer:
        for _ in range(2):
            await peer.send("login")
            error = await peer.expect("error")
            assert error["code"] == "agent_unavailable"
            assert "secret" not in str(error)
            assert error["error_id"] in tracebacks(caplog)[-1].getMessage()
        await peer.login()
        assert await peer.ask("now") == "now"
