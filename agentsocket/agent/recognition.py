"""What can serve nobody, and is refused at the start: what is no agent, and agents of frameworks without an adapter."""

import inspect
from typing import Any

from agentsocket.agent.adapters.frameworks import recognise_class

UNSERVED = {
    "ag2": "AG2",
    "agent_framework": "the Microsoft Agent Framework",
    "agno": "Agno",
    "autogen": "AutoGen",
    "autogen_agentchat": "AutoGen",
    "autogen_core": "AutoGen",
    "autogen_ext": "AutoGen",
    "claude_agent_sdk": "the Claude Agent SDK",
    "crewai": "CrewAI",
    "dspy": "DSPy",
    "haystack": "Haystack",
    "haystack_integrations": "Haystack",
    "semantic_kernel": "Semantic Kernel",
    "smolagents": "smolagents",
    "strands": "Strands Agents",
}
"""Frameworks without an adapter, by the package that their classes are from. None of them is imported for this."""


def why_unfit(found: Any) -> str | None:
    """Return why this can serve nobody, as far as that can be told without calling it."""
    if not inspect.isclass(found) and not inspect.isroutine(found) and (framework := _unserved(found)):
        return (
            f"found {type(found).__qualname__}, an agent of {framework}, which has no adapter: "
            "serve a function of one message that calls it"
        )
    if not callable(found):
        return f"found an object of type {type(found).__name__}"
    if not inspect.isclass(found) or (reason := _why_no_agents(found)) is None:
        return None
    framework = _unserved(found)
    return f"{reason}; it is of {framework}, which has no adapter" if framework else reason


def _why_no_agents(cls: Any) -> str | None:
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        return f"of the class '{cls.__qualname__}' there can be no instance: it is abstract"
    run = inspect.getattr_static(cls, "run", None)
    if inspect.iscoroutinefunction(run):
        try:
            inspect.signature(run).bind(None, "message", None)
        except TypeError:
            return f"'{cls.__qualname__}.run' cannot be called with (message, turn)"
        return None
    if _unserved(cls) is None and (inspect.iscoroutinefunction(getattr(cls, "run", None)) or _gives_others(cls)):
        return None
    return f"the class '{cls.__qualname__}' has no 'async def run(self, message, turn)'"


def _gives_others(cls: Any) -> bool:
    """Whether what a class makes may be something else than it seems: opened, awaited, of a framework."""
    if any(hasattr(cls, name) for name in ("__aenter__", "__enter__", "__await__", "__getattr__")):
        return True
    special = cls.__new__ is not object.__new__ or type(cls).__call__ is not type.__call__
    return special or recognise_class(cls) is not None


def _unserved(found: Any) -> str | None:
    classes = inspect.getmro(found if inspect.isclass(found) else type(found))
    modules = [getattr(found, "__module__", None), *(cls.__module__ for cls in classes)]
    return next(filter(None, (UNSERVED.get(str(module).partition(".")[0]) for module in modules)), None)
