"""What a LangGraph agent has beside text and tools."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.protocol.events import AgentData, AgentFile, AgentOutput, AgentReasoning, ToolCall, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder, Upload

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import tool
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel, SecretStr

from tests.frameworks.builds.langgraph import build

PNG = b"\x89PNG\r\n\x1a\n picture"
CODED = base64.b64encode(PNG).decode()

Reply = Callable[[list[BaseMessage]], list[AIMessageChunk]]


class Scripted(BaseChatModel):
    """A model that says what a function makes of the conversation, in pieces or at once."""

    reply: Reply
    streams: bool = True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Any:  # noqa: ARG002  # it knows what to call
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        first, *more = self.reply(messages)
        for piece in more:
            first += piece
        whole = AIMessage(**first.model_dump(exclude={"type", "tool_call_chunks", "chunk_position"}))
        return ChatResult(generations=[ChatGeneration(message=whole)])

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        if not self.streams:
            raise NotImplementedError
        yield from (ChatGenerationChunk(message=piece) for piece in self.reply(messages))

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self.reply(messages):
            yield ChatGenerationChunk(message=piece)
            await asyncio.sleep(0)


def says(*contents: Any, **more: Any) -> Reply:
    """The same answer to everything."""
    return lambda _: [AIMessageChunk(content=content, **more) for content in contents]


def calls(name: str, **args: Any) -> Reply:
    """A call of a tool; once there is its result, an answer."""

    def reply(messages: list[BaseMessage]) -> list[AIMessageChunk]:
        if isinstance(messages[-1], ToolMessage):
            return [AIMessageChunk(content="Done.")]
        call = {"name": name, "args": args, "id": "call_1"}
        return [AIMessageChunk(content="", tool_calls=[call])]

    return reply


async def run(agent: Any, turn: Recorder, message: str = "hello") -> Any:
    return await adapt(agent).run(message, turn)


def whole(*content: Any) -> Any:
    """A graph whose one node returns a message."""
    graph = StateGraph(MessagesState)
    graph.add_node("speak", lambda _: {"messages": [AIMessage(list(content))]})
    return graph.add_edge(START, "speak")


def anthropic(*content: Any) -> AIMessageChunk:
    return AIMessageChunk(content=list(content), response_metadata={"model_provider": "anthropic"})


def thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "index": 0}


THOUGHTS = {
    "LangChain": [AIMessageChunk(content=[{"type": "reasoning", "reasoning": text}]) for text in ("Let me ", "see.")],
    "DeepSeek": [
        AIMessageChunk(content="", additional_kwargs={"reasoning_content": text}) for text in ("Let me ", "see.")
    ],
    "Anthropic": [
        anthropic(thinking("Let me ")),
        anthropic(thinking("see.")),
        anthropic({"type": "thinking", "signature": "signed", "index": 0}),
    ],
}


@pytest.mark.parametrize("who", THOUGHTS)
async def test_what_a_model_thinks_is_told_before_its_text(who: str) -> None:
    text = (
        anthropic({"type": "text", "text": "Yes.", "index": 1})
        if who == "Anthropic"
        else AIMessageChunk(content="Yes.")
    )
    turn = Recorder()
    answer = await run(create_agent(Scripted(reply=lambda _: [*THOUGHTS[who], text])), turn)
    assert turn.events == [
        AgentReasoning(reasoning="Let me "),
        AgentReasoning(reasoning="see."),
        AgentOutput(output="Yes."),
    ]
    assert answer.response == "Yes."


async def test_what_openais_models_think_is_told_while_they_think(models: ModelServer) -> None:
    model = ChatOpenAI(
        model="scripted",
        base_url=f"{models.url}/v1",
        api_key=SecretStr("none"),
        use_responses_api=True,
        reasoning={"summary": "auto"},
    )
    turn = Recorder()
    agent = adapt(create_agent(model))
    answer: Any = await agent.run("think", turn)
    assert turn.events[:2] == [AgentReasoning(reasoning="Let me"), AgentReasoning(reasoning=" see.")]
    assert answer.response == "".join(turn.text) == "Heard: [think]"
    task = asyncio.create_task(agent.run("think hold", Recorder()))
    await models.held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await models.hung_up.wait()


async def test_a_message_that_comes_whole_is_told_with_its_thoughts() -> None:
    turn = Recorder()
    blocks = [{"type": "reasoning", "reasoning": "Let me see."}, {"type": "text", "text": "Yes."}]
    answer = await run(whole(*blocks), turn)
    assert turn.events == [AgentReasoning(reasoning="Let me see."), AgentOutput(output="Yes.")]
    assert answer.response == "Yes."


async def test_a_cancel_while_a_model_thinks_leaves_nothing_behind() -> None:
    agent = adapt(create_agent(Scripted(reply=says([{"type": "reasoning", "reasoning": "Hm."}], "Yes."))))
    turn = Recorder(keep_waiting=AgentReasoning)
    before = asyncio.all_tasks()
    task = asyncio.create_task(agent.run("a", turn))
    await turn.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert agent.memory.snapshot() == []  # type: ignore[attr-defined]
    both = [Recorder(), Recorder()]
    await asyncio.gather(*(agent.run("b", turn) for turn in both))
    assert [turn.reasoning for turn in both] == [["Hm."], ["Hm."]]


# ---- Files -----------------------------------------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "standard": {"type": "image", "base64": CODED, "mime_type": "image/png"},
    "of version 0": {"type": "image", "source_type": "base64", "data": CODED, "mime_type": "image/png"},
    "OpenAI's": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODED}"}},
    "Anthropic's": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": CODED}},
    "MCP's": {"type": "image", "data": CODED, "mimeType": "image/png"},
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_picture_in_a_tools_result_is_sent_and_a_note_stands_in_its_place(form: str) -> None:
    @tool
    async def draw() -> Any:
        """Draw."""
        return ToolMessage([{"type": "text", "text": "Here."}, FORMS[form]], tool_call_id="call_1", name="draw")

    turn = Recorder()
    await run(create_agent(Scripted(reply=calls("draw")), tools=[draw]), turn)
    assert [type(event) for event in turn.events] == [ToolCall, AgentFile, ToolResult, AgentOutput]
    file: Any = turn.events[1]
    assert (file.tool_call_id, file.media_type, turn.files) == ("call_1", "image/png", {file.name: PNG})
    note = f"[{file.name}, image/png, {len(PNG)} bytes]"
    assert turn.results[0].tool_output == [{"type": "text", "text": "Here."}, note]


async def test_files_of_an_artifact_are_sent_and_what_else_is_in_it_is_not() -> None:
    @tool(response_format="content_and_artifact")
    async def plot() -> Any:
        """Plot."""
        named = {"type": "file", "base64": CODED, "mime_type": "application/pdf", "filename": "plot.pdf"}
        return "plotted", {"secret": "s3cret", "files": [named, PNG]}

    turn = Recorder()
    await run(create_agent(Scripted(reply=calls("plot")), tools=[plot]), turn)
    assert turn.files == {"plot.pdf": PNG, "file": PNG}
    assert turn.results[0].tool_output == "plotted"
    assert "s3cret" not in str(turn.events)


async def test_a_turn_goes_on_without_a_file_that_finds_no_room(caplog: pytest.LogCaptureFixture) -> None:
    turn = Recorder(room=False)
    answer = await run(whole({"type": "text", "text": "Here."}, FORMS["standard"]), turn)
    assert (answer.response, turn.files) == ("Here.", {})
    assert "There is no room." in caplog.text


async def test_a_model_shows_pictures_tools_of_its_own_links_and_sources() -> None:
    source = {"type": "citation", "url": "https://example.com", "title": "Example"}
    blocks = [
        {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"query": "rain"}},
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": ["found"]},
        {"type": "text", "text": "Rain.", "annotations": [source]},
        FORMS["standard"],
        {"type": "image", "url": "https://example.com/a.png"},
    ]
    turn = Recorder()
    agent = StateGraph(MessagesState)
    agent.add_node("speak", lambda _: {"messages": [AIMessage(blocks, response_metadata={"output_version": "v1"})]})
    answer = await run(agent.add_edge(START, "speak"), turn)
    assert answer.response == "Rain."
    assert turn.events[0] == AgentOutput(output="Rain.")
    assert turn.calls == [ToolCall(tool_name="web_search", tool_kwargs={"query": "rain"}, tool_call_id="s1")]
    assert turn.results == [ToolResult(tool_output=["found"], tool_call_id="s1")]
    assert list(turn.files.values()) == [PNG]
    assert turn.data == [
        AgentData(name="link", data={"url": "https://example.com/a.png", "media_type": None}),
        AgentData(name="citations", data=[source]),
    ]


async def test_what_a_client_attaches_reaches_the_model_and_is_remembered() -> None:
    seen: list[Any] = []

    def reply(messages: list[BaseMessage]) -> list[AIMessageChunk]:
        seen.append([message.content for message in messages if message.type == "human"])
        return [AIMessageChunk(content="Seen.")]

    agent = adapt(create_agent(Scripted(reply=reply)))
    uploads = [
        Upload("a.png", "image/png", PNG),
        Upload("b.csv", "text/csv", b"x,y\n1,2\n"),
        Upload("c.pdf", "application/pdf", b"%PDF"),
        Upload("d.wav", "audio/wav", b"RIFF"),
    ]
    await agent.run("look", Recorder(attachments=uploads))
    await agent.run("again", Recorder())
    text, _, picture, table, note, document, _, sound = seen[0][0]
    assert text == {"type": "text", "text": "look"}
    assert note == {"type": "text", "text": "[Attached file: c.pdf, application/pdf, 4 bytes]"}
    assert picture == {"type": "image", "base64": CODED, "mime_type": "image/png"}
    assert "b.csv" in table["text"]
    assert table["text"].endswith("x,y\n1,2\n")
    assert (document["type"], document["mime_type"], document["extras"]) == (
        "file",
        "application/pdf",
        {"filename": "c.pdf"},
    )
    assert (sound["type"], sound["mime_type"]) == ("audio", "audio/wav")
    assert seen[1] == [seen[0][0], "again"]


async def test_what_a_client_attaches_goes_over_the_wire_as_openai_has_it(models: ModelServer) -> None:
    turn = Recorder(attachments=[Upload("a.png", "image/png", PNG), Upload("b.txt", "text/plain", b"milk")])
    answer = await run(build(models.url, [], []), turn, "look")
    assert "milk" in answer.response


# ---- Custom events, results, usage -----------------------------------------------------------------------------------


async def test_what_nodes_and_tools_write_to_the_stream_is_data() -> None:
    @tool
    async def dig() -> str:
        """Dig."""
        write = get_stream_writer()
        write({"type": "row", "id": "r1", "value": 1})
        write("deeper")
        return "dug"

    turn = Recorder()
    await run(create_agent(Scripted(reply=calls("dig")), tools=[dig]), turn)
    assert turn.data == [
        AgentData(name="row", data={"type": "row", "id": "r1", "value": 1}, id="r1"),
        AgentData(name="custom", data="deeper"),
    ]
    assert [type(event) for event in turn.events] == [ToolCall, AgentData, AgentData, ToolResult, AgentOutput]


class Weather(BaseModel):
    city: str
    degrees: int


async def test_structured_output_is_a_result_beside_its_text() -> None:
    model = Scripted(reply=calls("Weather", city="Oslo", degrees=7))
    answer = await run(create_agent(model, response_format=ToolStrategy(Weather)), Recorder())
    assert answer.result == Weather(city="Oslo", degrees=7)
    assert answer.response == '{"city":"Oslo","degrees":7}'
    assert (await run(create_agent(Scripted(reply=says("Yes."))), Recorder())).result is None


@pytest.mark.parametrize("streams", [True, False])
async def test_usage_counts_the_models_of_inner_agents_too_with_its_details(streams: bool) -> None:  # noqa: FBT001
    used = {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_token_details": {"cache_read": 4},
        "output_token_details": {"reasoning": 2},
    }
    inner = create_agent(Scripted(reply=says("inner", usage_metadata=used), streams=streams), name="expert")

    @tool
    async def ask() -> str:
        """Ask the expert."""
        return str((await inner.ainvoke({"messages": [HumanMessage("?")]}))["messages"][-1].text)

    answer = await run(create_agent(Scripted(reply=calls("ask")), tools=[ask]), Recorder())
    assert answer.usage == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cached_input_tokens": 4,
        "reasoning_tokens": 2,
        "requests": 1,
    }


# ---- Several agents --------------------------------------------------------------------------------------------------


def handoffs(turn: Recorder) -> list[tuple[str, str]]:
    return [(event.data["from"], event.data["to"]) for event in turn.data if event.name == "handoff"]


async def test_an_agent_within_a_tool_is_told_before_it_speaks() -> None:
    inner = create_agent(Scripted(reply=says("inner")), name="expert")

    @tool
    async def ask() -> str:
        """Ask the expert."""
        return str((await inner.ainvoke({"messages": [HumanMessage("?")]}))["messages"][-1].text)

    turn = Recorder()
    await run(create_agent(Scripted(reply=calls("ask")), tools=[ask], name="front"), turn)
    assert handoffs(turn) == [("front", "expert"), ("expert", "front")]
    assert [type(event) for event in turn.events] == [
        ToolCall,
        AgentData,
        AgentOutput,
        ToolResult,
        AgentData,
        AgentOutput,
    ]


async def test_agents_that_hand_over_to_each_other_are_told_of() -> None:
    @tool
    async def transfer() -> Any:
        """Hand over."""
        result = ToolMessage("transferred", tool_call_id="call_1", name="transfer")
        return Command(goto="expert", graph=Command.PARENT, update={"messages": [result]})

    swarm = StateGraph(MessagesState)
    swarm.add_node("front", create_agent(Scripted(reply=calls("transfer")), tools=[transfer]), destinations=("expert",))
    swarm.add_node("expert", create_agent(Scripted(reply=says("I know."))))
    turn = Recorder()
    answer = await run(swarm.add_edge(START, "front"), turn)
    assert answer.response == "I know."
    assert handoffs(turn) == [("front", "expert")]
    assert [result.tool_output for result in turn.results] == ["transferred"]


async def test_agents_side_by_side_are_told_of_once_each() -> None:
    both = StateGraph(MessagesState)
    for name in ("left", "right"):
        both.add_node(name, create_agent(Scripted(reply=says(*name)), name=name))
        both.add_edge(START, name)
    turn = Recorder()
    await run(both, turn)
    assert len(handoffs(turn)) <= 1
    assert sorted(turn.text) == sorted("leftright")
