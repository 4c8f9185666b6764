"""An agent may say more than text; a client is sent what it has named, and an old one sees none of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from agentsocket.agent.adapters.plain import PlainAgent
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, AgentResponse, Emitted, ToolProgress
from tests.content.uploading import FEATURES
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving
from tests.test_resume import drop, resume

SAID: list[Emitted] = [
    AgentReasoning(reasoning="It is "),
    AgentReasoning(reasoning="noon."),
    ToolProgress(tool_call_id="c", progress=3, total=10, message="page 3"),
    ToolProgress(progress=0.5),
    AgentData(name="chart", data={"series": [1, None]}, id="c1"),
    AgentData(name="typing", data=None, transient=True),
]

ON_THE_WIRE = [
    ("agent_reasoning", {"reasoning": "It is "}),
    ("agent_reasoning", {"reasoning": "noon."}),
    ("tool_progress", {"tool_call_id": "c", "progress": 3, "total": 10, "message": "page 3"}),
    ("tool_progress", {"progress": 0.5}),
    ("agent_data", {"name": "chart", "data": {"series": [1, None]}, "id": "c1"}),
    ("agent_data", {"name": "typing", "data": None, "transient": True}),
]

FEATURE = {"agent_reasoning": "reasoning", "tool_progress": "progress", "agent_data": "data", "agent_file": "files"}


async def everything(_: str, turn: Turn) -> str:
    for event in SAID:
        await turn.emit(event)
    await turn.send_file(b"abc", name="abc.txt")
    return "said"


def told(frames: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the frames without what each has of its task and session."""
    return [(event, {n: v for n, v in data.items() if n not in {"task_id", "seq"}}) for event, data in frames]


async def test_who_names_the_features_is_sent_each_event_in_order() -> None:
    async with serving(lambda: Scripted(everything=everything)) as server, connected(server) as peer:
        answer = await peer.login(features=FEATURES)
        assert set(FEATURES) <= set(answer["features"])
        await peer.request("everything")
        frames = told(await peer.until("agent_response"))
        assert frames[: len(SAID)] == ON_THE_WIRE
        assert [event for event, _ in frames[len(SAID) :]] == ["agent_file", "agent_response"]


@pytest.mark.parametrize("features", [None, [], ["heartbeat"], *([name] for name in FEATURES)], ids=str)
async def test_what_a_client_has_not_named_it_is_not_sent_and_its_numbers_have_no_gap(features: list[str]) -> None:
    named = {} if features is None else {"features": features}
    async with serving(lambda: Scripted(everything=everything)) as server, connected(server) as peer:
        await peer.login(resumable=True, **named)
        await peer.request("everything")
        frames = await peer.until("agent_response")
        assert {event for event, _ in frames[:-1]} == {e for e, name in FEATURE.items() if name in (features or ())}
        assert [data["seq"] for _, data in frames] == list(range(2, len(frames) + 2))


async def pieces(_: str) -> AsyncIterator[Any]:
    yield "It is "
    for event in SAID:
        yield event
    yield AgentOutput(output="noon.")


def pieces_in_a_thread(_: str) -> Iterator[Any]:
    yield "It is "
    yield from SAID
    yield AgentOutput(output="noon.")


@pytest.mark.parametrize("function", [pieces, pieces_in_a_thread])
async def test_a_generator_may_yield_events_beside_its_text(function: Any) -> None:
    async with serving(lambda: PlainAgent(function)) as server, logged_in(server, features=FEATURES) as peer:
        await peer.request("hello")
        frames = told(await peer.until("agent_response"))
        assert frames == [
            ("agent_output", {"output": "It is "}),
            *ON_THE_WIRE,
            ("agent_output", {"output": "noon."}),
            ("agent_response", {"response": "It is noon."}),
        ]


@pytest.mark.parametrize("event", SAID[::2], ids=lambda event: type(event).__name__)
async def test_who_says_much_that_its_client_does_not_understand_lets_others_speak(event: Emitted) -> None:
    heard = asyncio.Event()

    async def rave(_: str, turn: Turn) -> str:
        for number in range(20_000):
            if heard.is_set():
                return str(number)
            await turn.emit(event)
        return "nobody"

    async def hear(*_: object) -> str:
        heard.set()
        return "heard"

    async with serving(lambda: Scripted(rave=rave, hear=hear)) as server, logged_in(server) as peer:
        await peer.request("rave")
        await peer.send("agent_request", message="hear")
        ends = [await peer.until("agent_response"), await peer.until("agent_response")]
        assert "nobody" not in [frames[-1][1]["response"] for frames in ends]


@pytest.mark.parametrize("event", SAID[::2], ids=lambda event: type(event).__name__)
async def test_many_small_events_are_not_all_said_before_it_is_the_others_turn(event: Emitted) -> None:
    async def flood(_: str, turn: Turn) -> str:
        turns: list[int] = []
        for said in range(1000):
            if not turns:
                asyncio.get_running_loop().call_soon(turns.append, said)
            await turn.emit(event)
            if turns:
                return str(said)
        return "never"

    async with serving(lambda: Scripted(flood=flood)) as server, logged_in(server, features=FEATURES) as peer:
        await peer.request("flood")
        assert int((await peer.until("agent_response"))[-1][1]["response"]) <= 100  # some milliseconds


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**309, -(10**5000)], ids=["nan", "inf", "1", "2"])
async def test_a_number_that_nobody_could_read_is_left_out(number: float) -> None:
    async def send(_: str, turn: Turn) -> str:
        await turn.emit(ToolProgress(progress=number, total=number, message="on"))
        await turn.emit(ToolProgress(progress=0, total=2**63))
        return "sent"

    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=["progress"]) as peer:
        await peer.request("send")
        assert told(await peer.until("agent_response"))[:2] == [
            ("tool_progress", {"message": "on"}),
            ("tool_progress", {"progress": 0, "total": 2**63}),
        ]


async def test_what_is_no_event_fails_the_task_by_name(caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(_: str) -> AsyncIterator[Any]:
        yield 3

    async with serving(lambda: PlainAgent(wrong)) as server, logged_in(server) as peer:
        await peer.request("hello")
        assert (await peer.expect("error"))["code"] == "agent_failed"
        assert "yields str and events, not int" in caplog.text


async def test_structured_output_comes_as_it_is_to_everybody() -> None:
    big = [{"row": number, "text": "x" * 50} for number in range(2000)]

    async def answer(rest: str, _: Turn) -> AgentResponse:
        return AgentResponse(response="Oslo", result=big if rest else {"city": "Oslo", "at": {1.5}})

    async with serving(lambda: Scripted(answer=answer)) as server, logged_in(server) as peer:
        await peer.request("answer")
        response = await peer.expect("agent_response")
        assert (response["response"], response["result"]) == ("Oslo", {"city": "Oslo", "at": [1.5]})
        await peer.request("answer big")
        assert (await peer.expect("agent_response"))["result"] == big


async def test_data_of_any_size_and_kind_arrives_and_keeps_its_place() -> None:
    big = {"rows": ["é" * 100] * 1000, '"data":null': float("nan")}

    async def send(_: str, turn: Turn) -> str:
        await asyncio.gather(
            turn.emit(AgentData(name='a "name"', data=big)), turn.emit(AgentData(name="next", data=b"\x00"))
        )
        return "sent"

    async with serving(lambda: Scripted(send=send)) as server, logged_in(server, features=["data"]) as peer:
        await peer.request("send")
        assert told(await peer.until("agent_response")) == [
            ("agent_data", {"name": 'a "name"', "data": {**big, '"data":null': None}}),
            ("agent_data", {"name": "next", "data": "AA=="}),
            ("agent_response", {"response": "sent"}),
        ]


async def test_reasoning_may_be_cut_within_a_character_and_be_as_long_as_it_likes() -> None:
    high, low = "\ud83d", "\ude00"

    async def think(_: str, turn: Turn) -> str:
        for piece in ("a", high, low, "x" * 600_000, high):
            await turn.emit(AgentReasoning(reasoning=piece))
        return "thought"

    async with serving(lambda: Scripted(think=think)) as server, logged_in(server, features=["reasoning"]) as peer:
        await peer.request("think")
        frames = await peer.until("agent_response")
        text = "".join(data["reasoning"] for event, data in frames if event == "agent_reasoning")
        assert text == f"a😀{'x' * 600_000}\ufffd"


async def cut_off(peer: Peer, agent: Scripted) -> None:
    await peer.request("park")
    await agent.parked.wait()
    await peer.request("everything")
    await peer.until("agent_response")
    await drop(peer)


async def test_who_comes_back_understanding_less_is_spared_the_rest_and_told_where_it_ends() -> None:
    agent = Scripted(everything=everything)
    async with serving(lambda: agent) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True, features=FEATURES)
            await cut_off(peer, agent)
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=0), features=["data"])
            assert answer["lossless"] is True
            frames = [await peer.receive() for _ in range(5)]
            assert [event for event, _ in frames] == [
                "agent_request_received",
                "agent_request_received",
                "agent_data",
                "agent_data",
                "agent_response",
            ]
            numbers = [data["seq"] for _, data in frames]
            assert numbers == sorted(numbers)
            assert numbers[-1] == answer["last_seq"]
            agent.gate.set()
            assert (await peer.expect("agent_response"))["seq"] == answer["last_seq"] + 1


async def show(_: str, turn: Turn) -> str:
    for number in range(3):
        await turn.emit(AgentData(name="chart", data=number, id="c1"))
        await turn.emit(AgentData(name="log", data=number))
    await turn.send_file(b"abc", name="abc.txt")
    for number in range(20):
        await turn.emit(AgentOutput(output=f"{number} "))
    await asyncio.get_running_loop().create_future()
    return ""


@pytest.mark.parametrize(("features", "told"), [(FEATURES, {"data", "files"}), (["files"], {"files"}), ([], set())])
async def test_after_a_gap_the_snapshot_has_a_tasks_files_and_its_newest_data(
    features: list[str], told: set[str]
) -> None:
    async with serving(lambda: Scripted(show=show), resume_log_frames=4) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True, features=FEATURES)
            await peer.request("show")
            await drop(peer)
        (session,) = server.manager.sessions.values()
        (task,) = session.tasks.values()
        await eventually(lambda: task.turn.speech.text.endswith(b"19 "))
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=1), features=features)
            assert answer["lossless"] is False
            (snapshot,) = answer["tasks"]
            assert {name for name in ("data", "files") if name in snapshot} == told
            if "data" in told:
                assert snapshot["data"] == [{"name": "chart", "data": 2, "id": "c1"}]
            if "files" in told:
                (file,) = snapshot["files"]
                assert (file["name"], file["size"]) == ("abc.txt", 3)
                assert file["url"].startswith("/files/")


async def test_after_a_gap_data_too_large_for_the_answer_comes_once_more() -> None:
    large = "x" * 400_000

    async def send(_: str, turn: Turn) -> str:
        await turn.emit(AgentData(name="large", data=large, id="l"))
        for number in range(20):
            await turn.emit(AgentOutput(output=f"{number} "))
        await asyncio.get_running_loop().create_future()
        return ""

    async with serving(lambda: Scripted(send=send), resume_log_frames=4) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True, features=FEATURES)
            await peer.request("send")
            await peer.until("agent_data")
            await drop(peer)
        (session,) = server.manager.sessions.values()
        (task,) = session.tasks.values()
        await eventually(lambda: task.turn.speech.text.endswith(b"19 "))
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=1), features=FEATURES)
            assert "data" not in answer["tasks"][0]
            assert (await peer.expect("agent_data"))["data"] == large


async def test_the_result_of_a_task_that_ended_in_a_gap_is_in_the_snapshot() -> None:
    async def answer(_: str, turn: Turn) -> AgentResponse:
        for number in range(20):
            await turn.emit(AgentOutput(output=f"{number} "))
        return AgentResponse(response="Oslo", result={"city": "Oslo"})

    agent = Scripted(answer=answer)
    async with serving(lambda: agent, resume_log_frames=4) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            await peer.request("answer")
            await peer.until("agent_response")
            await drop(peer)
        async with connected(server) as peer:
            resumed = await peer.login(**resume(opened, last_seq=1))
            assert resumed["tasks"][0]["result"] == {"city": "Oslo"}
