"""What only LangGraph has."""

import asyncio
import json
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from agentsocket.agent.adapters.frameworks import UnsupportedAgent, adapt
from agentsocket.agent.contract import Context
from agentsocket.identity.user import User
from agentsocket.protocol.events import AgentOutput
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder

pytest.importorskip("langchain")

from langchain_core.messages import AIMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from tests.frameworks.builds.langgraph import build


def graph(state: type[Any], *nodes: Any, context: Any = None) -> Any:
    """A graph of nodes one after the other, not compiled yet."""
    builder = StateGraph(state, context_schema=context)
    builder.add_sequence(nodes)
    builder.add_edge(START, nodes[0].__name__)
    return builder


async def answer(agent: Any, message: str, turn: Recorder | None = None) -> str:
    return str((await agent.run(message, turn or Recorder())).response)


async def test_a_question_in_a_node_is_asked_of_the_person() -> None:
    async def colour(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"you like {interrupt('Which colour?')}")]}

    agent, turn = adapt(graph(MessagesState, colour)), Recorder("blue", "red")
    assert await answer(agent, "ask me", turn) == "you like blue"
    assert [(question.kind, question.prompt) for question in turn.questions] == [("text", "Which colour?")]
    assert await answer(agent, "ask me", turn) == "you like red"


async def test_a_question_in_a_tool_does_not_tell_of_the_tool_twice(models: ModelServer) -> None:
    async def choose(city: str) -> str:
        """Let the person choose."""
        return f"{city} in {interrupt({'question': 'Which month?'})}"

    turn = Recorder("May")
    await answer(adapt(build(models.url, [choose], [])), "choose(Oslo) then say", turn)
    assert len(turn.calls) == 1
    assert [result.tool_output for result in turn.results] == ["Oslo in May"]
    assert turn.questions[0].prompt == '{"question":"Which month?"}'


async def test_what_else_a_graph_remembers_is_kept_but_not_of_a_cancelled_turn() -> None:
    class Counted(MessagesState):
        seen: Annotated[list[str], operator.add]

    async def count(state: Counted) -> dict[str, Any]:
        text = str(state["messages"][-1].text)
        return {"seen": [text], "messages": [AIMessage(",".join([*state.get("seen", []), text]))]}

    agent = adapt(graph(Counted, count))
    assert await answer(agent, "a") == "a"
    turn = Recorder(keep_waiting=AgentOutput)
    cancelled = asyncio.create_task(answer(agent, "b", turn))
    await turn.waiting.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert await answer(agent, "c") == "a,c"


async def test_of_a_state_what_is_plain_json_is_remembered_when_the_session_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Counted(MessagesState):
        seen: Annotated[list[str], operator.add]
        open: Any

    async def count(state: Counted) -> dict[str, Any]:
        text = str(state["messages"][-1].text)
        said = ",".join([*state.get("seen", []), text, str(bool(state.get("open")))])
        return {"seen": [text], "messages": [AIMessage(said)], "open": {1: 2}}

    agent: Any = adapt(graph(Counted, count))
    assert await answer(agent, "a") == "a,False"
    for _ in range(2):
        memory = json.loads(json.dumps(await agent.save()))
    assert caplog.text.count("'open' of an agent's state is no plain JSON") == 1
    new: Any = adapt(graph(Counted, count))
    await new.load(memory)
    assert await answer(new, "c") == "a,c,False"
    assert await answer(agent, "c") == "a,c,True"


async def test_an_artifact_that_is_no_json_does_not_hinder_what_is_remembered() -> None:
    async def call(_: MessagesState) -> dict[str, Any]:
        calls = [{"name": "look", "args": {}, "id": f"call_{n}"} for n in (1, 2)]
        results = [ToolMessage("seen", tool_call_id=f"call_{n}", artifact=artifact) for n, artifact in artifacts]
        return {"messages": [AIMessage("", tool_calls=calls), *results, AIMessage("done")]}

    artifacts: list[tuple[int, Any]] = [(1, {"a"}), (2, {"rows": [1, 2]})]
    agent: Any = adapt(graph(MessagesState, call))
    await answer(agent, "a")
    new: Any = adapt(graph(MessagesState, call))
    await new.load(json.loads(json.dumps(await agent.save())))
    results = [message for message in new.memory.snapshot() if isinstance(message, ToolMessage)]
    assert [result.artifact for result in results] == [None, {"rows": [1, 2]}]


async def test_a_graph_that_removes_messages_of_the_past_adds_only_its_new_ones() -> None:
    async def forget(state: MessagesState) -> dict[str, Any]:
        texts = [message.text for message in state["messages"]]
        return {"messages": [*(RemoveMessage(str(m.id)) for m in state["messages"][:-1]), AIMessage(f"{texts}")]}

    agent = adapt(graph(MessagesState, forget))
    await answer(agent, "a")
    await answer(agent, "b")
    assert await answer(agent, "c") == str(["a", "['a']", "b", "['a', \"['a']\", 'b']", "c"])


async def test_a_graph_within_a_graph_tells_each_thing_once_and_at_once(models: ModelServer) -> None:
    async def weather(city: str) -> str:
        """Tell the weather."""
        return city

    builder = StateGraph(MessagesState)
    builder.add_node("inner", build(models.url, [weather], []))
    builder.add_edge(START, "inner")
    agent, turn = adapt(builder.compile()), Recorder()
    await answer(agent, "weather(Oslo) then say")
    await answer(agent, "weather(Bergen) then say", turn)
    assert [call.tool_kwargs for call in turn.calls] == [{"city": "Bergen"}]
    assert [result.tool_output for result in turn.results] == ["Bergen"]
    assert turn.text == ["Heard:", " [weather(Oslo) then say]", " [weather(Bergen) then say]"]


async def test_the_users_own_checkpointer_gets_nothing() -> None:
    async def echo(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(str(state["messages"][-1].text))]}

    saver = InMemorySaver()
    await answer(adapt(graph(MessagesState, echo).compile(checkpointer=saver)), "hello")
    assert [saved async for saved in saver.alist(None)] == []


async def test_a_context_of_defaults_is_made_and_any_other_must_be_given() -> None:
    @dataclass
    class Easy:
        tone: str = field(default="kind")

    @dataclass
    class Hard:
        tone: str

    async def speak(_: MessagesState, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(runtime.context.tone)]}

    assert await answer(adapt(graph(MessagesState, speak, context=Easy)), "hello") == "kind"
    assert await answer(adapt(graph(MessagesState, speak, context=Hard), context=Hard("stern")), "hello") == "stern"
    with pytest.raises(UnsupportedAgent, match=r"needs a context: .*context=Hard\(\.\.\.\)"):
        adapt(graph(MessagesState, speak, context=Hard))


# ---- Who asks --------------------------------------------------------------------------------------------------------

ADA = Context("the session", User("ada"), {"locale": "fr", "user_id": "mallory", "thread_id": "mallory", "tone": "a"})


async def configurable(agent: Any = None, turn: Recorder | None = None, **options: Any) -> dict[str, Any]:
    """What a node finds in its config, but for what LangGraph itself puts there."""
    seen: list[dict[str, Any]] = []

    async def look(_: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        own = ("_", "checkpoint")
        seen.append({name: value for name, value in config["configurable"].items() if not name.startswith(own)})
        return {"messages": [AIMessage("seen")]}

    bound = (agent or (lambda compiled: compiled))(graph(MessagesState, look).compile())
    await answer(adapt(bound, **options), "hello", turn or Recorder(context=ADA, tone="b", session_id="mallory"))
    return seen[0]


async def test_a_node_finds_user_session_and_params_in_its_config() -> None:
    said = {"locale": "fr", "user_id": "mallory", "thread_id": "mallory", "tone": "b", "session_id": "mallory"}
    session = {"session_id": "the session", "thread_id": "the session"}
    assert await configurable() == {**session, "user_id": "ada", "params": said}
    nobody = Recorder(context=Context("the session"))
    assert await configurable(turn=nobody) == {**session, "params": {}}


@pytest.mark.parametrize("how", ["given once", "of the turn", "bound to the graph"])
async def test_what_the_operator_has_put_into_the_config_is_kept(how: str) -> None:
    config: Any = {"configurable": {"thread_id": "theirs", "user_id": "theirs", "more": 1}, "recursion_limit": 7}
    given: dict[str, Any] = {
        "given once": {"config": config},
        "of the turn": {"for_turn": lambda _: {"config": config}},
        "bound to the graph": {"agent": lambda compiled: compiled.with_config(config)},
    }[how]
    found = await configurable(**given)
    assert found["params"]["tone"] == "b"
    assert {name: found[name] for name in ("thread_id", "user_id", "more", "session_id")} == {
        **config["configurable"],
        "session_id": "the session",
    }
    assert config["configurable"] == {"thread_id": "theirs", "user_id": "theirs", "more": 1}


async def test_a_context_may_come_with_each_turn() -> None:
    @dataclass
    class Who:
        user: str

    async def speak(_: MessagesState, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(runtime.context.user)]}

    agent = adapt(
        graph(MessagesState, speak, context=Who), for_turn=lambda turn: {"context": Who(str(turn.params["who"]))}
    )
    assert [await answer(agent, "hello", Recorder(who=who)) for who in ("ada", "bob")] == ["ada", "bob"]
    agent = adapt(graph(MessagesState, speak, context=Who), for_turn=lambda _: {})
    with pytest.raises(UnsupportedAgent, match="needs a context"):
        await answer(agent, "hello")


def test_graphs_without_messages_and_with_break_points_are_refused() -> None:
    @entrypoint()
    async def workflow(text: str) -> str:
        return text

    async def echo(state: MessagesState) -> MessagesState:
        return state

    with pytest.raises(UnsupportedAgent, match='has no "messages"'):
        adapt(workflow)
    with pytest.raises(UnsupportedAgent, match=r"use interrupt\(\)"):
        adapt(graph(MessagesState, echo).compile(interrupt_before=["echo"]))
