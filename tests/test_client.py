"""The client, against a server that says exactly what a test wants, and against the real one."""

import asyncio
import contextlib
import gc
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.client.client import SnapshotOutput, WebSocketClient, full_jitter
from agentsocket.client.credentials import FEATURES
from agentsocket.client.errors import ConnectionLost, ServerError, TaskCancelled
from agentsocket.client.printing import one_line
from agentsocket.protocol import frames
from agentsocket.protocol.events import AgentOutput, ToolCall, ToolResult
from agentsocket.protocol.frames import InputRequiredFrame
from tests.clients import asking, collect, spawn, talkative, talking, texts
from tests.scripted_server import listening
from tests.support import PATIENCE, Scripted, eventually, serving

# ---- Against the real server -----------------------------------------------------------------------------------------


async def test_ask_returns_the_answer() -> None:
    async with talking(Scripted()) as client:
        assert await client.ask("hello") == "hello"


async def test_a_stream_yields_the_typed_events_of_its_task_and_the_answer_last() -> None:
    async def tool(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="time", tool_kwargs={"city": "Tokyo"}))
        await turn.emit(ToolResult(tool_name="time", tool_output={"hour": 8}))
        await turn.emit(AgentOutput(output="Eight."))
        return "Eight."

    async with talking(Scripted(tool=tool)) as client:
        call, result, output, answer = await collect(client, "tool")
    assert isinstance(call, frames.ToolCallFrame)
    assert isinstance(result, frames.ToolResultFrame)
    assert call.tool_call_id == result.tool_call_id
    assert isinstance(output, frames.AgentOutputFrame)
    assert isinstance(answer, frames.AgentResponseFrame)
    assert (result.tool_output, output.output, answer.response) == ({"hour": 8}, "Eight.", "Eight.")


async def test_many_streams_run_at_once_on_one_client_and_never_mix() -> None:
    async with talking(Scripted()) as client:
        answers = await asyncio.gather(*(collect(client, f"say {number}") for number in range(16)))
    assert [texts(events) for events in answers] == [[str(number), f"say {number}"] for number in range(16)]


async def test_a_burst_of_outputs_arrives_whole_and_in_order() -> None:
    async def burst(_: str, turn: Turn) -> str:
        for number in range(5000):
            await turn.emit(AgentOutput(output=f"{number} "))
        return "done"

    async with talking(Scripted(burst=burst)) as client:
        first, second = await asyncio.gather(collect(client, "burst"), collect(client, "burst"))
    assert texts(first) == texts(second) == [*(f"{number} " for number in range(5000)), "done"]


async def test_a_plain_break_out_of_a_stream_cancels_its_task() -> None:
    agent = talkative()
    async with talking(agent) as client:
        async for _ in client.stream("talk"):
            break
        await agent.cancelled.wait()
        assert await client.ask("still here") == "still here"


async def test_a_stream_that_is_closed_cancels_its_task() -> None:
    agent = talkative()
    async with talking(agent) as client:
        async with contextlib.aclosing(client.stream("talk")) as events:
            await anext(events)
        await agent.cancelled.wait()


async def stumble(client: WebSocketClient) -> None:
    async for _ in client.stream("talk"):
        _ = 1 / 0


async def test_an_exception_in_the_body_of_the_loop_cancels_the_task() -> None:
    agent = talkative()
    async with talking(agent) as client:
        with pytest.raises(ZeroDivisionError):
            await stumble(client)
        gc.collect()
        await agent.cancelled.wait()


@pytest.mark.parametrize("method", ["ask", "stream"])
async def test_a_consumer_that_is_cancelled_cancels_its_task(method: str) -> None:
    agent = talkative()
    async with talking(agent) as client:
        consumer = spawn(client.ask("talk") if method == "ask" else collect(client, "talk"))
        await agent.parked.wait()
        consumer.cancel()
        await agent.cancelled.wait()
        assert (await asyncio.gather(consumer, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_cancel_request_returns_when_the_task_has_ended_and_its_stream_says_so() -> None:
    agent = talkative()
    async with talking(agent) as client:
        consumer = spawn(collect(client, "park"))
        task_id = await client.send_agent_request("talk")
        await agent.parked.wait()
        await client.cancel_request(task_id)
        assert agent.cancelled.is_set()
        with pytest.raises(ServerError, match="unknown_task") as refused:
            await client.cancel_request(task_id)
        assert refused.value.code == "unknown_task"
        await client.logout()
        with pytest.raises(TaskCancelled):
            await consumer


async def test_two_who_cancel_the_same_task_both_learn_of_its_end() -> None:
    agent = Scripted()
    async with talking(agent) as client:
        task_id = await client.send_agent_request("park")
        await asyncio.gather(client.cancel_request(task_id), client.cancel_request(task_id))


async def test_one_who_no_longer_waits_for_a_cancel_takes_it_from_nobody() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        first, second = spawn(client.cancel_request("t1")), spawn(client.cancel_request("t1"))
        await wire.expect("cancel_request")
        first.cancel()
        await asyncio.wait([first])
        await wire.send("task_cancelled", task_id="t1")
        await second
        await client.close()


async def test_a_task_that_does_not_stop_is_an_error_of_its_cancel() -> None:
    gate = asyncio.Event()

    async def stubborn(_: str, _turn: Turn) -> str:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        return "at last"

    async with talking(Scripted(stubborn=stubborn), {"cancel_timeout": 0.05}) as client:
        task_id = await client.send_agent_request("stubborn")
        with pytest.raises(ServerError) as refused:
            await client.cancel_request(task_id)
        gate.set()
    assert refused.value.code == "cancel_failed"


async def test_an_agent_that_fails_is_a_server_error_with_the_id_of_its_details() -> None:
    async def fail(_: str, _turn: Turn) -> str:
        raise ValueError

    async with talking(Scripted(fail=fail)) as client:
        with pytest.raises(ServerError) as failed:
            await client.ask("fail")
    assert failed.value.code == "agent_failed"
    assert failed.value.error_id


async def test_a_wrong_token_is_a_server_error_and_the_right_one_opens() -> None:
    async with asyncio.timeout(PATIENCE), serving(auth_token="right") as server:
        uri = f"ws://127.0.0.1:{server.port}"
        with pytest.raises(ServerError) as refused:
            async with WebSocketClient(uri, token="wrong"):
                pass
        assert refused.value.code == "authentication_failed"
        async with WebSocketClient(uri, token="right") as client:
            assert await client.ask("in") == "in"


async def test_a_refused_request_is_a_server_error_and_nothing_else_suffers() -> None:
    agent = Scripted()
    async with talking(agent, {"max_tasks": 1}) as client:
        parked = spawn(client.ask("park"))
        await agent.parked.wait()
        with pytest.raises(ServerError) as refused:
            await client.send_agent_request("one too many")
        agent.gate.set()
        assert await parked == "released"
    assert refused.value.code == "too_many_tasks"


async def test_a_request_that_is_no_text_is_refused_here_and_changes_nothing() -> None:
    async with talking(Scripted()) as client:
        with pytest.raises(ValueError, match="surrogates"):
            await client.ask("\ud800")
        assert await client.ask("fine") == "fine"


async def test_after_logout_the_same_connection_logs_in_again() -> None:
    async with talking(Scripted()) as client:
        await client.logout()
        with pytest.raises(ServerError) as refused:
            await client.ask("who?")
        assert refused.value.code == "not_logged_in"
        await client.login()
        assert await client.ask("again") == "again"


async def test_listening_shows_every_frame_as_a_line_and_ends_with_close() -> None:
    shown: list[str] = []
    async with talking(Scripted()) as client:
        listener = spawn(client.listen_for_events(shown.append))
        await client.send_agent_request("say hello")
        await client.ask("done")
        await client.logout()
        await client.close()
        await listener
    events = [json.loads(line)["event"] for line in shown]
    assert events.count("agent_response") == 2
    assert events[0] == "agent_request_received"
    assert events[-1] == "logout_response"


async def test_listening_prints_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    async with talking(Scripted()) as client:
        listener = spawn(client.listen_for_events())
        await client.send_agent_request("say hello")
        await client.ask("done")
        await client.close()
        await listener
    assert '"agent_output"' in capsys.readouterr().out


async def say_please(question: InputRequiredFrame) -> str:
    return f"please, {question.prompt}"


@pytest.mark.parametrize("on_input", [say_please, lambda question: f"please, {question.prompt}"], ids=["async", "sync"])
async def test_on_input_answers_the_questions_of_a_task(on_input: Callable[[InputRequiredFrame], Any]) -> None:
    async with talking(Scripted(asking=asking), on_input=on_input) as client:
        assert await client.ask("asking") == "you said please, Well?"


async def test_what_on_input_raises_is_raised_by_the_stream_and_cancels_the_task() -> None:
    async def panic(_: InputRequiredFrame) -> None:
        raise LookupError

    async with talking(Scripted(asking=asking), on_input=panic) as client:
        with pytest.raises(LookupError):
            await client.ask("asking")
        assert await client.ask("next") == "next"


async def test_on_input_is_cancelled_when_its_task_ends() -> None:
    asked, dropped = asyncio.Event(), asyncio.Event()

    async def hesitate(_: InputRequiredFrame) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    async with talking(Scripted(asking=asking), on_input=hesitate) as client:
        task_id = await client.send_agent_request("asking")
        await asked.wait()
        await client.cancel_request(task_id)
        await dropped.wait()


async def test_a_question_is_answered_by_hand_from_the_stream() -> None:
    async with talking(Scripted(asking=asking)) as client:
        async for event in client.stream("asking"):
            if isinstance(event, InputRequiredFrame):
                await client.answer(event.task_id, event.input_id, 42)
        assert isinstance(event, frames.AgentResponseFrame)
        assert event.response == "you said 42"


async def test_a_resumable_session_goes_on_across_a_cut_line_as_if_nothing_had_happened() -> None:
    agent = Scripted()

    async def count(_: str, turn: Turn) -> str:
        for number in range(50):
            if number in {10, 30}:
                assert client._reader.socket is not None
                client._reader.socket.transport.abort()
            await turn.emit(AgentOutput(output=f"{number} "))
        return "done"

    agent.scripts["count"] = count
    async with talking(agent, resumable=True, backoff=lambda: itertools.repeat(0.0, 100)) as client:
        assert texts(await collect(client, "count")) == [*(f"{number} " for number in range(50)), "done"]
        assert await client.ask("after") == "after"
    assert agent.runs == ["count", "after"]


async def test_a_gap_yields_the_real_servers_snapshot_in_one_piece() -> None:
    agent = Scripted()

    async def count(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="first "))
        await agent.gate.wait()
        assert client._reader.socket is not None
        client._reader.socket.transport.abort()
        await asyncio.sleep(0)
        for number in range(50):
            await turn.emit(AgentOutput(output=f"{number} "))
        return "done"

    agent.scripts["count"] = count
    async with asyncio.timeout(PATIENCE), serving(lambda: agent, resume_log_frames=5) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        client = WebSocketClient(uri, resumable=True, backoff=lambda: itertools.repeat(0.0, 100))
        async with client, contextlib.aclosing(client.stream("count")) as stream:
            assert (await anext(stream)).model_dump()["output"] == "first "
            agent.gate.set()
            events = [event async for event in stream]
    snapshot = next(event for event in events if isinstance(event, SnapshotOutput))
    assert snapshot.output == "first " + "".join(f"{number} " for number in range(50))
    assert texts(events)[-1] == "done"


async def test_closing_a_resumable_client_ends_its_session() -> None:
    agent = Scripted()
    async with asyncio.timeout(PATIENCE), serving(lambda: agent) as server:
        async with WebSocketClient(f"ws://127.0.0.1:{server.port}", resumable=True) as client:
            await client.send_agent_request("park")
            await agent.parked.wait()
        await eventually(lambda: agent.closed == 1)


# ---- The life of a connection ----------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_is_a_lost_connection() -> None:
    async with listening() as line:
        uri = line.uri
    with pytest.raises(ConnectionLost, match="No agent server answers"):
        await WebSocketClient(uri).connect()


async def test_without_a_connection_every_method_says_so_at_once() -> None:
    client = WebSocketClient()
    for call in (client.login, client.logout, client.listen_for_events):
        with pytest.raises(ConnectionLost):
            await call()
    for coroutine in (client.ask("x"), client.cancel_request("x"), client.answer("t", "i", None)):
        with pytest.raises(ConnectionLost):
            await coroutine
    await client.close()


async def test_closing_right_after_connecting_closes_the_socket() -> None:
    async with listening() as line:
        client = line.client()
        await client.connect()
        await client.close()
        await (await line.wires.get()).socket.wait_closed()


async def test_a_dead_connection_wakes_everyone_who_waits() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        waiting = [
            spawn(client.logout()),
            spawn(client.listen_for_events(str)),
            spawn(client.cancel_request("t0")),
            spawn(client.ask("accepted")),
            spawn(client.ask("not accepted")),
            spawn(client.send_agent_request("neither")),
        ]
        await wire.expect("logout")
        await wire.expect("cancel_request")
        await wire.accept("t1")
        await wire.send("agent_output", task_id="t1", output="…")
        wire.drop()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in errors} == {ConnectionLost}
        with pytest.raises(ConnectionLost):
            await client.ask("later")
        await client.close()


async def test_closing_wakes_everyone_and_ends_the_listener_quietly() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        listener, asked = spawn(client.listen_for_events(str)), spawn(client.ask("x"))
        await wire.accept("t1")
        await client.close()
        await listener
        with pytest.raises(ConnectionLost):
            await asked


async def test_a_lost_connection_can_be_opened_anew() -> None:
    async with listening() as line:
        client = line.client()
        (await line.log_in(client)).drop()
        wire = await line.log_in(client)
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        await wire.send("agent_response", task_id="t1", response="y")
        assert await asked == "y"
        await client.close()


async def test_events_and_fields_of_a_newer_server_are_passed_over() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, mood="sunny")
        asked = spawn(client.ask("x"))
        await wire.accept("t1", mood="sunny")
        await wire.send("agent_mood", task_id="t1", mood="sunny")
        await wire.send("agent_response", task_id="t1", response="y", mood="sunny")
        assert await asked == "y"
        await client.close()


@pytest.mark.parametrize("garbage", ["{", "[]", '{"event": "agent_output", "data": {"task_id": 1}}'])
async def test_what_is_no_frame_ends_the_connection(garbage: str) -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        await wire.socket.send(garbage)
        with pytest.raises(ConnectionLost, match="no frame"):
            await asked
        await client.close()


async def test_a_request_cancelled_before_it_is_accepted_is_cancelled_when_it_is() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        for request in (client.ask("x"), client.send_agent_request("x")):
            asked = spawn(request)
            sent = await wire.expect("agent_request")
            asked.cancel()
            await asyncio.wait([asked])
            await wire.send("agent_request_received", task_id="t1", request_id=sent["request_id"])
            assert await wire.expect("cancel_request") == {"task_id": "t1"}
            await wire.send("task_cancelled", task_id="t1")
        await client.close()


async def test_a_consumer_that_stops_consuming_is_given_up_and_the_others_go_on() -> None:
    async with listening() as line:
        client = line.client()
        client.max_behind, client.patience = 10, 0.05
        wire = await line.log_in(client)
        stalled, asked = client.stream("slow"), spawn(client.ask("quick"))
        quick = await wire.accept("quick")
        first = spawn(anext(stalled))
        await wire.accept("slow")
        for number in range(50):
            await wire.send("agent_output", task_id="slow", output=str(number))
        await first
        assert await wire.expect("cancel_request") == {"task_id": "slow"}
        await wire.send("agent_response", task_id="quick", response="done")
        assert (quick["message"], await asked) == ("quick", "done")
        with pytest.raises(TaskCancelled, match="nobody took"):
            _ = [event async for event in stalled]
        await client.close()


async def test_an_error_about_an_input_fails_neither_login_nor_logout() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        leaving = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("error", code="unknown_input", message="No such input is waited for.")
        await wire.send("logout_response", status="success")
        await leaving
        await client.close()


# ---- Resume ----------------------------------------------------------------------------------------------------------


async def test_a_resume_is_asked_for_with_the_last_number_and_what_comes_twice_counts_once() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        shown: list[str] = []
        listener, events = spawn(client.listen_for_events(shown.append)), spawn(collect(client))
        await wire.accept("t1", seq=1)
        await wire.send("agent_output", task_id="t1", output="one ", seq=2)
        await eventually(lambda: len(shown) == 2)
        wire.drop()
        wire, login = await line.resumed(last_seq=3)
        assert login == {"session_id": "s", "resume_token": "secret", "last_seq": 2, "features": list(FEATURES)}
        await wire.send("agent_output", task_id="t1", output="one ", seq=2)
        await wire.send("agent_output", task_id="t1", output="two ", seq=3)
        await wire.send("agent_response", task_id="t1", response="one two", seq=4)
        assert texts(await events) == ["one ", "two ", "one two"]
        await client.close()
        await listener
        assert [json.loads(frame)["data"].get("seq") for frame in shown] == [1, 2, None, 3, 4]


async def test_an_unconfirmed_request_is_sent_again_under_the_same_id() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        sent = await wire.expect("agent_request")
        wire.drop()
        wire, _ = await line.resumed()
        assert await wire.accept("t1", seq=1) == sent
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_request_made_during_the_break_is_sent_after_it() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        asked = spawn(client.ask("x"))
        await asyncio.sleep(0)
        await wire.send("login_response", session_id="s", status="success", resumed=True, lossless=True, last_seq=0)
        await wire.accept("t1", seq=1)
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_cancel_sent_again_counts_as_done_where_the_task_is_gone() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        cancelling = spawn(client.cancel_request("t1"))
        await wire.expect("cancel_request")
        wire.drop()
        wire, _ = await line.resumed()
        await wire.expect("cancel_request")
        await wire.send("error", task_id="t1", code="unknown_task", message="No such task.", seq=1)
        await cancelling
        await client.close()


async def test_an_answer_that_may_be_lost_is_sent_again_and_the_question_not_put_again() -> None:
    async with listening() as line:
        asked: list[str] = []
        client, wire = await line.resumable(on_input=lambda question: asked.append(question.prompt))
        stream = client.stream("hello")
        events = [spawn(anext(stream))]
        await wire.accept("t1", seq=1)
        question = {"task_id": "t1", "input_id": "i1", "prompt": "Sure?", "kind": "text"}
        await wire.send("input_required", **question, seq=2)
        assert await wire.expect("input_response") == {"task_id": "t1", "input_id": "i1", "response": None}
        wire.drop()
        question.pop("task_id")
        task = {"task_id": "t1", "status": "running", "output": "", "pending_inputs": [question]}
        wire, _ = await line.resumed(lossless=False, last_seq=9, tasks=[task])
        assert (await wire.expect("input_response"))["input_id"] == "i1"
        kinds = [type(await events[0]).__name__, type(await anext(stream)).__name__, type(await anext(stream)).__name__]
        assert kinds == ["InputRequiredFrame", "SnapshotOutput", "InputRequiredFrame"]
        assert not client._exchange.questions
        assert asked == ["Sure?"]
        await stream.aclose()
        await client.close()


async def test_only_the_newest_answers_are_sent_again() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        for number in range(40):
            await client.answer("t1", f"i{number}", number)
            await wire.expect("input_response")
        wire.drop()
        wire, _ = await line.resumed()
        again = [(await wire.expect("input_response"))["response"] for _ in range(client.answers_kept)]
        assert again == list(range(40 - client.answers_kept, 40))
        asked = spawn(client.ask("x"))
        await wire.accept("t2", seq=1)
        await wire.send("agent_response", task_id="t2", response="y", seq=2)
        await asked
        await client.close()


@pytest.mark.parametrize("lasting", [True, False])
async def test_only_a_connection_that_lasted_earns_a_fresh_back_off(*, lasting: bool) -> None:
    async with listening() as line:
        client = WebSocketClient(line.uri, resumable=True, backoff=lambda: itertools.repeat(0.0, 2))
        client.stable_after = -1.0 if lasting else 3600.0
        wire = await line.log_in(client, resumable=True, resume_token="secret")
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        for _ in range(2):
            wire.drop()
            wire, _login = await line.resumed(last_seq=1)
        wire.drop()
        if lasting:
            wire, _login = await line.resumed(last_seq=1)
            await wire.send("agent_response", task_id="t1", response="y", seq=2)
            assert await asked == "y"
        else:
            with pytest.raises(ConnectionLost):
                await asked
        await client.close()


async def test_after_a_gap_each_stream_goes_on_from_its_snapshot() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        streams = []
        for task_id in ("running", "completed", "cancelled", "failed", "forgotten"):
            streams.append(spawn(collect(client, task_id)))
            await wire.accept(task_id)
        wire.drop()
        states: list[dict[str, Any]] = [
            {"task_id": "running", "status": "running"},
            {"task_id": "completed", "status": "completed", "response": "all"},
            {"task_id": "cancelled", "status": "cancelled"},
            {
                "task_id": "failed",
                "status": "failed",
                "code": "agent_failed",
                "message": "It failed.",
                "error_id": "e1",
            },
        ]
        wire, _ = await line.resumed(
            lossless=False, last_seq=9, tasks=[{**state, "output": "so far"} for state in states]
        )
        await wire.send("agent_output", task_id="running", output=" and on", seq=10)
        await wire.send("agent_response", task_id="running", response="so far and on", seq=11)
        results: list[Any] = await asyncio.gather(*streams, return_exceptions=True)
        running, completed, cancelled, failed, forgotten = results
        assert texts(running) == ["so far", " and on", "so far and on"]
        assert isinstance(running[0], SnapshotOutput)
        assert not isinstance(running[1], SnapshotOutput)
        assert texts(completed) == ["so far", "all"]
        assert isinstance(cancelled, TaskCancelled)
        assert isinstance(failed, ServerError)
        assert (failed.code, failed.error_id) == ("agent_failed", "e1")
        assert isinstance(forgotten, ConnectionLost)
        await client.close()


async def test_after_a_gap_a_request_whose_confirmation_was_lost_finds_its_snapshot() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        events = spawn(collect(client))
        request = await wire.expect("agent_request")
        wire.drop()
        task = {"task_id": "t1", "status": "running", "output": "so far"}
        wire, _ = await line.resumed(lossless=False, last_seq=9, tasks=[task])
        await wire.send("agent_output", task_id="t1", output=" on", seq=10)
        assert (await wire.expect("agent_request"))["request_id"] == request["request_id"]
        await wire.send("agent_request_received", task_id="t1", request_id=request["request_id"], seq=11)
        await wire.send("agent_response", task_id="t1", response="so far on", seq=12)
        assert texts(await events) == ["so far", " on", "so far on"]
        await client.close()


async def test_a_break_while_catching_up_on_a_gap_loses_nothing() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        events = spawn(collect(client))
        await wire.expect("agent_request")
        wire.drop()
        task = {"task_id": "t1", "status": "running", "output": "so far"}
        wire, first = await line.resumed(lossless=False, last_seq=9, tasks=[task])
        await wire.send("agent_output", task_id="t1", output=" on", seq=10)
        await wire.expect("agent_request")
        wire.drop()
        task["output"] = "so far on"
        wire, second = await line.resumed(lossless=False, last_seq=10, tasks=[task])
        assert first["last_seq"] == second["last_seq"] == 0
        await wire.accept("t1", seq=11)
        await wire.send("agent_response", task_id="t1", response="done", seq=12)
        assert texts(await events) == ["so far on", "done"]
        await client.close()


async def test_a_server_that_is_busy_is_tried_again() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        wire.drop()
        for code in ("too_many_sessions", "rate_limited", "shutting_down", "authentication_unavailable"):
            wire = await line.wires.get()
            await wire.expect("login")
            await wire.send("error", code=code, message="Not now.")
        wire, _ = await line.resumed(last_seq=1)
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_session_that_is_gone_is_a_lost_connection_for_everyone() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked, listener = spawn(client.ask("x")), spawn(client.listen_for_events(str))
        await wire.accept("t1", seq=1)
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("error", code="session_not_found", message="There is no such session.")
        errors = await asyncio.gather(asked, listener, return_exceptions=True)
        assert {type(error) for error in errors} == {ConnectionLost}
        assert "no such session" in str(errors[0])
        await client.close()


async def test_a_server_that_stays_away_is_given_up() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        for _ in range(20):
            wire.drop()
            wire = await line.wires.get()
        wire.drop()
        with pytest.raises(ConnectionLost, match="could not be reached again"):
            await asked
        await client.close()


@pytest.mark.parametrize(
    ("code", "resumes"),
    [(code, True) for code in (1001, 1011, 1012, 1013, 4000, 4401, 4429)]
    + [(code, False) for code in (1000, 1003, 1007, 1009, 4500, 4501, 4502, 4509)],
)
async def test_the_close_code_tells_whether_to_come_back(code: int, *, resumes: bool) -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        await wire.socket.close(code)
        if resumes:
            wire, _ = await line.resumed(last_seq=1)
            await wire.send("agent_response", task_id="t1", response="y", seq=2)
            assert await asked == "y"
        else:
            with pytest.raises(ConnectionLost, match=str(code)):
                await asked
            assert line.wires.empty()
        await client.close()


async def test_closing_during_a_break_ends_the_wait() -> None:
    async with listening() as line:
        client = WebSocketClient(line.uri, resumable=True, backoff=lambda: itertools.repeat(3600.0))
        wire = await line.log_in(client, resumable=True, resume_token="secret")
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        wire.drop()
        await wire.socket.wait_closed()
        await client.close()
        with pytest.raises(ConnectionLost):
            await asked


def test_the_delays_start_below_a_second_end_below_half_a_minute_and_differ() -> None:
    runs = [list(full_jitter()) for _ in range(50)]
    assert max(run[0] for run in runs) <= 1
    assert 16 < max(delay for run in runs for delay in run) <= 30
    assert len({run[0] for run in runs}) == 50
    assert sum(sum(run) for run in runs) / 50 > 120


def test_a_frame_on_one_line_is_the_same_json_without_control_characters() -> None:
    frame = '{"event":\n "x", "data": {"a": "\x9b\u2028\u202e\x7f é"}}'
    line = one_line(frame)
    assert json.loads(line) == json.loads(frame)
    assert line.isprintable()
