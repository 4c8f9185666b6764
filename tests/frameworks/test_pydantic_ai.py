"""What only Pydantic AI has."""

from dataclasses import dataclass

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.protocol.events import AgentResponse
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder

pytest.importorskip("pydantic_ai")

from pydantic import BaseModel
from pydantic_ai import Agent, CallDeferred, ModelRetry, RunContext
from pydantic_ai.models.test import TestModel

from tests.frameworks.builds.pydantic_ai import build


async def test_a_tool_that_asks_to_be_called_again_has_failed_this_time(models: ModelServer) -> None:
    async def picky(city: str) -> str:
        """Take only Oslo."""
        if city != "Oslo":
            raise ModelRetry(f"not {city}")
        return "thanks"

    turn = Recorder()
    await adapt(build(models.url, [picky], [])).run("picky(Bergen) then picky(Oslo) then say", turn)
    assert [(result.is_error, result.tool_output) for result in turn.results] == [
        (True, "not Bergen"),
        (None, "thanks"),
    ]


async def test_what_a_tool_leaves_to_others_is_asked_of_the_person(models: ModelServer) -> None:
    async def ask_person(question: str) -> str:  # noqa: ARG001  # it is the person who reads it
        """Ask."""
        raise CallDeferred

    turn = Recorder("blue")
    await adapt(build(models.url, [ask_person], [])).run("ask_person(question=colour) then say", turn)
    (question,) = turn.questions
    assert (question.kind, question.prompt) == ("text", "colour")
    assert [result.tool_output for result in turn.results] == ["blue"]


async def test_options_go_to_the_run_and_structured_output_is_answered_as_json() -> None:
    @dataclass
    class User:
        name: str

    class Greeting(BaseModel):
        text: str

    def name(ctx: RunContext[User]) -> str:
        return str(ctx.deps.name)

    model = TestModel(call_tools=["name"], custom_output_args={"text": "hello"})
    agent = Agent(model, deps_type=User, output_type=Greeting, tools=[name])

    turn = Recorder()
    answer = await adapt(agent, deps=User("Ada")).run("greet", turn)
    assert isinstance(answer, AgentResponse)
    assert answer.response == '{"text":"hello"}'
    assert [result.tool_output for result in turn.results] == ["Ada"]
