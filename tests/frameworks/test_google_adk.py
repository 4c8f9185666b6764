"""What only Google ADK has."""

import asyncio
import json
import threading
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.adapters.memory import Memory
from agentsocket.agent.contract import Context
from agentsocket.identity.user import User
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder

pytest.importorskip("google.adk")

from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig
from google.adk.apps import App
from google.adk.events import RequestInput
from google.adk.models import Gemini
from google.adk.tools.tool_context import ToolContext
from google.adk.workflow import START, Workflow

from tests.frameworks.builds.google_adk import build


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "none")


async def park(city: str, tool_context: ToolContext) -> str:
    """Note the city, then wait."""
    tool_context.state[city] = True
    if city == "Bodo":
        await asyncio.get_running_loop().create_future()
    return ",".join(city for city in ("Oslo", "Bergen", "Bodo", "Hamar") if tool_context.state.get(city))


async def test_state_is_kept_but_not_of_a_cancelled_turn(models: ModelServer) -> None:
    agent = adapt(build(models.url, [park], []))
    await agent.run("park(Oslo) then say", Recorder())
    turn = Recorder()
    cancelled = asyncio.create_task(agent.run("park(Hamar) then park(Bodo)", turn))
    while len(turn.calls) < 2:  # noqa: ASYNC110  # the tool has no word to say
        await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    turn = Recorder()
    await agent.run("park(Bergen) then say", turn)
    assert turn.results[0].tool_output == "Oslo,Bergen"


async def test_state_outlives_the_turns_that_memory_drops_and_sessions_do_not_pile_up(models: ModelServer) -> None:
    agent: Any = adapt(build(models.url, [park], []))
    agent.memory = Memory(turns=1)
    for city in ("Oslo", "Bergen", "Hamar"):
        turn = Recorder()
        await agent.run(f"park({city}) then say", turn)
    assert turn.results[0].tool_output == "Oslo,Bergen,Hamar"
    assert (await agent._sessions.list_sessions(app_name="scripted", user_id="a session")).sessions == []


async def test_state_is_remembered_when_the_session_is_over(models: ModelServer) -> None:
    agent: Any = adapt(build(models.url, [park], []))
    await agent.run("park(Oslo) then say", Recorder())
    new: Any = adapt(build(models.url, [park], []))
    await new.load(json.loads(json.dumps(await agent.save())))
    turn = Recorder()
    await new.run("park(Bergen) then say", turn)
    assert turn.results[0].tool_output == "Oslo,Bergen"


ADA = Context("the session", User("ada"), {"user_id": "mallory"})


@pytest.mark.parametrize(
    ("context", "options", "user"),
    [
        (ADA, {}, "ada"),
        (Context("the session", None, {"user_id": "mallory"}), {}, "the session"),
        (ADA, {"user_id": "theirs"}, "theirs"),
        (ADA, {"for_turn": lambda turn: {"user_id": f"theirs, {turn.context.user.id}"}}, "theirs, ada"),
    ],
)
async def test_a_tool_finds_the_user(models: ModelServer, context: Context, options: Any, user: str) -> None:
    async def whose(city: str, tool_context: ToolContext) -> str:
        """Tell whose session it is."""
        return f"{city}: {tool_context.user_id}"

    turn = Recorder(context=context, user_id="mallory")
    agent: Any = adapt(build(models.url, [whose], []), **options)
    await agent.run("whose(Oslo) then say", turn)
    assert turn.results[0].tool_output == f"Oslo: {user}"
    assert (await agent._sessions.list_sessions(app_name="scripted")).sessions == []


@pytest.mark.parametrize("per_turn", [False, True])
async def test_a_run_config_of_the_operators_leaves_text_in_pieces_and_tools_in_threads(
    models: ModelServer,
    per_turn: bool,  # noqa: FBT001  # a parameter
) -> None:
    config = RunConfig(max_llm_calls=3)

    def where(city: str) -> str:
        """Tell whether it is a thread of its own."""
        return f"{city}: {threading.current_thread() is not threading.main_thread()}"

    options: Any = {"for_turn": lambda _: {"run_config": config}} if per_turn else {"run_config": config}
    turn = Recorder()
    agent = adapt(build(models.url, [where], []), **options)
    await agent.run("where(Oslo) then say", turn)
    assert turn.results[0].tool_output == "Oslo: True"
    assert len(turn.text) > 1
    assert config == RunConfig(max_llm_calls=3)
    with pytest.raises(Exception, match="3"):
        await agent.run("where(A) then where(B) then where(C) then say", Recorder())


async def test_an_app_is_served_with_its_root_agent(models: ModelServer) -> None:
    answer: Any = await adapt(App(name="travel", root_agent=build(models.url, [], []))).run("hello", Recorder())
    assert answer.response == "Heard: [hello]"


async def test_a_transfer_is_told_as_a_tool_and_the_next_turn_goes_to_who_took_over(models: ModelServer) -> None:
    model = Gemini(model="gemini-scripted", base_url=models.url)
    expert = LlmAgent(name="expert", model=model, description="the expert")
    agent: Any = adapt(LlmAgent(name="front", model=model, sub_agents=[expert]))
    turn = Recorder()
    await agent.run("transfer_to_agent(agent_name=expert) then say", turn)
    assert [call.tool_kwargs for call in turn.calls] == [{"agent_name": "expert"}]
    assert await agent.run("again", Recorder())
    assert agent.memory.snapshot()[-1].author == "expert"
    for name in ("expert", "other"):  # who is not there any more leaves it to the first one
        other = LlmAgent(name=name, model=model, description="the expert")
        new: Any = adapt(LlmAgent(name="front", model=model, sub_agents=[other]))
        await new.load(json.loads(json.dumps(await agent.save())))
        assert await new.run("again", Recorder())
        assert new.memory.snapshot()[-1].author == ("expert" if name == "expert" else "front")


async def test_a_workflow_asks_the_person_and_answers_with_its_output() -> None:
    async def ask(node_input: Any) -> Any:
        yield RequestInput(message=f"What about {node_input}?")

    async def tell(node_input: str) -> str:
        return f"{node_input}!"

    turn = Recorder("fine")
    answer: Any = await adapt(Workflow(name="survey", edges=[(START, ask, tell)])).run("the weather", turn)
    assert len(turn.questions) == 1
    assert "What about" in turn.questions[0].prompt
    assert answer.response == "fine!"
