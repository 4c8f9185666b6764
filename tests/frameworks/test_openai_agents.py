"""What only the OpenAI Agents SDK has."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder
from tests.support import load_agent, made

pytest.importorskip("agents")

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig, set_trace_processors
from agents.tracing import setup
from openai import AsyncOpenAI


def model(models: ModelServer) -> OpenAIChatCompletionsModel:
    return OpenAIChatCompletionsModel("scripted", AsyncOpenAI(base_url=f"{models.url}/v1", api_key="none"))


async def test_it_works_with_chat_completions_too(models: ModelServer) -> None:
    turn = Recorder()
    settings = ModelSettings(include_usage=True)
    answer: Any = await adapt(Agent("chat", model=model(models), model_settings=settings)).run("hello", turn)
    assert turn.text == ["Heard:", " [hello]"]
    assert answer.usage == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, "requests": 1}


async def test_a_handoff_is_told_as_a_tool_and_the_next_turn_goes_to_who_took_over(models: ModelServer) -> None:
    expert = Agent("Expert", model=model(models), instructions="I am the expert")
    adapter: Any = adapt(Agent("Front", model=model(models), handoffs=[expert]))
    turn = Recorder()
    await adapter.run("transfer_to_expert() then say", turn)
    assert [call.tool_name for call in turn.calls] == ["transfer_to_expert"]
    assert [result.tool_call_id for result in turn.results] == [turn.calls[0].tool_call_id]
    assert adapter._agent is expert
    assert await adapter.run("again", Recorder())


async def test_a_run_config_may_be_a_dict_as_the_sdk_has_it(models: ModelServer) -> None:
    options: dict[str, Any] = {"run_config": {"model_settings": {"temperature": 0.25}, "tracing_disabled": True}}
    await adapt(Agent("chat", model=model(models)), **options).run("hello", Recorder())
    await adapt(Agent("chat", model=model(models)), for_turn=lambda _: options).run("hello", Recorder())
    assert models.models == [("scripted", 0.25)] * 2


@pytest.mark.parametrize("option", ["session", "conversation_id", "previous_response_id", "auto_previous_response_id"])
def test_a_conversation_that_is_kept_elsewhere_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option}= cannot be given"):
        adapt(Agent("chat"), **dict[str, Any]({option: "theirs"}))


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has spoken about tracing yet."""
    monkeypatch.setattr(setup, "GLOBAL_TRACE_PROVIDER", None)
    monkeypatch.delenv("OPENAI_AGENTS_DISABLE_TRACING", raising=False)


def processors() -> Any:
    provider: Any = setup.get_trace_provider()
    return provider._multi_processor._processors


@pytest.mark.usefixtures("tracing")
def test_traces_go_nowhere_by_default() -> None:
    adapt(Agent("quiet"))
    assert processors() == ()


@pytest.mark.usefixtures("tracing")
def test_traces_go_where_the_user_has_sent_them() -> None:
    own: Any = object()
    set_trace_processors([own])
    adapt(Agent("traced"))
    assert processors() == (own,)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("how", ["environment", "run_config"])
def test_traces_go_to_openai_where_the_user_has_said_so(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    if how == "environment":
        monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "0")
    else:
        options["run_config"] = RunConfig()
    adapt(Agent("traced"), **options)
    assert len(processors()) == 1


SERVER = """
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("processes")

@server.tool()
def number() -> str:
    return str(os.getpid())

server.run()
"""

FACTORY = """
import sys
from contextlib import asynccontextmanager
from agents import Agent
from agents.mcp import MCPServerStdio

@asynccontextmanager
async def make():
    async with MCPServerStdio({"command": sys.executable, "args": ["SERVER"]}) as server:
        yield Agent("processes", mcp_servers=[server])
"""


async def test_an_mcp_server_that_a_factory_opens_serves_its_session_and_is_closed_with_it(
    models: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{models.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server, factory = tmp_path / "server.py", tmp_path / "factory_with_mcp.py"
    server.write_text(SERVER)
    factory.write_text(FACTORY.replace("SERVER", str(server)))
    # A session is opened and closed in tasks of their own.
    agent: Any = await asyncio.create_task(_login(f"{factory}:make"))
    turn = Recorder()
    await agent.run("number() then say", turn)
    process = int(re.findall(r"\d+", str(turn.results[0].tool_output))[0])
    os.kill(process, 0)  # it is there
    await asyncio.create_task(agent.aclose())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def _login(spec: str) -> Any:
    return await made(load_agent(spec))
