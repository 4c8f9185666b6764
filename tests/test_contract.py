"""The wire contract's promises, kept by a real server."""

import asyncio
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, InputRequired, ToolCall, ToolResult
from tests.support import PATIENCE, Scripted, connected, eventually, logged_in, serving


async def two_tools(_: str, turn: Turn) -> str:
    for call_id, city in (("a", "Tokyo"), ("b", "Paris")):
        await turn.emit(ToolCall(tool_name="time", tool_kwargs={"city": city}, tool_call_id=call_id))
    await turn.emit(ToolResult(tool_name="time", tool_output="noon", tool_call_id="b"))
    await turn.emit(ToolResult(tool_name="time", tool_output={"hour": 20}, tool_call_id="a"))
    await turn.emit(AgentOutput(output="Eight and "))
    await turn.emit(AgentOutput(output="twelve."))
    return "Eight and twelve."


async def test_a_request_streams_its_events_and_ends_with_the_answer() -> None:
    async with serving(lambda: Scripted(tools=two_tools)) as server, logged_in(server) as peer:
        task_id = await peer.request("tools", request_id="mine")
        frames = await peer.until("agent_response")
        task = {"task_id": task_id}
        assert frames == [
            ("tool_call", {"tool_name": "time", "tool_kwargs": {"city": "Tokyo"}, "tool_call_id": "a", **task}),
            ("tool_call", {"tool_name": "time", "tool_kwargs": {"city": "Paris"}, "tool_call_id": "b", **task}),
            ("tool_result", {"tool_name": "time", "tool_output": "noon", "tool_call_id": "b", **task}),
            ("tool_result", {"tool_name": "time", "tool_output": {"hour": 20}, "tool_call_id": "a", **task}),
            ("agent_output", {"output": "Eight and ", **task}),
            ("agent_output", {"output": "twelve.", **task}),
            ("agent_response", {"response": "Eight and twelve.", **task}),
        ]


async def test_a_session_opens_with_an_empty_login_and_ends_with_logout() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, connected(server) as peer:
        opened = await peer.login()
        assert opened["status"] == "success"
        assert set(opened) == {"session_id", "status"}
        await peer.send("logout")
        assert await peer.expect("logout_response") == {"status": "success"}
        assert agent.closed == 1
        assert (await peer.login())["session_id"] != opened["session_id"]


async def test_confirmations_come_first_and_in_the_order_of_the_requests() -> None:
    async with serving() as server, logged_in(server) as peer:
        for number in range(10):
            await peer.send("agent_request", message=f"say {number}", request_id=str(number))
        ids: dict[str, str] = {}
        ended = 0
        while ended < 10:
            event, data = await peer.receive()
            if event == "agent_request_received":
                ids[data["task_id"]] = data["request_id"]
            assert data["task_id"] in ids
            ended += event == "agent_response"
        assert list(ids.values()) == [str(number) for number in range(10)]


async def test_sixteen_tasks_run_at_once_on_one_agent_and_never_mix() -> None:
    meeting = asyncio.Barrier(16)

    async def meet(name: str, turn: Turn) -> str:
        await meeting.wait()
        for number in range(5):
            await turn.emit(AgentOutput(output=f"{name}:{number} "))
            await asyncio.sleep(0)
        return name

    async with serving(lambda: Scripted(meet=meet)) as server, logged_in(server) as peer:
        names = {await peer.request(f"meet {number}"): str(number) for number in range(15)}
        await peer.send("agent_request", message="meet 15")
        texts: dict[str, str] = {}
        ended = 0
        while ended < 16:
            event, data = await peer.receive()
            if event == "agent_request_received":
                names[data["task_id"]] = "15"
            elif event == "agent_output":
                texts[data["task_id"]] = texts.get(data["task_id"], "") + data["output"]
            elif event == "agent_response":
                assert data["response"] == names[data["task_id"]]
                ended += 1
        assert texts == {task: "".join(f"{name}:{number} " for number in range(5)) for task, name in names.items()}


async def test_cancel_stops_one_task_and_no_other() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        first = await peer.request("park")
        second = await peer.request("park")
        await peer.send("cancel_request", task_id=first)
        assert await peer.expect("task_cancelled") == {"task_id": first}
        assert agent.cancelled.is_set()
        agent.gate.set()
        assert await peer.expect("agent_response") == {"task_id": second, "response": "released"}


async def test_requests_and_cancels_in_one_segment_end_each_task_once() -> None:
    async with serving() as server, logged_in(server) as peer:
        for _ in range(8):
            await peer.send("agent_request", message="park")
        started = [(await peer.expect("agent_request_received"))["task_id"] for _ in range(8)]
        for task_id in started:
            await peer.send("cancel_request", task_id=task_id)
        assert [await peer.receive() for _ in started] == [("task_cancelled", {"task_id": each}) for each in started]


async def test_a_second_cancel_of_a_task_that_is_stopping_gets_no_answer_of_its_own() -> None:
    stopping = asyncio.Event()

    async def slow(_: str, __: Turn) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await stopping.wait()
        return ""

    async with serving(lambda: Scripted(slow=slow)) as server, logged_in(server) as peer:
        task_id = await peer.request("slow")
        await peer.send("cancel_request", task_id=task_id)
        await peer.send("cancel_request", task_id=task_id)
        assert await peer.ask("hello") == "hello"  # both cancels have been read by now
        stopping.set()
        assert await peer.expect("task_cancelled") == {"task_id": task_id}
        assert await peer.ask("hello") == "hello"  # and nothing more came of the second


async def test_a_task_that_is_cancelled_before_its_first_step_says_so() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        (session,) = server.manager.sessions.values()
        task_id = session._start(_request("park"))
        session.tasks[task_id].cancel()
        assert await peer.expect("task_cancelled") == {"task_id": task_id}
        assert agent.runs == []


def _request(message: str) -> Any:
    from agentsocket.protocol.frames import AgentRequest  # noqa: PLC0415  # only here, for a request that no socket brought

    return AgentRequest(message=message)


async def test_an_ended_task_is_unknown_before_its_last_frame_is_read() -> None:
    async with serving() as server, logged_in(server) as peer:
        task_id = await peer.request("hello")
        await peer.expect("agent_response")
        await peer.send("cancel_request", task_id=task_id)
        assert await peer.expect("error") == {
            "message": "No such task is running.",
            "code": "unknown_task",
            "task_id": task_id,
        }


async def test_an_agent_that_never_suspends_is_cancelled_within_a_burst() -> None:
    async def endless(_: str, turn: Turn) -> str:
        while True:
            await turn.emit(AgentOutput(output="over and over and over "))

    async with serving(lambda: Scripted(endless=endless)) as server, logged_in(server) as peer:
        task_id = await peer.request("endless")
        await peer.expect("agent_output")
        await peer.send("cancel_request", task_id=task_id)
        frames = await peer.until("task_cancelled")
        assert len(frames) < 20_000  # what the sockets in between hold, and not one burst more
        assert await peer.ask("hello") == "hello"


async def test_an_agent_that_swallows_its_cancellation_and_then_ends_is_cancelled() -> None:
    async def stubborn(_: str, turn: Turn) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await turn.emit(AgentOutput(output="just a moment"))
        return "done all the same"

    async with serving(lambda: Scripted(stubborn=stubborn)) as server, logged_in(server) as peer:
        task_id = await peer.request("stubborn")
        await peer.send("cancel_request", task_id=task_id)
        assert [event for event, _ in await peer.until("task_cancelled")] == ["agent_output", "task_cancelled"]


async def test_an_agent_that_does_not_stop_is_abandoned_and_its_later_output_dropped() -> None:
    release = asyncio.Event()
    later = asyncio.Event()

    async def deaf(_: str, turn: Turn) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        try:
            await turn.emit(AgentOutput(output="too late"))
        finally:
            later.set()
        return "never"

    async with serving(lambda: Scripted(deaf=deaf), cancel_timeout=0.05) as server, logged_in(server) as peer:
        task_id = await peer.request("deaf")
        await peer.send("cancel_request", task_id=task_id)
        failed = await peer.expect("error")
        assert (failed["code"], failed["task_id"]) == ("cancel_failed", task_id)
        assert len(server.manager.running) == 1  # counted until it really ends
        release.set()
        async with asyncio.timeout(PATIENCE):
            await later.wait()
        await eventually(lambda: not server.manager.running)
        assert await peer.ask("hello") == "hello"


async def test_a_repeated_request_id_is_confirmed_again_and_runs_once() -> None:
    agent = Scripted()
    async with serving(lambda: agent, rate_limit=None) as server, logged_in(server) as peer:
        task_id = await peer.request("park", request_id="same")
        assert await peer.request("park", request_id="same") == task_id
        agent.gate.set()
        await peer.expect("agent_response")
        assert await peer.request("park", request_id="same") == task_id
        assert agent.runs == ["park"]
        for number in range(256):
            await peer.request("hello", request_id=str(number))
            await peer.expect("agent_response")
        assert await peer.request("park", request_id="same") != task_id


async def test_logout_ends_every_task_before_it_answers() -> None:
    async with serving() as server, logged_in(server) as peer:
        tasks = {await peer.request("park") for _ in range(3)}
        await peer.send("logout")
        frames = await peer.until("logout_response")
        assert {data["task_id"] for event, data in frames if event == "task_cancelled"} == tasks
        assert [event for event, _ in frames] == ["task_cancelled"] * 3 + ["logout_response"]


async def test_a_question_waits_for_its_answer_and_takes_the_first() -> None:
    async def ask(_: str, turn: Turn) -> str:
        return repr(await turn.ask(InputRequired(prompt="Sure?", kind="approval", tool_name="rm", tool_kwargs={})))

    async with serving(lambda: Scripted(ask=ask)) as server, logged_in(server) as peer:
        task_id = await peer.request("ask")
        question = await peer.expect("input_required")
        input_id = question.pop("input_id")
        assert question == {
            "task_id": task_id,
            "prompt": "Sure?",
            "kind": "approval",
            "tool_name": "rm",
            "tool_kwargs": {},
        }
        await peer.send("input_response", task_id=task_id, input_id="other", response=1)
        refused = await peer.expect("error")
        assert refused["code"] == "unknown_input"
        assert "task_id" not in refused  # the task runs
        await peer.send("input_response", task_id=task_id, input_id=input_id, response={"approved": True})
        await peer.send("input_response", task_id=task_id, input_id=input_id, response={"approved": False})
        frames = [await peer.receive(), await peer.receive()]
        (answer,) = [data for event, data in frames if event == "agent_response"]
        assert answer["response"] == "{'approved': True}"
        (late,) = [data for event, data in frames if event == "error"]
        assert late["code"] in {"unknown_input", "unknown_task"}


async def test_a_question_that_expires_is_gone() -> None:
    async def ask(_: str, turn: Turn) -> str:
        try:
            await turn.ask(InputRequired(prompt="Quick!", expires_in=0.01))
        except TimeoutError:
            return "too slow"
        return "answered"

    async with serving(lambda: Scripted(ask=ask)) as server, logged_in(server) as peer:
        await peer.request("ask")
        assert (await peer.expect("input_required"))["expires_in"] == 0.01
        assert (await peer.expect("agent_response"))["response"] == "too slow"


async def test_a_cancelled_task_leaves_no_question_open() -> None:
    async def ask(_: str, turn: Turn) -> str:
        return str(await turn.ask(InputRequired(prompt="Well?")))

    async with serving(lambda: Scripted(ask=ask)) as server, logged_in(server) as peer:
        task_id = await peer.request("ask")
        input_id = (await peer.expect("input_required"))["input_id"]
        await peer.send("cancel_request", task_id=task_id)
        await peer.expect("task_cancelled")
        await peer.send("input_response", task_id=task_id, input_id=input_id, response="late")
        refused = await peer.expect("error")
        assert (refused["code"], refused["task_id"]) == ("unknown_task", task_id)


async def test_usage_goes_out_with_the_answer() -> None:
    async def count(_: str, __: Turn) -> AgentResponse:
        return AgentResponse(response="Counted.", usage={"input_tokens": 3, "output_tokens": 1})

    async with serving(lambda: Scripted(count=count)) as server, logged_in(server) as peer:
        await peer.request("count")
        answer = await peer.expect("agent_response")
        assert answer["usage"] == {"input_tokens": 3, "output_tokens": 1}


async def test_two_hundred_clients_at_once_each_get_their_own_answer() -> None:
    async with serving() as server:

        async def visit(number: int) -> str:
            async with logged_in(server) as peer:
                return await peer.ask(f"say {number}")

        async with asyncio.timeout(3 * PATIENCE):
            answers = await asyncio.gather(*(visit(number) for number in range(200)))
        assert answers == [f"say {number}" for number in range(200)]
        await eventually(lambda: not server.manager.sessions)
