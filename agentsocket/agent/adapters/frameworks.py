"""Which framework an agent object is of, and the adapter for it. Imports none of them."""

import contextlib
import inspect
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, cast

from agentsocket.agent.adapters.conversation import ForTurn, RunOptions
from agentsocket.agent.adapters.warming import warm_libraries
from agentsocket.agent.contract import Agent


class UnsupportedAgent(ValueError):  # noqa: N818 -- it is the agent that is named, as in FileNotFoundError's kin
    """An object that no adapter can serve. Its text is one line, and says what could be served instead."""


class Framework(NamedTuple):
    """One row of the table: a class is known by the start of its module's name and by its own name."""

    module: str
    """The adapter's module, under ``adapters``."""
    adapter: str
    package: str
    oldest: tuple[int, ...]
    """The first release that the adapter works with."""
    modules: tuple[str, ...]
    served: frozenset[str]
    refused: frozenset[str]
    """Classes that are near enough to be mistaken for an agent."""
    shapes: str
    """What is served, for people."""


FRAMEWORKS = (
    Framework(
        module="pydantic_ai",
        adapter="PydanticAIAgent",
        package="pydantic-ai-slim",
        oldest=(2, 33),
        modules=("pydantic_ai.",),
        served=frozenset({"AbstractAgent"}),
        refused=frozenset(),
        shapes="Agent and its wrappers",
    ),
    Framework(
        module="openai_agents",
        adapter="OpenAIAgent",
        package="openai-agents",
        oldest=(0, 24),
        modules=("agents.",),
        served=frozenset({"Agent"}),
        refused=frozenset({"AgentBase", "AgentRunner", "Runner", "VoicePipeline"}),
        shapes="Agent (neither realtime nor voice)",
    ),
    Framework(
        module="langgraph",
        adapter="LangGraphAgent",
        package="langgraph",
        oldest=(1, 0),
        modules=("langgraph.", "langchain_core."),
        served=frozenset({"Pregel", "StateGraph"}),
        refused=frozenset({"Runnable", "RemoteGraph"}),
        shapes='create_agent(...) and any graph whose state has "messages"',
    ),
    Framework(
        module="llamaindex",
        adapter="LlamaIndexAgent",
        package="llama-index-core",
        oldest=(0, 14, 8),
        modules=("llama_index.", "workflows.workflow"),
        served=frozenset({"BaseWorkflowAgent", "AgentWorkflow"}),
        refused=frozenset({"BaseChatEngine", "BaseQueryEngine", "BaseRetriever", "Workflow"}),
        shapes="FunctionAgent, ReActAgent, CodeActAgent and AgentWorkflow",
    ),
    Framework(
        module="google_adk",
        adapter="GoogleADKAgent",
        package="google-adk",
        oldest=(2, 12),
        modules=("google.adk.",),
        served=frozenset({"BaseAgent", "BaseNode", "App"}),
        refused=frozenset({"Runner"}),
        shapes="LlmAgent and other agents, Workflow, App",
    ),
)


def recognise(obj: object) -> str | None:
    """The adapter's name if ``obj`` is an agent of a framework, or nearly one; None for plain Python."""
    found = _find(obj)
    return found and found[0].module


def recognise_class(cls: type) -> str | None:
    """The same for what a class makes."""
    found = _find_class(cls)
    return found and found[0].module


def prepare() -> None:
    """Get the frameworks that are imported already, and their adapters, ready: their agents may come at any login."""
    for row in FRAMEWORKS:
        imported = any(name.startswith(row.modules) for name in list(sys.modules))
        if imported and _release(row.package) >= row.oldest:
            with contextlib.suppress(Exception):  # it is told when such an agent is to be served
                adapter = getattr(import_module(f"{__package__}.{row.module}"), row.adapter)
                if isinstance(inspect.getattr_static(adapter, "warm_up", None), staticmethod):
                    adapter.warm_up()
                warm_libraries()


def warm_up(agent: Agent) -> None:
    """Have an adapter do now what its framework would do at the first message, on the loop and for long."""
    with contextlib.suppress(Exception):  # a message will tell what is wrong
        getattr(agent, "warm_up", lambda: None)()
    warm_libraries()


def is_adapter(agent: Agent) -> bool:
    """Whether it is one of the adapters here."""
    return type(agent).__module__.startswith(f"{__package__}.")


def adapt(obj: object, *, for_turn: ForTurn | None = None, **run_options: Any) -> Agent:
    """An agent for one session. Several may be made of one object: memory is the adapter's, not the object's.

    ``run_options`` go to the framework's own run (``deps=``, ``context=``, ``max_turns=`` and so on). ``for_turn``, a
    function that may be async, makes those of one turn, which go over them; what it raises fails that turn.

    Raises:
        TypeError: if the adapter itself sets one of the options.
        UnsupportedAgent: if the object's package is too old, or its shape is not served.
    """
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if (found := _find(obj)) is None:
        raise UnsupportedAgent(f"{kind} is not an agent of {', '.join(row.package for row in FRAMEWORKS)}.")
    framework, served = found
    needed = f"Served of {framework.package}, from {'.'.join(map(str, framework.oldest))} on: {framework.shapes}."
    if not served:
        raise UnsupportedAgent(f"{kind} cannot be served. {needed}")
    if _release(framework.package) < framework.oldest:
        raise UnsupportedAgent(f"{framework.package} {version(framework.package)} is too old. {needed}")
    adapter = getattr(import_module(f"{__package__}.{framework.module}"), framework.adapter)
    agent = adapter(obj, RunOptions(run_options, for_turn, adapter.RESERVED))
    agent.__wrapped__ = obj  # its name and description are the agent's
    return cast("Agent", agent)


def _find(obj: object) -> tuple[Framework, bool] | None:
    """The row of the nearest of the object's classes that is in the table, and whether that class is served."""
    return _find_class(type(obj))


def _find_class(nearest: type) -> tuple[Framework, bool] | None:
    for cls in nearest.__mro__:
        for row in FRAMEWORKS:
            if cls.__module__.startswith(row.modules) and cls.__name__ in row.served | row.refused:
                # A module may have the same name as a framework's ("agents"), and nothing to do with it.
                return (row, cls.__name__ in row.served) if _release(row.package) else None
    return None


def _release(package: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version(package))[:3])
    except PackageNotFoundError:
        return ()
