"""The contract's tests run once for each framework that is installed."""

import asyncio
import functools
import gc
import importlib
import importlib.util
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from tests.frameworks.model_server import ModelServer, model_server

FRAMEWORKS = {
    "pydantic_ai": "pydantic_ai",
    "openai_agents": "agents",
    "langgraph": "langchain",
    "llamaindex": "llama_index",
    "google_adk": "google.adk",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # The frameworks warn of what they themselves will change, and leave their HTTP clients to the collector.
            item.add_marker(pytest.mark.filterwarnings("default"))
            if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
                item.obj = bounded(item.obj)


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The one outer bound on whatever a test waits for."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(120):
            await test(*args, **kwargs)

    return run


def need(framework: str) -> None:
    """Skip a test whose framework is not installed, unless it is the one that this run is for."""
    package = FRAMEWORKS[framework]
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # its parent is not there
        found = None
    if found is None and os.environ.get("FRAMEWORK") != framework:
        pytest.skip(f"{framework} is not installed")


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    need(request.param)
    return str(request.param)


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server
    gc.collect()  # now, while their warnings are let through


Make = Callable[..., Any]


@pytest.fixture
def builds(framework: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that builds agents of the framework."""
    monkeypatch.setenv("GOOGLE_API_KEY", "none")
    return importlib.import_module(f"tests.frameworks.builds.{framework}")


@pytest.fixture
def build(builds: Any, models: ModelServer) -> Make:
    """Makes an agent object of the framework from plain functions."""

    def build(*tools: Callable[..., Any], guarded: list[Callable[..., Any]] | None = None) -> Any:
        return builds.build(models.url, list(tools), guarded or [])

    return build


@pytest.fixture
def nest(builds: Any, models: ModelServer) -> Make:
    """Makes an agent object that has a function in another agent within it, and the message that calls it there."""

    def nest(tool: Callable[..., Any], call: str) -> tuple[Any, str]:
        is_told = "={}" in builds.NESTED  # and does not see the message itself
        inner = call.translate({ord("("): "[", ord(")"): "]"}) if is_told else call
        return builds.nested(models.url, [tool]), builds.NESTED.format(inner)

    return nest


@pytest.fixture
def make(build: Make) -> Make:
    """Makes an agent of the framework, ready to be served, from plain functions."""
    return lambda *tools, **guarded: adapt(build(*tools, **guarded))
