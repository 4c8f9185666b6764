"""What the OpenAI Agents SDK has besides text and tools: thoughts, files in both directions, handoffs, hosted tools."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.protocol.events import AgentData, AgentFile, AgentOutput, AgentReasoning, ToolCall, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder, Upload
from tests.frameworks.test_contract import ask, cancel_leaves_nothing, left_over, said
from tests.frameworks.tools import weather

pytest.importorskip("agents")

from agents import Agent, OpenAIChatCompletionsModel, ToolOutputFileContent, ToolOutputImage, Usage
from agents.testing import ScriptedModel
from openai import AsyncOpenAI
from openai.types.responses import (
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_reasoning_item import Content, Summary

from agentsocket.agent.adapters.openai_agents import _tokens
from tests.frameworks.builds.openai_agents import build, nested

PNG = b"\x89PNG\r\n\x1a\n\0"
BASE64 = b64encode(PNG).decode()
URL = f"data:image/png;base64,{BASE64}"
NOTE = "[image.png, image/png, 9 bytes]"


def chat(models: ModelServer) -> Any:
    model = OpenAIChatCompletionsModel("scripted", AsyncOpenAI(base_url=f"{models.url}/v1", api_key="none"))
    return Agent("chat", model=model)


def saying(text: str) -> Any:
    content = [ResponseOutputText(type="output_text", text=text, annotations=[])]
    return ResponseOutputMessage(type="message", id="m", role="assistant", status="completed", content=list(content))


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


async def test_with_chat_completions_too_it_is_told_what_the_model_thinks(models: ModelServer) -> None:
    turn = Recorder()
    await adapt(chat(models)).run("think", turn)
    assert turn.reasoning == ["Let me", " see."]


async def test_the_parts_of_a_summary_are_paragraphs_and_a_thought_is_told_in_one_form_only() -> None:
    summary = [Summary(type="summary_text", text=text) for text in ("One.", "Two.")]
    whole = [Content(type="reasoning_text", text="All of it.")]
    both = ResponseReasoningItem(type="reasoning", id="r1", summary=summary, content=whole)
    plain = ResponseReasoningItem(type="reasoning", id="r2", summary=[], content=whole)
    turn = Recorder()
    await adapt(Agent("scripted", model=ScriptedModel([[both, plain, saying("done")]]))).run("go", turn)
    assert turn.reasoning == ["One.", "\n\n", "Two.", "All of it."]


async def test_a_cancel_stops_a_model_that_thinks(models: ModelServer) -> None:
    agent = adapt(build(models.url, [weather], []))
    await cancel_leaves_nothing(agent, models, "think hold", Recorder(), models.held.wait)
    await models.hung_up.wait()
    turn = Recorder(keep_waiting=AgentReasoning)
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

FILES = [
    Upload("p.png", "image/png", PNG),
    Upload("d.csv", "text/csv", b"a,b"),
    Upload("a.pdf", "application/pdf", b"%PDF"),
    Upload("x.zip", "application/zip", b"PK\xff"),
]
PDF = f"data:application/pdf;base64,{b64encode(b'%PDF').decode()}"


async def test_an_attachment_is_a_part_of_what_the_model_gets_and_is_remembered(models: ModelServer) -> None:
    agent = adapt(build(models.url, [], []))
    await agent.run("look", Recorder(attachments=FILES))
    await agent.run("and now?", Recorder())
    first = [
        {"type": "input_text", "text": "look"},
        {"type": "input_text", "text": "[Attached file: p.png, image/png, 9 bytes]"},
        {"type": "input_image", "image_url": URL, "detail": "auto"},
        {"type": "input_text", "text": "[Attached file: d.csv, text/csv, 3 bytes]\na,b"},
        {"type": "input_text", "text": "[Attached file: a.pdf, application/pdf, 4 bytes]"},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        {"type": "input_text", "text": "[Attached file: x.zip, application/zip, 3 bytes]"},
    ]
    for body in models.bodies:
        assert body["input"][0]["content"] == first
    assert models.bodies[1]["input"][-1]["content"] == "and now?"


async def test_chat_completions_get_them_in_their_own_form(models: ModelServer) -> None:
    await adapt(chat(models)).run("look", Recorder(attachments=FILES))
    (message,) = models.bodies[0]["messages"]
    assert {"type": "image_url", "image_url": {"url": URL, "detail": "auto"}} in message["content"]
    assert {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}} in message["content"]


# ---- What tools and models bring -------------------------------------------------------------------------------------

RESULTS: list[tuple[Callable[[], Any], Any, list[tuple[str, bytes]]]] = [
    (lambda: ToolOutputImage(image_url=URL), NOTE, [("image.png", PNG)]),
    (lambda: {"type": "image", "image_url": URL}, NOTE, [("image.png", PNG)]),
    (
        lambda: [{"type": "text", "text": "Here:"}, ToolOutputImage(image_url=URL)],
        [{"type": "text", "text": "Here:"}, NOTE],
        [("image.png", PNG)],
    ),
    (
        lambda: ToolOutputFileContent(file_data=b64encode(b"a,b").decode(), filename="d.csv"),
        "[d.csv, 3 bytes]",
        [("d.csv", b"a,b")],
    ),
    (lambda: {"type": "image", "image_url": "https://a/b.png"}, {"type": "image", "image_url": "https://a/b.png"}, []),
    (lambda: {"type": "image", "image_url": "/b.png"}, {"type": "image", "image_url": "/b.png"}, []),
    (lambda: {"type": "file", "rows": [1]}, {"type": "file", "rows": [1]}, []),
]


@pytest.mark.parametrize(("result", "output", "files"), RESULTS)
async def test_a_file_of_a_tools_is_sent_and_a_note_stands_in_the_result(
    models: ModelServer, result: Callable[[], Any], output: Any, files: list[tuple[str, bytes]]
) -> None:
    async def draw() -> Any:
        """Draw."""
        return result()

    turn = Recorder()
    await adapt(build(models.url, [draw], [])).run("draw() then say", turn)
    assert [one.tool_output for one in turn.results] == [output]
    assert list(turn.files.items()) == files
    sent = [event.tool_call_id for event in turn.events if isinstance(event, AgentFile)]
    assert sent == [turn.calls[0].tool_call_id] * len(files)


async def test_a_picture_for_which_there_is_no_room_does_not_end_the_turn(models: ModelServer) -> None:
    async def draw() -> Any:
        """Draw."""
        return ToolOutputImage(image_url=URL)

    turn = Recorder(room=False)
    await adapt(build(models.url, [draw], [])).run("draw() then say", turn)
    assert [one.tool_output for one in turn.results] == ["[image.png, image/png, 9 bytes: not sent. There is no room.]"]


async def test_a_picture_that_is_the_answer_is_sent_once(models: ModelServer) -> None:
    async def draw() -> Any:
        """Draw."""
        return ToolOutputImage(image_url=URL)

    agent = build(models.url, [draw], [])
    agent.tool_use_behavior = "stop_on_first_tool"
    turn = Recorder()
    answer: Any = await adapt(agent).run("draw() then say", turn)
    assert (answer.response, answer.result) == (NOTE, None)
    assert sum(isinstance(event, AgentFile) for event in turn.events) == 1


async def told(models: ModelServer, item: dict[str, Any]) -> Recorder:
    """What is told of a model's answer that has this item before its text."""
    models.items = [{"id": "x1", "status": "completed", **item}]
    turn = Recorder()
    await adapt(build(models.url, [], [])).run("go", turn)
    assert [type(event) for event in turn.events[-2:]] == [AgentOutput, AgentOutput]
    del turn.events[-2:]
    return turn


async def test_a_picture_that_the_model_draws_is_sent(models: ModelServer) -> None:
    turn = await told(models, {"type": "image_generation_call", "result": BASE64})
    call, file, result = turn.events
    assert call == ToolCall(tool_name="image_generation", tool_call_id="x1")
    assert isinstance(file, AgentFile)
    assert turn.files == {"image.png": PNG}
    assert result == ToolResult(tool_output=NOTE, tool_call_id="x1")


SEARCH = {"type": "web_search_call", "action": {"type": "find_in_page", "pattern": "Oslo", "url": "u"}}
LOGS = [{"type": "logs", "logs": "1"}]
CODE = {"type": "code_interpreter_call", "container_id": "x", "code": "print(1)", "outputs": LOGS}
FAILED = {"tool_output": "failed", "is_error": True}
MCP = {"type": "mcp_call", "name": "add", "server_label": "sums", "arguments": '{"a": 1}'}


@pytest.mark.parametrize(
    ("item", "name", "kwargs", "result"),
    [
        (SEARCH, "web_search", {"action": SEARCH["action"]}, {"tool_output": "completed"}),
        (CODE, "code_interpreter", {"code": "print(1)"}, {"tool_output": LOGS}),
        ({**MCP, "output": "2"}, "add", {"server_label": "sums", "a": 1}, {"tool_output": "2"}),
        ({**MCP, "status": "failed"}, "add", {"server_label": "sums", "a": 1}, FAILED),
    ],
)
async def test_what_openai_runs_at_its_own_side_is_told_as_a_tool_before_what_comes_of_it(
    models: ModelServer, item: dict[str, Any], name: str, kwargs: Any, result: dict[str, Any]
) -> None:
    turn = await told(models, item)
    assert turn.events == [
        ToolCall(tool_name=name, tool_kwargs=kwargs, tool_call_id="x1"),
        ToolResult(tool_call_id="x1", **result),
    ]


async def test_a_handoff_says_from_whom_to_whom(models: ModelServer) -> None:
    turn = Recorder()
    await adapt(nested(models.url, [weather])).run("transfer_to_expert() then say", turn)
    assert turn.data == [AgentData(name="handoff", data={"from": "scripted", "to": "expert"})]
    assert [type(event) for event in turn.events[:3]] == [ToolCall, ToolResult, AgentData]


async def test_an_agent_that_is_a_tool_says_that_it_takes_over_and_gives_back(models: ModelServer) -> None:
    expert, front = build(models.url, [], []), build(models.url, [], [])
    expert.name = "expert"
    front.tools = [expert.as_tool("consult", "Ask the expert.")]
    turn = Recorder()
    await adapt(front).run("consult(input=hm) then say", turn)
    assert [type(event) for event in turn.events[:4]] == [ToolCall, AgentData, ToolResult, AgentData]
    assert [event.data for event in turn.data] == [
        {"from": "scripted", "to": "expert"},
        {"from": "expert", "to": "scripted"},
    ]


# ---- The answer ------------------------------------------------------------------------------------------------------


class Greeting(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("kind", "text", "response", "result"),
    [
        (Greeting, '{"text": "hello"}', '{"text":"hello"}', Greeting(text="hello")),
        (list[int], '{"response": [1, 2]}', "[1,2]", [1, 2]),
        (None, "hello", "hello", None),
    ],
)
async def test_structured_output_is_the_result_beside_its_text(
    kind: Any, text: str, response: str, result: Any
) -> None:
    agent = Agent("scripted", model=ScriptedModel([[saying(text)]]), output_type=kind)
    answer: Any = await adapt(agent).run("go", Recorder())
    assert (answer.response, answer.result) == (response, result)


def test_what_was_cached_and_what_was_thought_are_parts_of_the_usage() -> None:
    used = Usage(requests=2, input_tokens=10, output_tokens=7)
    used.input_tokens_details.cached_tokens = 4
    used.output_tokens_details.reasoning_tokens = 5
    assert _tokens(used).report("").usage == {
        "input_tokens": 10,
        "output_tokens": 7,
        "total_tokens": 17,
        "cached_input_tokens": 4,
        "reasoning_tokens": 5,
        "requests": 2,
    }
