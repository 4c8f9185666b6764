"""What the adapters share, and which object is whose. None of this needs a framework."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic_core import to_json

from agentsocket.agent.adapters import frameworks
from agentsocket.agent.adapters.conversation import Tokens, approve, as_text
from agentsocket.agent.adapters.frameworks import FRAMEWORKS, UnsupportedAgent, adapt, recognise
from agentsocket.agent.adapters.memory import Memory
from agentsocket.agent.adapters.resources import open_agent
from tests.server_process import ROOT
from tests.support import BareTurn


@dataclass
class Point:
    x: int
    y: int


def of(module: str, name: str, *bases: type) -> Any:
    """An object whose class says that it comes from a framework."""
    return type(name, bases, {"__module__": module})()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages, as if they were installed."""
    versions = {row.package: "99.0.1" for row in FRAMEWORKS}
    monkeypatch.setattr(frameworks, "version", versions.__getitem__)
    return versions


@pytest.mark.parametrize(
    ("module", "name", "framework"),
    [
        ("pydantic_ai.agent.abstract", "AbstractAgent", "pydantic_ai"),
        ("agents.agent", "Agent", "openai_agents"),
        ("langgraph.pregel.main", "Pregel", "langgraph"),
        ("langgraph.graph.state", "StateGraph", "langgraph"),
        ("llama_index.core.agent.workflow.base_agent", "BaseWorkflowAgent", "llamaindex"),
        ("llama_index.core.agent.workflow.multi_agent_workflow", "AgentWorkflow", "llamaindex"),
        ("google.adk.agents.base_agent", "BaseAgent", "google_adk"),
        ("google.adk.apps.app", "App", "google_adk"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_an_agent_is_known_by_its_class_and_by_those_it_inherits_from(module: str, name: str, framework: str) -> None:
    agent = of(module, name)
    assert recognise(agent) == framework
    assert recognise(of("my_project", "Mine", type(agent))) == framework


@pytest.mark.usefixtures("installed")
def test_what_is_of_no_framework_is_not_recognised() -> None:
    for other in (recognise, object(), of("my_agents", "Agent"), of("agents.tool", "FunctionTool")):
        assert recognise(other) is None
        with pytest.raises(UnsupportedAgent, match="is not an agent of pydantic-ai-slim, openai-agents"):
            adapt(other)


def test_a_module_that_only_has_a_frameworks_name_is_the_users_own() -> None:
    if find_spec("agents"):
        pytest.skip("the framework of that name is installed")
    assert recognise(of("agents.agent", "Agent")) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("llama_index.core.chat_engine.types", "BaseChatEngine"),
        ("workflows.workflow", "Workflow"),
        ("langchain_core.runnables.base", "Runnable"),
        ("google.adk.runners", "Runner"),
        ("agents.realtime.agent", "RealtimeAgent"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_a_shape_that_is_not_served_is_refused_in_one_line_that_says_what_is(module: str, name: str) -> None:
    bases = (type(of("agents.agent", "AgentBase")),) if name == "RealtimeAgent" else ()
    unserved = of(module, name, *bases)
    assert recognise(unserved) is not None
    with pytest.raises(UnsupportedAgent, match=r"cannot be served\. Served of [\w-]+, from [\d.]+ on: ") as refusal:
        adapt(unserved)
    assert "\n" not in str(refusal.value)


def test_a_package_that_is_too_old_is_refused_in_one_line(installed: dict[str, str]) -> None:
    installed["pydantic-ai-slim"] = "1.107.10"
    with pytest.raises(UnsupportedAgent, match=r"pydantic-ai-slim 1\.107\.10 is too old\. Served of .+, from 2\.\d"):
        adapt(of("pydantic_ai.agent.abstract", "AbstractAgent"))


def test_no_framework_is_imported_before_an_agent_of_it_turns_up() -> None:
    modules = "agents langchain_core langgraph llama_index google.adk pydantic_ai"
    code = f"import sys, agentsocket.process; print(*(m for m in '{modules}'.split() if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_snapshot_of_the_memory_is_the_turns_own_and_the_oldest_turns_go_whole() -> None:
    memory: Memory[int] = Memory(turns=2)
    memory.commit([1, 2])
    snapshot = memory.snapshot()
    snapshot.append(3)
    assert memory.snapshot() == [1, 2]
    memory.commit([4])
    memory.commit([5, 6])
    assert memory.snapshot() == [4, 5, 6]


def test_an_answer_is_text_and_has_usage_only_where_it_is_known() -> None:
    tokens = Tokens()
    assert tokens.report("fine").usage is None
    tokens.add(None, None)
    assert tokens.report("fine").model_dump() == {"response": "fine"}
    tokens.add(3, None)
    tokens.add(4, 5)
    assert tokens.report({"a": [1]}).model_dump() == {
        "response": '{"a":[1]}',
        "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "requests": 2},
        "result": {"a": [1]},
    }
    tokens.add(10, 20, cached_input_tokens=8, reasoning_tokens=15, requests=3)
    assert tokens.report("fine").usage == {
        "input_tokens": 17,
        "output_tokens": 25,
        "total_tokens": 42,
        "cached_input_tokens": 8,
        "reasoning_tokens": 15,
        "requests": 5,
    }
    assert as_text(None) == ""


@pytest.mark.parametrize("output", [{"a": 1}, [1, "b"], 7, 0, 1.5, True, False, Point(1, 2)])
def test_what_is_no_text_is_the_structured_result_beside_its_text(output: Any) -> None:
    answer = Tokens().report(output)
    assert answer.response == to_json(output).decode()
    assert to_json(answer.result) == to_json(output)


@pytest.mark.parametrize("output", ["text", "", None])
def test_plain_text_is_no_structured_result(output: Any) -> None:
    assert Tokens().report(output).model_dump() == {"response": output or ""}


def test_turns_whose_files_are_too_large_together_go_from_the_oldest_on() -> None:
    memory: Memory[int] = Memory(size=100)
    for message, size in enumerate([60, 30, 50, 0]):
        memory.commit([message], size)
    assert memory.snapshot() == [1, 2, 3]
    memory.commit([4], 1000)
    assert memory.snapshot() == [4]


# ---- What a factory opens --------------------------------------------------------------------------------------------


class Opened:
    """Which task entered, and which left."""

    def __init__(self) -> None:
        self.by: list[asyncio.Task[Any] | None] = []

    @asynccontextmanager
    async def agent(self, fail: Exception | None = None) -> AsyncIterator[str]:
        self.by.append(asyncio.current_task())
        if fail:
            raise fail
        try:
            yield "agent"
        finally:
            self.by.append(asyncio.current_task())


async def test_what_a_factory_opens_is_closed_by_the_task_that_opened_it() -> None:
    opened = Opened()
    agent, close = await asyncio.create_task(open_agent(opened.agent()))
    assert agent == "agent"
    assert len(opened.by) == 1
    await asyncio.ensure_future(close())
    assert opened.by[0] is opened.by[1]


async def test_what_cannot_be_opened_raises_why() -> None:
    with pytest.raises(OSError, match="no such server"):
        await open_agent(Opened().agent(OSError("no such server")))


async def test_a_login_that_is_given_up_closes_what_it_has_begun_to_open() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
            yield
        finally:
            left.set()

    login = asyncio.create_task(open_agent(slow()))
    await entered.wait()
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login
    assert left.is_set()


async def test_an_approval_says_which_tool_would_run_with_what() -> None:
    class Yes(BareTurn):
        async def emit(self, event: Any) -> None: ...

        async def ask(self, question: Any) -> Any:
            assert (question.kind, question.tool_name, question.tool_kwargs) == ("approval", "delete", {"all": True})
            return {"approved": True, "tool_kwargs": {"all": False}}

    approval = await approve(Yes(), "delete", {"all": True})
    assert approval.approved
    assert approval.tool_kwargs == {"all": False}
