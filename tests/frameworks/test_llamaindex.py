"""What only LlamaIndex has."""

import asyncio
import json
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import UnsupportedAgent, adapt
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder

pytest.importorskip("llama_index.core")

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.workflow import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)

from tests.frameworks.builds.llamaindex import build


async def book(ctx: Context, city: str) -> str:
    """Ask, then book."""
    question = InputRequiredEvent(prefix=f"Book {city}?", city=city)
    answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=question, requirements={"city": city})
    return f"{city}: {answer.response}"


async def count(ctx: Context, city: str) -> str:
    """Count the calls of the whole session."""
    async with ctx.store.edit_state() as store:
        state = store.get("state") or {}
        store["state"] = {"cities": [*state.get("cities", []), city]}
        store["socket"] = object()
        return ",".join(store["state"]["cities"])


async def test_two_tools_that_ask_at_once_get_each_its_own_answer(models: ModelServer) -> None:
    turn = Recorder("yes", "no")
    await adapt(build(models.url, [book], [])).run("book(Oslo) book(Bergen) then say", turn)
    asked = [question.prompt.removeprefix("Book ").removesuffix("?") for question in turn.questions]
    assert sorted(asked) == ["Bergen", "Oslo"]
    answers = dict(zip(asked, ("yes", "no"), strict=True))
    assert {result.tool_output for result in turn.results} == {f"{city}: {said}" for city, said in answers.items()}
    # The tool is called again once its answer is there; the server drops a call that is open already.
    assert len({call.tool_call_id for call in turn.calls}) == 2


async def test_a_tool_that_writes_its_questions_itself_is_asked_each_once(models: ModelServer) -> None:
    async def confirm(ctx: Context, city: str) -> str:
        """Ask twice, as older examples do."""
        answers = []
        for when in ("now", "later"):
            ctx.write_event_to_stream(InputRequiredEvent(prefix=f"{city} {when}?", when=when))
            answer = await ctx.wait_for_event(HumanResponseEvent, requirements={"when": when})
            answers.append(answer.response)
        return ",".join(answers)

    turn = Recorder("no", "yes", "never", "ever")
    await adapt(build(models.url, [confirm], [])).run("confirm(Oslo) then confirm(Oslo) then say", turn)
    assert [question.prompt for question in turn.questions] == ["Oslo now?", "Oslo later?"] * 2
    assert [result.tool_output for result in turn.results] == ["no,yes", "never,ever"]


async def test_a_cancel_reaches_a_tool_that_waits_for_its_answer(models: ModelServer) -> None:
    agent, turn = adapt(build(models.url, [book], [])), Recorder()
    before = asyncio.all_tasks()
    task = asyncio.create_task(agent.run("book(Oslo) then say", turn))
    await turn.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not {left for left in asyncio.all_tasks() - before - models.tasks if asyncio.iscoroutine(left.get_coro())}
    assert "book" not in str(await agent.run("again", Recorder()))


async def test_what_tools_keep_in_the_context_is_kept_but_not_of_a_cancelled_turn(
    models: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    agent = adapt(build(models.url, [count, book], []))
    await agent.run("count(Oslo) then say", Recorder())
    turn = Recorder()
    cancelled = asyncio.create_task(agent.run("count(Bodo) then book(Bodo)", turn))
    await turn.waiting.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    turn = Recorder()
    await agent.run("count(Bergen) then say", turn)
    assert turn.results[0].tool_output == "Oslo,Bergen"
    assert "'socket' in the store of a LlamaIndex context has no form in JSON" in caplog.text
    kinds = [item.kind for item in models.requests[-1]]
    assert kinds == ["user", "call", "result", "assistant", "user", "call", "result"]


async def test_what_tools_keep_in_the_context_is_remembered_when_the_session_is_over(models: ModelServer) -> None:
    agent: Any = adapt(build(models.url, [count], []))
    await agent.run("count(Oslo) then say", Recorder())
    memory = json.loads(json.dumps(await agent.save()))
    assert "user_msg_str" not in memory["state"]
    new: Any = adapt(build(models.url, [count], []))
    await new.load(memory)
    turn = Recorder()
    await new.run("count(Bergen) then say", turn)
    assert turn.results[0].tool_output == "Oslo,Bergen"


async def test_a_conversation_outlives_the_agent_that_it_was_handed_to(models: ModelServer) -> None:
    def workflow(*names: str) -> AgentWorkflow:
        agents = [build(models.url, [], []).model_copy(update={"name": name, "description": name}) for name in names]
        return AgentWorkflow(agents=agents, root_agent="front")

    agent: Any = adapt(workflow("front", "expert"))
    await agent.run("handoff(to_agent=expert, reason=asked) then say", Recorder())
    new: Any = adapt(workflow("front", "other"))
    await new.load(json.loads(json.dumps(await agent.save())))
    assert await new.run("again", Recorder())
    assert new._store["current_agent_name"] == "front"


async def test_after_a_handoff_the_next_turn_goes_to_who_took_over(models: ModelServer) -> None:
    def agent(name: str) -> FunctionAgent:
        served: FunctionAgent = build(models.url, [], [])
        return served.model_copy(update={"name": name, "description": name, "system_prompt": f"I am {name}"})

    adapter: Any = adapt(AgentWorkflow(agents=[agent("front"), agent("expert")], root_agent="front"))
    turn = Recorder()
    await adapter.run("handoff(to_agent=expert, reason=asked) then say", turn)
    assert [call.tool_name for call in turn.calls] == ["handoff"]
    assert adapter._store["current_agent_name"] == "expert"
    assert await adapter.run("again", Recorder())
    assert adapter._store["current_agent_name"] == "expert"


async def test_an_agent_that_reasons_in_text_is_served_too(models: ModelServer) -> None:
    turn = Recorder()
    answer: Any = await adapt(ReActAgent(llm=build(models.url, [], []).llm, tools=[])).run("say", turn)
    assert len(turn.text) > 1
    assert answer.response == "".join(turn.text) == "Heard: [say]"


def test_a_workflow_that_is_no_agent_is_refused() -> None:
    class Plain(Workflow):
        @step
        async def only(self, _: StartEvent) -> StopEvent:
            return StopEvent(result="done")

    with pytest.raises(UnsupportedAgent, match="FunctionAgent, ReActAgent"):
        adapt(Plain())
