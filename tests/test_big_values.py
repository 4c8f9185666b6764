"""Big values of tools: bounded, cut where that is told, in order, and nobody waits while they are encoded."""

import asyncio
import dataclasses
import json
import threading
from collections import deque
from typing import Any

import pytest
from pydantic import BaseModel, Field

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, ToolCall, ToolResult
from agentsocket.session import speech
from agentsocket.session.big_values import BIG, encode_big, weight
from agentsocket.session.encoding import jsonable
from tests.support import Scripted, logged_in, serving

ROWS = [{"id": number, "name": f'row "{number}" é', "tags": ["a", None, 1.5]} for number in range(1000)]


@dataclasses.dataclass
class Table:
    rows: list[Any]
    title: str = "rows"


class Report(BaseModel):
    rows: list[Any]
    secret: str = Field("hidden", exclude=True)


VALUES: dict[str, Any] = {
    "rows": ROWS,
    "rows within": {"deep": {"rows": ROWS, 5: [1]}, "é": None},
    "a tuple of lists": (ROWS[:400], [], {}, ROWS[400:]),
    "a deque": deque(ROWS),
    "a dataclass": Table(ROWS),
    "a model": Report(rows=ROWS),
    "models": [Report(rows=ROWS[:5])] * 400,
    "text": 'é\n"\U0001f600' * 12_000,
    "plain text": "x" * 100_000,
    "bytes": b"\xff\x00\x7f" * 20_000 + b"x",
    "numbers": [*range(20_000), float("nan"), float("inf"), 10**300],
    "many fields": {f"field {number}": number for number in range(20_000)},
    "deep": [ROWS, json.loads("[" * 150 + "1" + "]" * 150)],
    "short items": ["é"] * 50_000,
    "broken surrogates": ["a\ud800b", *ROWS],
    "a cycle": ROWS[:10],  # again and again
    "too deep": [ROWS, json.loads("[" * 500 + "1" + "]" * 500)],
}
VALUES["a cycle"].append(VALUES["a cycle"])
HUGE_NUMBER = [10**5000, *ROWS]  # of which Python makes no text


@pytest.mark.parametrize("value", [*VALUES.values(), HUGE_NUMBER], ids=[*VALUES.keys(), "a huge number"])
def test_a_big_value_is_encoded_as_a_small_one_would_be(value: Any) -> None:
    assert weight(value, BIG) > BIG
    assert json.loads(encode_big(value, None)) == jsonable(value)


@pytest.mark.parametrize("limit", [300, 5_000, 30_000])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_that_is_too_big_is_cut_and_says_so(value: Any, limit: int) -> None:
    encoded = encode_big(value, limit)
    assert limit / 3 - 130 < len(encoded) <= limit
    assert "[cut: " in encoded.decode()
    json.loads(encoded)
    assert b"hidden" not in encoded


def test_what_is_cut_out_is_counted_where_it_was() -> None:
    assert json.loads(encode_big("x" * 1000, 500)) == "x" * 371 + "… [cut: 629 of 1000 characters are left out]"
    rows = json.loads(encode_big({"rows": ROWS, "more": 1}, 2000))
    assert rows["rows"][:-1] == ROWS[: len(rows["rows"]) - 1]
    assert rows["rows"][-1] == f"[cut: {1001 - len(rows['rows'])} of 1000 items are left out]"


async def test_the_result_of_a_tool_is_bounded_by_the_setting_and_what_it_is_called_with_is_not() -> None:
    async def go(_: str, turn: Turn) -> str:
        for value in ("x" * 5000, ROWS, "\x00" * 900, {"a": 1}):
            await turn.emit(ToolCall(tool_name='"tool_output":null', tool_kwargs={"value": value}))
            await turn.emit(ToolResult(tool_name='"tool_output":null', tool_output=value))
        return "done"

    async with serving(lambda: Scripted(go=go), max_tool_output=2000) as server, logged_in(server) as peer:
        await peer.request("go")
        for value in ("x" * 5000, ROWS, "\x00" * 900, {"a": 1}):
            call = await peer.expect("tool_call")
            assert call["tool_kwargs"] == {"value": value}
            result = await peer.expect("tool_result")
            assert (result["tool_name"], result["tool_call_id"]) == ('"tool_output":null', call["tool_call_id"])
            assert ("[cut: " in str(result["tool_output"])) == (value != {"a": 1})
            assert len(json.dumps(result["tool_output"], ensure_ascii=False)) <= 2500
        await peer.expect("agent_response")


async def test_without_a_bound_a_result_arrives_whole() -> None:
    async def go(_: str, turn: Turn) -> str:
        await turn.emit(ToolResult(tool_name="tool", tool_output=ROWS * 10))
        return "done"

    async with serving(lambda: Scripted(go=go), max_tool_output=None) as server, logged_in(server) as peer:
        await peer.request("go")
        assert (await peer.expect("tool_result"))["tool_output"] == ROWS * 10


async def test_a_big_value_is_encoded_in_a_thread_and_what_is_said_meanwhile_comes_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoding, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(value: Any, limit: int | None) -> bytes:
        loop.call_soon_threadsafe(encoding.set)
        assert go_on.wait(5)
        return encode_big(value, limit)

    monkeypatch.setattr(speech, "encode_big", slowly)

    async def go(_: str, turn: Turn) -> str:
        big = asyncio.create_task(turn.emit(ToolCall(tool_name="big", tool_kwargs={"rows": ROWS})))
        await encoding.wait()
        others = [
            asyncio.create_task(turn.emit(event))
            for event in (
                AgentOutput(output="one"),
                ToolResult(tool_name="big", tool_output=1),
                AgentOutput(output="2"),
            )
        ]
        await asyncio.gather(big, *others)
        return "done"

    async with serving(lambda: Scripted(go=go)) as server, logged_in(server) as peer, logged_in(server) as neighbour:
        await peer.request("go")
        await encoding.wait()
        assert await neighbour.ask("meanwhile") == "meanwhile"
        go_on.set()
        frames = await peer.until("agent_response")
    assert [event for event, _ in frames] == [
        "tool_call",
        "agent_output",
        "tool_result",
        "agent_output",
        "agent_response",
    ]


async def test_a_task_that_is_cancelled_while_a_big_value_is_encoded_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoding, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(value: Any, limit: int | None) -> bytes:
        loop.call_soon_threadsafe(encoding.set)
        go_on.wait(5)
        return encode_big(value, limit)

    monkeypatch.setattr(speech, "encode_big", slowly)

    async def go(_: str, turn: Turn) -> str:
        await turn.emit(ToolResult(tool_name="big", tool_output=ROWS))
        return "done"

    async with serving(lambda: Scripted(go=go)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await encoding.wait()
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.expect("task_cancelled"))["task_id"] == task_id
        go_on.set()
        assert await peer.ask("after") == "after"
