"""What every adapter promises, tried on a real agent of each framework with its model on loopback."""

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.adapters.memory import Memory
from agentsocket.agent.contract import Agent
from agentsocket.protocol.events import AgentOutput, AgentResponse, ToolCall, ToolResult
from tests.frameworks.conftest import Make
from tests.frameworks.model_server import Item, ModelServer
from tests.frameworks.recorder import Recorder
from tests.frameworks.tools import Parked, population, weather


async def ask(agent: Agent, message: str, turn: Recorder | None = None) -> str:
    answer = await agent.run(message, turn or Recorder())
    return answer.response if isinstance(answer, AgentResponse) else answer


def said(*messages: str) -> str:
    return "".join(["Heard:", *(f" [{message}]" for message in messages)])


async def test_a_turn_says_what_its_tools_do_and_then_its_text(make: Make) -> None:
    turn = Recorder()
    answer = await make(weather).run("weather(Oslo) then say", turn)
    call, result, *text = turn.events
    assert call == ToolCall(tool_name="weather", tool_kwargs={"city": "Oslo"}, tool_call_id=turn.calls[0].tool_call_id)
    assert isinstance(result, ToolResult)
    assert result.tool_output in ("Oslo: 7 degrees", {"result": "Oslo: 7 degrees"})
    assert result.tool_call_id == turn.calls[0].tool_call_id
    assert not result.is_error
    assert text == [AgentOutput(output="Heard:"), AgentOutput(output=" [weather(Oslo) then say]")]
    assert isinstance(answer, AgentResponse)
    assert answer.response == said("weather(Oslo) then say")
    assert answer.usage == {"input_tokens": 14, "output_tokens": 6, "total_tokens": 20, "requests": 2}


async def test_text_is_passed_on_while_the_model_still_writes(make: Make, models: ModelServer) -> None:
    turn = Recorder(keep_waiting=AgentOutput)
    task = asyncio.create_task(ask(make(), "hold", turn))
    await turn.waiting.wait()
    await models.held.wait()
    assert turn.text == ["Heard:"]
    task.cancel()
    await asyncio.wait([task])


async def test_two_tools_of_one_step_run_at_once_and_keep_their_results_apart(make: Make) -> None:
    both = asyncio.Barrier(2)

    async def meet(city: str) -> str:
        """Meet the other one."""
        await both.wait()
        return f"met in {city}"

    turn = Recorder()
    await ask(make(meet), "meet(Oslo) meet(Bergen) then say", turn)
    cities = {call.tool_call_id: call.tool_kwargs["city"] for call in turn.calls}
    assert sorted(cities.values()) == ["Bergen", "Oslo"]
    assert len(turn.results) == 2
    for result in turn.results:
        assert cities[result.tool_call_id] in str(result.tool_output)


async def test_a_tools_own_value_arrives_as_it_is(framework: str, make: Make) -> None:
    turn = Recorder()
    await ask(make(population), "population(Oslo) then say", turn)
    value = {"city": "Oslo", "people": 717_710}
    # LangChain makes text of it before anybody else sees it.
    assert turn.results[0].tool_output == (json.dumps(value) if framework == "langgraph" else value)


async def test_a_synchronous_tool_does_not_hold_up_the_loop(make: Make) -> None:
    loop, started, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def block(city: str) -> str:
        """Block a thread."""
        loop.call_soon_threadsafe(started.set)
        return f"{city}: {'free' if go.wait(10) else 'held up'}"

    turn = Recorder()
    task = asyncio.create_task(ask(make(block), "block(Oslo) then say", turn))
    await started.wait()
    go.set()
    await task
    assert "free" in str(turn.results[0].tool_output)


async def test_a_turn_remembers_those_before_it(make: Make, models: ModelServer) -> None:
    agent = make(weather)
    await ask(agent, "weather(Oslo) then say")
    assert await ask(agent, "again") == said("weather(Oslo) then say", "again")
    kinds = [item.kind for item in models.requests[-1]]
    assert kinds == ["user", "call", "result", "assistant", "user"]


async def test_two_turns_at_once_both_get_remembered_each_in_one_piece(make: Make, models: ModelServer) -> None:
    parked = Parked()
    agent = make(parked.park, weather)
    slow = asyncio.create_task(ask(agent, "park(Oslo) then say"))
    await parked.started.wait()
    assert await ask(agent, "weather(Bergen) then say") == said("weather(Bergen) then say")
    parked.go.set()
    assert await slow == said("park(Oslo) then say")
    await ask(agent, "again")
    one = ["user", "call", "result", "assistant"]
    assert [item.kind for item in models.requests[-1]] == [*one, *one, "user"]
    assert [item.text for item in models.requests[-1] if item.kind == "call"] == ["weather", "park"]


async def test_two_sessions_of_one_agent_know_nothing_of_each_other(build: Make) -> None:
    agent = build(weather)
    await ask(adapt(agent), "weather(Oslo) then say")
    assert await ask(adapt(agent), "two") == said("two")


async def test_memory_is_bounded_by_dropping_the_oldest_turns_whole(make: Make, models: ModelServer) -> None:
    agent = make(weather)
    agent.memory = Memory(turns=2)
    for city in ("Oslo", "Bergen", "Bodo"):
        await ask(agent, f"weather({city}) then say")
    await ask(agent, "again")
    one = ["user", "call", "result", "assistant"]
    assert [item.kind for item in models.requests[-1]] == [*one, *one, "user"]
    assert models.requests[-1][0].text == "weather(Bergen) then say"


# ---- Cancelling ------------------------------------------------------------------------------------------------------


def left_over(before: set[asyncio.Task[Any]], models: ModelServer) -> list[asyncio.Task[Any]]:
    """The tasks that a turn has left behind. Those of the model server are its own.

    Nor do those count in which the loop closes a generator that nobody refers to any more: no coroutines are run there.
    """
    left = asyncio.all_tasks() - before
    return [task for task in left if task not in models.tasks and inspect.iscoroutine(task.get_coro())]


async def cancel_leaves_nothing(
    agent: Agent, models: ModelServer, message: str, turn: Recorder, reached: Callable[[], Awaitable[Any]]
) -> None:
    """Cancel a turn where it has got to: nothing runs on, nothing is remembered, and the next turn goes well."""
    await ask(agent, "before")
    before = asyncio.all_tasks()
    task = asyncio.create_task(ask(agent, message, turn))
    await reached()
    requests, events = len(models.requests), len(turn.events)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not left_over(before, models)
    assert await ask(agent, "after") == said("before", "after")
    assert len(models.requests) == requests + 1
    assert len(turn.events) == events


async def test_a_cancel_stops_the_models_stream(make: Make, models: ModelServer) -> None:
    await cancel_leaves_nothing(make(), models, "hold", Recorder(), models.held.wait)
    await models.hung_up.wait()


async def test_a_cancel_stops_a_running_tool(make: Make, models: ModelServer) -> None:
    parked = Parked()
    agent = make(parked.park)
    await cancel_leaves_nothing(agent, models, "park(Oslo) then say", Recorder(), parked.started.wait)
    assert parked.cancelled.is_set()


async def test_a_cancel_stops_two_tools_at_once(make: Make, models: ModelServer) -> None:
    parked = Parked()
    agent = make(parked.park, weather)
    await cancel_leaves_nothing(agent, models, "park(Oslo) weather(Oslo) then say", Recorder(), parked.started.wait)
    assert parked.cancelled.is_set()


async def test_a_cancel_during_a_synchronous_tool_is_the_end_of_the_turn(make: Make, models: ModelServer) -> None:
    """The thread itself cannot be stopped: whether the cancel waits for it is the framework's choice."""
    loop, started, ended, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), threading.Event()

    def block(city: str) -> str:
        """Block a thread."""
        loop.call_soon_threadsafe(started.set)
        go.wait(10)
        loop.call_soon_threadsafe(ended.set)
        return city

    turn, agent = Recorder(), make(block)
    task = asyncio.create_task(ask(agent, "block(Oslo) then say", turn))
    await started.wait()
    task.cancel()
    loop.call_soon(go.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()
    assert await ask(agent, "after") == said("after")
    assert len(models.requests) == 2
    assert not turn.results


@pytest.mark.parametrize("event", [ToolCall, ToolResult, AgentOutput])
async def test_a_cancel_reaches_an_agent_that_waits_for_a_slow_client(
    make: Make, models: ModelServer, event: type[ToolCall | ToolResult | AgentOutput]
) -> None:
    turn = Recorder(keep_waiting=event)
    agent = make(weather)
    await cancel_leaves_nothing(agent, models, "weather(Oslo) then say", turn, turn.waiting.wait)


async def test_a_cancel_reaches_an_agent_whose_tool_runs_while_a_slow_client_waits(
    make: Make, models: ModelServer
) -> None:
    """The tool runs beside the waiting: it too must be stopped, and the model not be asked again."""
    parked = Parked()
    turn = Recorder(keep_waiting=ToolCall)
    agent = make(parked.park)
    await cancel_leaves_nothing(agent, models, "park(Oslo) then say", turn, turn.waiting.wait)
    assert parked.cancelled.is_set() or not parked.started.is_set()


async def test_a_cancel_reaches_an_agent_that_waits_for_an_approval(
    framework: str, make: Make, models: ModelServer
) -> None:
    needs_approvals(framework)
    turn = Recorder()
    agent = make(guarded=[weather])
    await cancel_leaves_nothing(agent, models, "weather(Oslo) then say", turn, turn.waiting.wait)


async def test_a_cancel_is_heeded_at_whatever_moment_it_comes(make: Make, models: ModelServer) -> None:
    agent = make(weather)
    before = asyncio.all_tasks()
    for moment in range(0, 240, 4):
        task = asyncio.create_task(ask(agent, "hold weather(Oslo) then say"))
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(3):
            await asyncio.wait([task])
        assert task.cancelled()
        assert not left_over(before, models)
    assert await ask(agent, "after") == said("after")


# ---- Failing ---------------------------------------------------------------------------------------------------------


async def test_a_tool_that_raises_is_told_of_and_the_next_turn_goes_well(make: Make) -> None:
    async def fail(city: str) -> str:
        """Fail."""
        raise ValueError(city)

    turn, agent = Recorder(), make(fail)
    try:
        await ask(agent, "fail(Oslo) then say", turn)
    except Exception as exc:  # noqa: BLE001 -- the framework decides what it makes of a tool's error
        assert "Oslo" in str(exc)  # noqa: PT017 -- either of two ends is right
        remembered = []
    else:
        assert [result.is_error for result in turn.results] == [True]
        remembered = ["fail(Oslo) then say"]
    assert len(turn.calls) == 1
    assert await ask(agent, "again") == said(*remembered, "again")


async def test_a_model_that_refuses_fails_the_turn_and_not_the_next(make: Make) -> None:
    agent = make(weather)
    await ask(agent, "before")
    with pytest.raises(Exception, match="refused"):
        await ask(agent, "refuse")
    assert await ask(agent, "again") == said("before", "again")


# ---- Approvals -------------------------------------------------------------------------------------------------------


def needs_approvals(framework: str) -> None:
    if framework == "llamaindex":
        pytest.skip("LlamaIndex has no approvals of tools; its tools ask themselves: see test_llamaindex.py")


async def test_an_approved_tool_runs(framework: str, make: Make) -> None:
    needs_approvals(framework)
    turn = Recorder({"approved": True})
    agent = make(guarded=[weather])
    await ask(agent, "weather(Oslo) then say", turn)
    (question,) = turn.questions
    assert (question.kind, question.tool_name, question.tool_kwargs) == ("approval", "weather", {"city": "Oslo"})
    assert {call.tool_call_id for call in turn.calls} == {turn.calls[0].tool_call_id}
    assert "7 degrees" in str(turn.results[-1].tool_output)
    assert len(turn.results) == 1
    assert await ask(agent, "again") == said("weather(Oslo) then say", "again")


async def test_a_denied_tool_does_not_run_and_the_model_gets_the_reason(
    framework: str, make: Make, models: ModelServer
) -> None:
    needs_approvals(framework)
    turn = Recorder({"approved": False, "reason": "not today"})
    await ask(make(guarded=[weather]), "weather(Oslo) then say", turn)
    (result,) = turn.results
    assert "7 degrees" not in str(result.tool_output)
    assert Item("result", "not today", turn.calls[0].tool_call_id or "") in [
        item._replace(text="not today") if "not today" in item.text else item for item in models.requests[-1]
    ]


async def test_two_tools_are_approved_one_by_one(framework: str, make: Make) -> None:
    needs_approvals(framework)
    turn = Recorder({"approved": True}, {"approved": False})
    await ask(make(guarded=[weather]), "weather(Oslo) weather(Bergen) then say", turn)
    assert [question.tool_kwargs for question in turn.questions] == [{"city": "Oslo"}, {"city": "Bergen"}]
    ran = [result for result in turn.results if "7 degrees" in str(result.tool_output)]
    assert len(ran) == 1
    assert "Oslo" in str(ran[0].tool_output)


async def test_an_approved_tool_runs_with_the_arguments_as_edited(framework: str, make: Make) -> None:
    if framework not in {"pydantic_ai", "langgraph"}:
        pytest.skip(f"{framework} has no way to edit the arguments of a call")
    turn = Recorder({"approved": True, "tool_kwargs": {"city": "Bergen"}})
    await ask(make(guarded=[weather]), "weather(Oslo) then say", turn)
    assert str(turn.results[-1].tool_output).endswith("Bergen: 7 degrees")  # LangChain puts a note before it
