"""What a LlamaIndex agent has beside text and tools."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsocket.agent.adapters.conversation import Tokens
from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.protocol.events import AgentData, AgentFile, AgentOutput, AgentReasoning, ToolCall, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder, Upload
from tests.frameworks.tools import weather

pytest.importorskip("llama_index.core")

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage, ChatResponse, CitationBlock, ImageBlock, TextBlock
from llama_index.core.tools import ToolOutput
from llama_index.core.workflow import Context, Event
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from agentsocket.agent.adapters.llamaindex_usage import count
from tests.frameworks.builds.llamaindex import build

PNG = b"\x89PNG\r\n\x1a\n picture"
CODED = base64.b64encode(PNG).decode()
NOTE = f"[image.png, image/png, {len(PNG)} bytes]"


class Scripted(OpenAILike):  # type: ignore[misc]  # it brings no types
    """A model that always gives the same answer, in pieces or whole."""

    blocks: list[Any]
    raw: Any = None

    def _answer(self, **more: Any) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role="assistant", blocks=self.blocks), raw=self.raw, **more)

    async def achat_with_tools(self, *_: Any, **__: Any) -> ChatResponse:
        return self._answer()

    async def astream_chat_with_tools(self, *_: Any, **__: Any) -> AsyncIterator[ChatResponse]:
        async def pieces() -> AsyncIterator[ChatResponse]:
            for block in self.blocks:
                if isinstance(block, ThinkingBlock):
                    yield self._answer(delta="", additional_kwargs={"thinking_delta": block.content})
                elif isinstance(block, TextBlock):
                    yield self._answer(delta=block.text)

        return pieces()


def scripted(*blocks: Any, streaming: bool = True, **more: Any) -> Any:
    model = Scripted(model="m", is_chat_model=True, is_function_calling_model=True, blocks=list(blocks), **more)
    return adapt(FunctionAgent(llm=model, tools=[], streaming=streaming))


async def test_what_a_model_thinks_is_told_before_its_call_and_before_its_text(models: ModelServer) -> None:
    turn = Recorder()
    await adapt(build(models.url, [weather], [])).run("think weather(Oslo) then say", turn)
    thoughts = [AgentReasoning(reasoning="Let me"), AgentReasoning(reasoning=" see.")]
    assert turn.events[:2] == turn.events[4:6] == thoughts
    assert [type(event) for event in turn.events[2:4]] == [ToolCall, ToolResult]
    assert "".join(turn.text) == "Heard: [think weather(Oslo) then say]"


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_that_does_not_stream_tells_the_same(streaming: bool) -> None:  # noqa: FBT001  # a parameter
    turn = Recorder()
    agent = scripted(ThinkingBlock(content="Let me see."), TextBlock(text="Yes."), streaming=streaming)
    answer = await agent.run("hello", turn)
    assert turn.events == [AgentReasoning(reasoning="Let me see."), AgentOutput(output="Yes.")]
    assert answer.response == "Yes."


async def test_a_cancel_while_a_model_thinks_leaves_nothing_behind(models: ModelServer) -> None:
    agent: Any = adapt(build(models.url, [], []))
    before = asyncio.all_tasks()
    task = asyncio.create_task(agent.run("think hold", Recorder()))
    await models.held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await models.hung_up.wait()
    assert not {left for left in asyncio.all_tasks() - before - models.tasks if asyncio.iscoroutine(left.get_coro())}
    assert agent.memory.snapshot() == []
    both = [Recorder(), Recorder()]
    await asyncio.gather(*(agent.run("think", turn) for turn in both))
    assert [turn.reasoning for turn in both] == [["Let me", " see."], ["Let me", " see."]]


# ---- Files -----------------------------------------------------------------------------------------------------------


def picture() -> ImageBlock:
    return ImageBlock(image=PNG, image_mimetype="image/png")


VALUES: dict[str, tuple[Any, Any]] = {
    "a block": (picture, NOTE),
    "bytes": (lambda: PNG, f"[file, {len(PNG)} bytes]"),
    "blocks": (lambda: [TextBlock(text="Here."), picture()], [TextBlock(text="Here."), NOTE]),
    "within": (lambda: {"plots": [picture()], "n": 1}, {"plots": [NOTE], "n": 1}),
    "an output": (lambda: ToolOutput("draw", blocks=[TextBlock(text="Here."), picture()], raw_input={}), "Here."),
    "as MCP has it": (lambda: {"content": [{"type": "image", "data": CODED, "mimeType": "image/png"}]}, None),
}


@pytest.mark.parametrize("form", VALUES)
async def test_a_picture_in_a_tools_result_is_sent_and_a_note_stands_in_its_place(
    models: ModelServer, form: str
) -> None:
    make, output = VALUES[form]

    async def draw(city: str) -> Any:  # noqa: ARG001  # the model gives one
        """Draw a city."""
        return make()

    turn = Recorder()
    await adapt(build(models.url, [draw], [])).run("draw(Oslo) then say", turn)
    assert [type(event) for event in turn.events[:3]] == [ToolCall, AgentFile, ToolResult]
    file: Any = turn.events[1]
    assert file.tool_call_id == turn.calls[0].tool_call_id
    assert list(turn.files.values()) == [PNG]
    assert turn.results[0].tool_output == (output or {"content": [NOTE]})


async def test_a_model_shows_pictures_links_and_sources() -> None:
    source = CitationBlock(cited_content=TextBlock(text="rain"), source="s", title="t", additional_location_info={})
    link = ImageBlock(url="https://example.com/a.png")
    turn = Recorder()
    answer = await scripted(TextBlock(text="Here."), picture(), link, source).run("hello", turn)
    assert answer.response == "Here."
    assert turn.events[0] == AgentOutput(output="Here.")
    assert turn.files == {"image.png": PNG}
    where = {"url": "https://example.com/a.png", "media_type": "image/png"}
    assert turn.data == [AgentData(name="link", data=where), AgentData(name="citations", data=[source])]


async def test_what_a_client_attaches_reaches_the_model_and_is_remembered(models: ModelServer) -> None:
    agent = adapt(build(models.url, [], []))
    uploads = [
        Upload("a.png", "image/png", PNG),
        Upload("b.csv", "text/csv", b"x,y\n1,2\n"),
        Upload("c.pdf", "application/pdf", b"%PDF"),
        Upload("d.mp3", "audio/mpeg", b"ID3"),
    ]
    await agent.run("look", Recorder(attachments=uploads))
    await agent.run("again", Recorder())
    text, _, image, table, _, document, _, sound = models.bodies[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "look"}
    assert image["image_url"]["url"] == f"data:image/png;base64,{CODED}"
    assert "b.csv" in table["text"]
    assert table["text"].endswith("x,y\n1,2\n")
    assert document["file"]["filename"] == "c.pdf"
    assert document["file"]["file_data"].startswith("data:application/pdf;base64,")
    assert sound["input_audio"]["format"] == "mp3"
    assert models.bodies[1]["messages"][0] == models.bodies[0]["messages"][0]


# ---- Custom events, results, usage -----------------------------------------------------------------------------------


class Step(Event):
    done: int


async def test_an_applications_own_events_are_data_and_the_frameworks_are_not(models: ModelServer) -> None:
    async def dig(ctx: Context, city: str) -> str:
        """Dig."""
        ctx.write_event_to_stream(Step(done=1, city=city))
        ctx.write_event_to_stream(Event(found="gold"))
        return "dug"

    turn = Recorder()
    await adapt(build(models.url, [dig], [])).run("dig(Oslo) then say", turn)
    assert turn.data == [
        AgentData(name="Step", data={"done": 1, "city": "Oslo"}),
        AgentData(name="Event", data={"found": "gold"}),
    ]
    assert [type(event) for event in turn.events[:4]] == [ToolCall, AgentData, AgentData, ToolResult]


class Weather(BaseModel):
    city: str
    degrees: int


async def test_structured_output_is_a_result_beside_its_text() -> None:
    def shape(_: list[ChatMessage]) -> dict[str, Any]:
        return {"city": "Oslo", "degrees": 7}

    model = Scripted(model="m", is_chat_model=True, is_function_calling_model=True, blocks=[TextBlock(text="7")])
    turn = Recorder()
    answer: Any = await adapt(FunctionAgent(llm=model, tools=[], structured_output_fn=shape)).run("hello", turn)
    assert answer.result == {"city": "Oslo", "degrees": 7}
    assert answer.response == '{"city":"Oslo","degrees":7}'
    assert turn.events == [AgentOutput(output="7")]
    assert (await scripted(TextBlock(text="7")).run("hello", Recorder())).result is None


OPENAI = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
RESPONSES = {
    "input_tokens": 10,
    "output_tokens": 5,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 2},
}
GEMINI = {
    "prompt_token_count": 10,
    "candidates_token_count": 3,
    "thoughts_token_count": 2,
    "cached_content_token_count": 4,
}


@pytest.mark.parametrize("raw", [{"usage": OPENAI}, {"response": {"usage": RESPONSES}}, {"usage_metadata": GEMINI}])
async def test_usage_is_told_with_its_details(raw: dict[str, Any]) -> None:
    answer = await scripted(TextBlock(text="Yes."), raw=raw).run("hello", Recorder())
    assert answer.usage == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cached_input_tokens": 4,
        "reasoning_tokens": 2,
        "requests": 1,
    }


def test_what_anthropics_models_have_read_from_their_cache_is_input_too() -> None:
    class Usage:
        input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens = 3, 5, 4, 3

    tokens = Tokens()
    count({"usage": Usage}, tokens)
    count({"usage": None}, tokens)
    count(None, tokens)
    assert tokens == Tokens(input_tokens=10, output_tokens=5, cached_input_tokens=4, requests=1)


async def test_a_handoff_is_told_as_a_tool_and_as_data(models: ModelServer) -> None:
    def agent(name: str) -> FunctionAgent:
        served: FunctionAgent = build(models.url, [], [])
        return served.model_copy(update={"name": name, "description": name, "system_prompt": f"I am {name}"})

    turn = Recorder()
    adapter = adapt(AgentWorkflow(agents=[agent("front"), agent("expert")], root_agent="front"))
    await adapter.run("handoff(to_agent=expert, reason=asked) then say", turn)
    assert [type(event) for event in turn.events[:4]] == [ToolCall, ToolResult, AgentData, AgentOutput]
    assert turn.data == [AgentData(name="handoff", data={"from": "front", "to": "expert"})]
    turn = Recorder()
    await adapter.run("again", turn)
    assert turn.data == []
