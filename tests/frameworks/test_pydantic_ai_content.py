"""What Pydantic AI has besides text and tools: thoughts, files in both directions, events of the application's own."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.contract import AgentError
from agentsocket.protocol.events import AgentData, AgentFile, AgentOutput, AgentReasoning, ToolCall, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder, Upload
from tests.frameworks.test_contract import ask, cancel_leaves_nothing, left_over, said
from tests.frameworks.tools import weather

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, BinaryContent, BinaryImage, RunContext, TextOutput, ToolReturn
from pydantic_ai.messages import (
    CustomEvent,
    FilePart,
    ModelMessage,
    NativeToolCallPart,
    NativeToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import StreamedResponse
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

from agentsocket.agent.adapters.pydantic_ai import _tokens
from tests.frameworks.builds.pydantic_ai import build

PNG = b"\x89PNG\r\n\x1a\n\0"
NOTE = "[image.png, image/png, 9 bytes]"


def kinds(turn: Recorder) -> list[str]:
    return [type(event).__name__ for event in turn.events]


# ---- Thoughts --------------------------------------------------------------------------------------------------------


async def test_what_the_model_thinks_is_told_apart_from_what_it_says(models: ModelServer) -> None:
    turn = Recorder()
    answer: Any = await adapt(build(models.url, [weather], [])).run("think weather(Oslo) then say", turn)
    thoughts = [AgentReasoning("Let me"), AgentReasoning(" see.")]
    assert turn.events[:2] == thoughts
    assert [type(event) for event in turn.events[2:4]] == [ToolCall, ToolResult]
    assert turn.events[4:6] == thoughts
    assert [type(event) for event in turn.events[6:]] == [AgentOutput, AgentOutput]
    assert answer.response == said("think weather(Oslo) then say")


async def test_a_thought_that_comes_whole_is_told_too() -> None:
    async def think(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[Any]:
        yield {0: DeltaThinkingPart(content="Hm.")}
        yield "Yes."

    turn = Recorder()
    await adapt(Agent(FunctionModel(stream_function=think))).run("well?", turn)
    assert turn.events == [AgentReasoning("Hm."), AgentOutput("Yes.")]


async def test_a_cancel_stops_a_model_that_thinks(models: ModelServer) -> None:
    agent = adapt(build(models.url, [weather], []))
    await cancel_leaves_nothing(agent, models, "think hold", Recorder(), models.held.wait)
    await models.hung_up.wait()
    turn = Recorder(keep_waiting=AgentReasoning)
    models.held.clear()
    before = asyncio.all_tasks()
    task = asyncio.create_task(ask(agent, "think", turn))
    await turn.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not left_over(before, models)


async def test_two_turns_at_once_each_think_for_themselves(models: ModelServer) -> None:
    agent = adapt(build(models.url, [weather], []))
    first, second = Recorder(), Recorder()
    slow = asyncio.create_task(ask(agent, "think hold", first))
    await models.held.wait()
    assert await ask(agent, "think too", second) == said("think too")
    assert second.reasoning == ["Let me", " see."]
    models.release.set()
    assert await slow == said("think hold")
    assert first.reasoning == ["Let me", " see."]


# ---- What the client attaches ----------------------------------------------------------------------------------------


def model_that_is_told(told: list[Any]) -> FunctionModel:
    """A model that notes what the newest user prompt is made of."""

    async def answer(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str]:
        prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
        told.append(prompts)
        yield "Seen."

    return FunctionModel(stream_function=answer)


async def test_an_attachment_is_a_part_of_what_the_model_gets_and_is_remembered() -> None:
    told: list[Any] = []
    agent = adapt(Agent(model_that_is_told(told)))
    files = [
        Upload("p.png", "image/png", PNG),
        Upload("d.csv", "text/csv", b"a,b"),
        Upload("x.zip", "application/zip", b"PK\xff"),
    ]
    await agent.run("look", Recorder(attachments=files))
    await agent.run("and now?", Recorder())
    first = [
        "look",
        "[Attached file: p.png, image/png, 9 bytes]",
        BinaryContent(PNG, media_type="image/png"),
        "[Attached file: d.csv, text/csv, 3 bytes]\na,b",
        "[Attached file: x.zip, application/zip, 3 bytes]",
    ]
    assert told == [[first], [first, "and now?"]]


async def test_a_picture_reaches_the_provider_as_a_picture(models: ModelServer) -> None:
    turn = Recorder(attachments=[Upload("p.png", "image/png", PNG)])
    await adapt(build(models.url, [], [])).run("look", turn)
    url = {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"}
    (message,) = models.bodies[-1]["messages"]
    assert {"type": "image_url", "image_url": url} in message["content"]


async def test_files_that_the_model_does_not_take_fail_the_turn_in_a_sentence(models: ModelServer) -> None:
    agent, video = adapt(build(models.url, [], [])), Upload("v.mp4", "video/mp4", b"\0")
    with pytest.raises(AgentError, match="takes no files of this kind"):
        await agent.run("look", Recorder(attachments=[video]))
    assert await ask(agent, "again") == said("again")


async def test_a_tool_that_is_not_written_yet_is_not_taken_for_a_model_without_files(models: ModelServer) -> None:
    async def later() -> str:
        """Do it later."""
        raise NotImplementedError

    picture = Upload("p.png", "image/png", PNG)
    with pytest.raises(NotImplementedError):
        await adapt(build(models.url, [later], [])).run("later() then say", Recorder(attachments=[picture]))


# ---- What tools and models bring -------------------------------------------------------------------------------------


def picture() -> Any:
    return BinaryContent(PNG, media_type="image/png")


RESULTS: list[tuple[Callable[[], Any], Any, int]] = [
    (picture, NOTE, 1),
    (lambda: ["two", picture(), {"in": picture()}], ["two", NOTE, {"in": NOTE}], 2),
    (lambda: ToolReturn("drawn", content=["Here:", picture()]), "drawn", 1),
    (lambda: {"plain": [1, 2]}, {"plain": [1, 2]}, 0),
]


@pytest.mark.parametrize(("result", "told", "number"), RESULTS)
async def test_a_picture_of_a_tools_is_sent_and_a_note_stands_in_the_result(
    models: ModelServer, result: Callable[[], Any], told: Any, number: int
) -> None:
    async def draw() -> Any:
        """Draw."""
        return result()

    turn = Recorder()
    await adapt(build(models.url, [draw], [])).run("draw() then say", turn)
    call_id = turn.calls[0].tool_call_id
    files = [event for event in turn.events if isinstance(event, AgentFile)]
    assert [(file.tool_call_id, file.media_type, file.size) for file in files] == [(call_id, "image/png", 9)] * number
    assert [one.tool_output for one in turn.results] == [told]
    assert kinds(turn)[: number + 2] == ["ToolCall", *["AgentFile"] * number, "ToolResult"]


async def test_a_picture_for_which_there_is_no_room_does_not_end_the_turn(models: ModelServer) -> None:
    async def draw() -> Any:
        """Draw."""
        return picture()

    turn = Recorder(room=False)
    await adapt(build(models.url, [draw], [])).run("draw() then say", turn)
    assert [one.tool_output for one in turn.results] == ["[image.png, image/png, 9 bytes: not sent. There is no room.]"]


@dataclass
class Drawn(StreamedResponse):
    """A model's answer that is a picture, as those of Gemini and OpenAI are."""

    model_name: Any = "drawing"
    provider_name: Any = None
    provider_url: Any = None
    timestamp: Any = datetime(2026, 1, 1, tzinfo=UTC)

    async def _get_event_iterator(self) -> AsyncIterator[Any]:
        yield self._parts_manager.handle_part(vendor_part_id=0, part=FilePart(BinaryImage(PNG, media_type="image/png")))

    async def close_stream(self) -> None:
        pass


async def no_text(*_: Any) -> AsyncIterator[str]:
    yield ""


class Drawing(FunctionModel):
    def __init__(self) -> None:
        super().__init__(stream_function=no_text, profile=IMAGES)

    @asynccontextmanager
    async def request_stream(self, _: Any, __: Any, parameters: Any, *___: Any) -> AsyncIterator[StreamedResponse]:
        yield Drawn(model_request_parameters=parameters)


IMAGES: Any = {"supports_image_output": True}


async def test_a_picture_that_the_model_draws_is_sent_once_and_a_note_is_the_answer() -> None:
    turn = Recorder()
    answer: Any = await adapt(Agent(Drawing(), output_type=BinaryImage)).run("draw", turn)
    assert turn.files == {"image.png": PNG}
    assert kinds(turn) == ["AgentFile"]
    assert (answer.response, answer.result) == (NOTE, None)


async def test_a_picture_that_an_output_function_makes_is_sent_too() -> None:
    def draw(_: str) -> BinaryImage:
        return BinaryImage(PNG, media_type="image/png")

    turn = Recorder()
    answer: Any = await adapt(Agent(model_that_is_told([]), output_type=TextOutput(draw))).run("draw", turn)
    assert turn.files == {"image.png": PNG}
    assert answer.response == NOTE


async def test_what_the_provider_runs_at_its_own_side_is_told_as_a_tool() -> None:
    async def search(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[Any]:
        yield {0: NativeToolCallPart("web_search", {"query": "Oslo"}, tool_call_id="s1")}
        yield {1: NativeToolReturnPart("web_search", {"hits": [1]}, tool_call_id="s1")}
        yield "Found."

    turn = Recorder()
    await adapt(Agent(FunctionModel(stream_function=search))).run("search", turn)
    assert turn.events == [
        ToolCall(tool_name="web_search", tool_kwargs={"query": "Oslo"}, tool_call_id="s1"),
        ToolResult(tool_name="web_search", tool_output={"hits": [1]}, tool_call_id="s1"),
        AgentOutput("Found."),
    ]


# ---- What the application says ---------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class StepsDoneEvent(CustomEvent):
    done: int
    steps: list[str]


@dataclass(kw_only=True)
class AuditEvent(CustomEvent, ui=False):
    secret: str


async def test_an_event_of_the_applications_is_data_unless_it_is_not_meant_for_people(models: ModelServer) -> None:
    async def work(ctx: RunContext[None]) -> str:
        """Work."""
        await ctx.emit(StepsDoneEvent(done=1, steps=["a"]))
        await ctx.emit(AuditEvent(secret="s"))
        return "done"

    turn = Recorder()
    await adapt(build(models.url, [work], [])).run("work() then say", turn)
    assert turn.data == [AgentData(name="steps_done", data={"done": 1, "steps": ["a"]})]
    assert "'s'" not in str(turn.events)


# ---- The answer ------------------------------------------------------------------------------------------------------


class Greeting(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("kind", "arguments", "response", "result"),
    [
        (Greeting, {"text": "hello"}, '{"text":"hello"}', Greeting(text="hello")),
        (list[int], [1, 2], "[1,2]", [1, 2]),
        (bool, False, "false", False),
    ],
)
async def test_structured_output_is_the_result_beside_its_text(
    kind: Any, arguments: Any, response: str, result: Any
) -> None:
    answer: Any = await adapt(Agent(TestModel(custom_output_args=arguments), output_type=kind)).run("go", Recorder())
    assert (answer.response, answer.result) == (response, result)


def test_what_was_cached_and_what_was_thought_are_parts_of_the_usage() -> None:
    used = RunUsage(requests=2, input_tokens=10, cache_read_tokens=4, output_tokens=7, details={"reasoning_tokens": 5})
    assert _tokens(used).report("").usage == {
        "input_tokens": 10,
        "output_tokens": 7,
        "total_tokens": 17,
        "cached_input_tokens": 4,
        "reasoning_tokens": 5,
        "requests": 2,
    }
