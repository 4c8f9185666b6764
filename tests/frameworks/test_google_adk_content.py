"""What a Google ADK agent has beside text and tools."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.contract import AgentError, Context
from agentsocket.identity.user import User
from agentsocket.protocol.events import AgentData, AgentFile, AgentOutput, AgentReasoning, ToolCall, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder, Upload
from tests.frameworks.tools import weather

pytest.importorskip("google.adk")

from google.adk.agents import LlmAgent, ParallelAgent, SequentialAgent
from google.adk.agents.run_config import RunConfig
from google.adk.events.ui_widget import UiWidget
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.tools.tool_context import ToolContext
from google.genai.types import (
    Blob,
    Citation,
    CitationMetadata,
    CodeExecutionResult,
    Content,
    ExecutableCode,
    FileData,
    FunctionCall,
    GenerateContentResponseUsageMetadata,
    Language,
    Outcome,
    Part,
)
from pydantic import BaseModel

from tests.frameworks.builds.google_adk import build

PNG = b"\x89PNG\r\n\x1a\n picture"
PICTURE = Part(inline_data=Blob(data=PNG, mime_type="image/png"))
NOTE = f"[image.png, image/png, {len(PNG)} bytes]"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "none")


class Scripted(BaseLlm):
    """A model whose answers are given, one for each request; the last one stays."""

    answers: list[list[LlmResponse]]

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002  # as ADK has it
    ) -> AsyncGenerator[LlmResponse, None]:
        done = sum(bool(part.function_response) for content in llm_request.contents for part in content.parts or ())
        for response in self.answers[min(done, len(self.answers) - 1)]:
            yield response.model_copy(deep=True)


def says(*parts: Part, **more: Any) -> LlmResponse:
    return LlmResponse(content=Content(role="model", parts=list(parts)), **more)


def agent(*answers: LlmResponse | list[LlmResponse], name: str = "scripted", **more: Any) -> LlmAgent:
    each = [answer if isinstance(answer, list) else [answer] for answer in answers]
    return LlmAgent(name=name, model=Scripted(model="scripted", answers=each), **more)


def calls(name: str, **args: Any) -> LlmResponse:
    return says(Part(function_call=FunctionCall(id="call_1", name=name, args=args)))


THOUGHT, TEXT = Part(text="Let me see.", thought=True), Part(text="Yes.")


async def test_what_a_model_thinks_is_told_before_its_call_and_before_its_text(models: ModelServer) -> None:
    turn = Recorder()
    await adapt(build(models.url, [weather], [])).run("think weather(Oslo) then say", turn)
    thoughts = [AgentReasoning(reasoning="Let me"), AgentReasoning(reasoning=" see.")]
    assert turn.events[:2] == turn.events[4:6] == thoughts
    assert [type(event) for event in turn.events[2:4]] == [ToolCall, ToolResult]
    assert "".join(turn.text) == "Heard: [think weather(Oslo) then say]"


@pytest.mark.parametrize(
    "pieces", [[says(THOUGHT, partial=True), says(TEXT, partial=True), says(THOUGHT, TEXT)], [says(THOUGHT, TEXT)]]
)
async def test_what_comes_in_pieces_is_not_told_again_and_what_does_not_is_told_whole(
    pieces: list[LlmResponse],
) -> None:
    turn = Recorder()
    answer: Any = await adapt(agent(pieces), run_config=RunConfig.model_validate({"streaming_mode": None})).run(
        "hi", turn
    )
    assert turn.events == [AgentReasoning(reasoning="Let me see."), AgentOutput(output="Yes.")]
    assert (answer.response, answer.result) == ("Yes.", None)


async def test_a_cancel_while_a_model_thinks_leaves_nothing_behind(models: ModelServer) -> None:
    served: Any = adapt(build(models.url, [], []))
    before = asyncio.all_tasks()
    task = asyncio.create_task(served.run("think hold", Recorder()))
    await models.held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await models.hung_up.wait()
    assert not {left for left in asyncio.all_tasks() - before - models.tasks if asyncio.iscoroutine(left.get_coro())}
    assert served.memory.snapshot() == []
    both = [Recorder(), Recorder()]
    await asyncio.gather(*(served.run("think", turn) for turn in both))
    assert [turn.reasoning for turn in both] == [["Let me", " see."], ["Let me", " see."]]


# ---- Files -----------------------------------------------------------------------------------------------------------


async def test_a_picture_in_a_tools_result_is_sent_and_a_note_stands_in_its_place() -> None:
    async def draw(city: str) -> Any:
        """Draw a city."""
        return {"city": city, "picture": PICTURE, "raw": PNG} if city == "Oslo" else PICTURE

    turn = Recorder()
    await adapt(agent(calls("draw", city="Oslo"), says(TEXT), tools=[draw])).run("hi", turn)
    assert [type(event) for event in turn.events] == [ToolCall, AgentFile, AgentFile, ToolResult, AgentOutput]
    assert {event.tool_call_id for event in turn.events if isinstance(event, AgentFile)} == {"call_1"}
    raw = f"[file, {len(PNG)} bytes]"
    assert turn.results[0].tool_output == ({"city": "Oslo", "raw": raw}, NOTE)
    turn = Recorder()
    await adapt(agent(calls("draw", city="Bodo"), says(TEXT), tools=[draw])).run("hi", turn)
    assert turn.files == {"image.png": PNG}
    assert turn.results[0].tool_output == [NOTE]


async def test_saved_artifacts_are_sent_under_their_names_and_do_not_pile_up() -> None:
    async def plot(city: str, tool_context: ToolContext) -> str:
        """Plot a city."""
        await tool_context.save_artifact(f"{city}.png", PICTURE)
        await tool_context.save_artifact("user:notes.txt", Part(text="milk"))
        return "plotted"

    served: Any = adapt(agent(calls("plot", city="Oslo"), says(TEXT), tools=[plot]))
    turn = Recorder()
    await served.run("hi", turn)
    assert turn.files == {"Oslo.png": PNG, "notes.txt": b"milk"}
    assert [type(event) for event in turn.events] == [ToolCall, AgentFile, AgentFile, ToolResult, AgentOutput]
    file: Any = turn.events[1]
    assert (file.tool_call_id, file.media_type) == ("call_1", "image/png")
    assert await served._artifacts.list_artifact_keys(app_name="scripted", user_id="a session") == ["user:notes.txt"]
    assert len(served._artifacts.artifacts) == 1


async def test_a_user_whose_id_is_no_part_of_a_path_is_served_too() -> None:
    turn = Recorder(context=Context("the session", User("../a/b")))
    assert (await adapt(agent(says(TEXT))).run("hi", turn)).response == "Yes."  # type: ignore[union-attr]


async def test_a_model_shows_pictures_links_sources_and_code_that_it_has_run() -> None:
    parts = [
        Part(executable_code=ExecutableCode(code="1/0", language=Language.PYTHON)),
        Part(code_execution_result=CodeExecutionResult(outcome=Outcome.OUTCOME_FAILED, output="zero")),
        PICTURE,
        Part(file_data=FileData(file_uri="https://example.com/a.png", mime_type="image/png")),
        TEXT,
    ]
    citations = CitationMetadata(citations=[Citation(uri="https://example.com", title="Example")])
    turn = Recorder()
    answer: Any = await adapt(agent(says(*parts, citation_metadata=citations))).run("hi", turn)
    assert answer.response == "Yes."
    assert [type(event) for event in turn.events] == [
        AgentOutput,
        ToolCall,
        ToolResult,
        AgentFile,
        AgentData,
        AgentData,
    ]
    assert turn.calls[0].tool_kwargs == {"language": Language.PYTHON, "code": "1/0"}
    assert (turn.results[0].tool_output, turn.results[0].is_error) == ("zero", True)
    assert turn.files == {"image.png": PNG}
    link, sources = turn.data
    assert link == AgentData(name="link", data={"url": "https://example.com/a.png", "media_type": "image/png"})
    assert (sources.name, sources.data[0].uri) == ("citations", "https://example.com")


async def test_what_a_client_attaches_reaches_the_model_and_is_remembered(models: ModelServer) -> None:
    served = adapt(build(models.url, [], []))
    uploads = [
        Upload("a.png", "image/png", PNG),
        Upload("b.csv", "text/csv", b"x,y\n1,2\n"),
        Upload("c.pdf", "application/pdf", b"%PDF"),
    ]
    await served.run("look", Recorder(attachments=uploads))
    await served.run("again", Recorder())
    text, _, image, table, _, document = models.bodies[0]["contents"][0]["parts"]
    assert text == {"text": "look"}
    assert sorted(image["inlineData"].values()) == sorted([base64.b64encode(PNG).decode(), "image/png"])
    assert "b.csv" in table["text"]
    assert table["text"].endswith("x,y\n1,2\n")
    assert "application/pdf" in document["inlineData"].values()
    assert models.bodies[1]["contents"][0] == models.bodies[0]["contents"][0]


# ---- Custom events, results, usage, failures -------------------------------------------------------------------------


async def test_what_an_application_puts_beside_the_content_is_data() -> None:
    async def note(tool_context: ToolContext) -> str:
        """Note it."""
        tool_context.state.update({"plan": ["a"], "temp:x": 1, "app:y": 2, "user:z": 3})
        tool_context.render_ui_widget(UiWidget(id="w1", provider="mcp", payload={"resource_uri": "ui://a"}))
        return "noted"

    turn = Recorder()
    answers = calls("note"), says(TEXT, custom_metadata={"score": 1})
    config = RunConfig(custom_metadata={"request": "secret"})
    await adapt(agent(*answers, tools=[note]), run_config=config).run("hi", turn)
    assert turn.data == [
        AgentData(name="state", data={"plan": ["a"], "user:z": 3}),
        AgentData(
            name="ui_widget", data={"id": "w1", "provider": "mcp", "payload": {"resource_uri": "ui://a"}}, id="w1"
        ),
        AgentData(name="metadata", data={"score": 1}),
    ]


class Weather(BaseModel):
    city: str
    degrees: int


async def test_structured_output_is_a_result_beside_its_text() -> None:
    said = says(Part(text='{"city": "Oslo", "degrees": 7}'))
    answer: Any = await adapt(agent(said, output_schema=Weather)).run("hi", Recorder())
    assert answer.result == {"city": "Oslo", "degrees": 7}
    assert answer.response == '{"city": "Oslo", "degrees": 7}'
    assert (await adapt(agent(said)).run("hi", Recorder())).result is None  # type: ignore[union-attr]


@pytest.mark.parametrize("output", [3, 5])
async def test_usage_is_told_with_its_details(output: int) -> None:
    """Gemini counts thoughts beside the output, others within it."""
    used = GenerateContentResponseUsageMetadata(
        prompt_token_count=8,
        tool_use_prompt_token_count=2,
        candidates_token_count=output,
        thoughts_token_count=2,
        cached_content_token_count=4,
        total_token_count=15,
    )
    answer: Any = await adapt(agent(says(TEXT, usage_metadata=used))).run("hi", Recorder())
    assert answer.usage == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cached_input_tokens": 4,
        "reasoning_tokens": 2,
        "requests": 1,
    }


async def test_a_model_that_gives_no_answer_but_a_reason_fails_the_turn() -> None:
    refused = LlmResponse(error_code="SAFETY", error_message="internals")
    served: Any = adapt(agent(refused))
    with pytest.raises(AgentError, match=r"^The model gave no answer \(SAFETY\)\.$"):
        await served.run("hi", Recorder())
    assert served.memory.snapshot() == []
    cut = says(TEXT, error_code="MAX_TOKENS")
    assert (await adapt(agent(cut)).run("hi", Recorder())).response == "Yes."  # type: ignore[union-attr]


# ---- Several agents --------------------------------------------------------------------------------------------------


def handoffs(turn: Recorder) -> list[tuple[str, str]]:
    return [(event.data["from"], event.data["to"]) for event in turn.data if event.name == "handoff"]


async def test_a_transfer_and_a_next_stage_are_told_as_handoffs() -> None:
    expert = agent(says(TEXT), name="expert", description="Knows it.")
    front = agent(calls("transfer_to_agent", agent_name="expert"), name="front", sub_agents=[expert])
    turn = Recorder()
    served = adapt(front)
    await served.run("hi", turn)
    assert [type(event) for event in turn.events] == [ToolCall, ToolResult, AgentData, AgentOutput]
    assert handoffs(turn) == [("front", "expert")]
    turn = Recorder()
    await served.run("again", turn)
    assert handoffs(turn) == []
    stages = [agent(says(TEXT), name=name) for name in ("write", "check")]
    turn = Recorder()
    await adapt(SequentialAgent(name="pipeline", sub_agents=stages)).run("hi", turn)
    assert handoffs(turn) == [("write", "check")]


async def test_agents_side_by_side_are_told_of_once_each() -> None:
    pieces = [says(Part(text=text), partial=True) for text in "abc"]
    both = [agent([*pieces, says(Part(text="abc"))], name=name) for name in ("left", "right")]
    turn = Recorder()
    await adapt(ParallelAgent(name="both", sub_agents=both)).run("hi", turn)
    assert len(handoffs(turn)) == 1
    assert sorted(turn.text) == sorted("abcabc")
