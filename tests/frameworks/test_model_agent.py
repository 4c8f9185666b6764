"""The agent that ships with a model under its tools: what it does, and what it says when the model fails."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from agentsocket.agent.contract import AgentError
from agentsocket.agent.loader import AgentNotLoadable
from agentsocket.protocol.events import AgentOutput, AgentResponse, InputRequired, ToolCall, ToolProgress, ToolResult
from tests.frameworks.model_server import ModelServer
from tests.frameworks.recorder import Recorder
from tests.support import load_agent, logged_in, made, serving

pytest.importorskip("pydantic_ai")

from pydantic_ai.exceptions import ModelConnectionError, ModelHTTPError, ToolFailed
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RunUsage

from agentsocket.offline_agent import model_agent
from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.offline_agent.model_agent import ModelAgent
from agentsocket.offline_agent.model_errors import advice
from agentsocket.offline_agent.tool import TOOL_CONTEXT, Tool, ToolContext

ADDRESSES = {
    "openai:any": "OPENAI_BASE_URL",
    "openai-responses:any": "OPENAI_BASE_URL",
    "ollama:any": "OLLAMA_BASE_URL",
    "anthropic:any": "ANTHROPIC_BASE_URL",
    "google:any": "GOOGLE_GEMINI_BASE_URL",
}
PACKAGES = {"anthropic:any": "anthropic", "google:any": "google.genai"}
KEYS = ("OPENAI_API_KEY", "OLLAMA_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY")

At = Callable[..., ModelAgent]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Makes an agent whose model is at an address."""

    def at(url: str, model: str = "openai:any") -> ModelAgent:
        pytest.importorskip(PACKAGES.get(model, "openai"))
        monkeypatch.setenv(ADDRESSES[model], url)
        for key in KEYS:
            monkeypatch.setenv(key, "sk-secret")
        model_agent._agent.cache_clear()
        return ModelAgent(model, tick=0)

    return at


@pytest.fixture
def agent(at: At, models: ModelServer) -> ModelAgent:
    return at(f"{models.url}/v1")


async def ask(agent: ModelAgent, plan: str) -> Recorder:
    turn = Recorder()
    await agent.run(plan, turn)
    return turn


# ---- The tools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["openai:any", "openai-responses:any", "ollama:any", "google:any"])
async def test_a_model_has_the_tools_and_calls_several_at_once(at: At, models: ModelServer, model: str) -> None:
    agent, turn = at(models.url if model.startswith("google") else f"{models.url}/v1", model), Recorder()
    plan = "calculate(expression=17 * 23) current_time(place=Tokyo) then say"
    answer = await agent.run(plan, turn)
    assert isinstance(answer, AgentResponse)
    assert answer.response == f"Heard: [{plan}]"
    assert answer.usage == {"input_tokens": 14, "output_tokens": 6, "total_tokens": 20, "requests": 2}
    assert [type(event) for event in turn.events[:4]] == [ToolCall, ToolCall, ToolResult, ToolResult]
    outputs = {result.tool_name: result.tool_output for result in turn.results}
    assert outputs["calculate"] == "17 * 23 is 391."
    assert "in Tokyo" in str(outputs["current_time"])


async def test_a_countdown_streams_its_steps_while_it_runs(agent: ModelAgent) -> None:
    turn = await ask(agent, "countdown(seconds=3) then say")
    steps = [AgentOutput(output=f" {step}…") for step in (3, 2, 1)]
    during = turn.events[1 : turn.events.index(turn.results[0])]
    assert [event for event in during if isinstance(event, AgentOutput)] == steps
    progress = [event for event in during if isinstance(event, ToolProgress)]
    assert [(event.progress, event.total) for event in progress] == [(step, 3) for step in range(4)]
    assert {event.tool_call_id for event in progress} == {turn.calls[0].tool_call_id}
    assert turn.results[0].tool_output == "The countdown from 3 is over."


async def test_the_model_has_a_tool_for_what_it_cannot_be_shown(agent: ModelAgent, tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("größe;n\n1,5;2\n".encode("latin-1"))
    data = path.read_bytes()

    async with serving(lambda: agent) as server, logged_in(server, features=["files"]) as peer:
        await peer.send("upload_start", upload_id="1", name="latin.csv", media_type="text/csv", size=len(data))
        await peer.expect("upload_progress")
        await peer.send("upload_chunk", upload_id="1", offset=0, data=base64.b64encode(data).decode())
        file_id = (await peer.expect("upload_complete"))["file_id"]
        await peer.request("read_attachment(name=latin.csv) then say", attachments=[file_id])
        frames = await peer.until("agent_response")
    call, *files, result = [data for event, data in frames if event in {"tool_call", "agent_file", "tool_result"}]
    assert "größe: 1 number, min 1.5" in result["tool_output"]
    assert [file["name"] for file in files] == ["latin-chart.png", "latin-chart.svg"]
    assert {file["tool_call_id"] for file in files} == {call["tool_call_id"]}


async def test_two_countdowns_at_once_each_go_to_their_own_turn(agent: ModelAgent) -> None:
    three, two = await asyncio.gather(
        ask(agent, "countdown(seconds=3) then say"), ask(agent, "countdown(seconds=2) then say")
    )
    assert three.text[:3] == [" 3…", " 2…", " 1…"]
    assert two.text[:2] == [" 2…", " 1…"]


async def test_what_a_tool_cannot_do_is_told_to_the_model_and_the_run_goes_on(agent: ModelAgent) -> None:
    turn = await ask(agent, "calculate(expression=1/0) then say")
    (result,) = turn.results
    assert result.is_error
    assert "zero" in str(result.tool_output)
    assert turn.text[0] == "Heard:"


async def test_a_tool_that_breaks_is_told_of_and_the_log_has_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ValueError("the spade broke")

    tool = Tool(broken, doing="dig", example="Dig.", asked=())
    TOOL_CONTEXT.set(ToolContext(Recorder(), [], 0))
    context = RunContext(deps=None, model=TestModel(), usage=RunUsage())
    with pytest.raises(ToolFailed, match=r"^The tool broken has failed\.$"):
        await model_agent._for_model(tool)(context)
    assert "the spade broke" in caplog.text


class Thoughtful(Recorder):
    """Its person takes long enough for another tool to be done."""

    async def ask(self, question: InputRequired) -> JsonValue:
        for _ in range(100):
            await asyncio.sleep(0)
        return await super().ask(question)


@pytest.mark.parametrize(("approved", "left"), [(True, "I have no notes yet."), (False, '"milk"')])
async def test_notes_are_deleted_once_that_is_approved_and_read_no_sooner(
    agent: ModelAgent,
    approved: bool,  # noqa: FBT001  # a parameter of the test
    left: str,
) -> None:
    await ask(agent, "remember(note=milk) then say")
    turn = Thoughtful(approved)
    await agent.run("delete_all_notes() recall_notes() then say", turn)
    (question,) = turn.questions
    assert (question.kind, question.tool_name, question.tool_kwargs) == ("approval", "delete_all_notes", {})
    recalled = next(result for result in turn.results if result.tool_name == "recall_notes")
    assert left in str(recalled.tool_output)


# ---- The conversation ------------------------------------------------------------------------------------------------


async def test_a_conversation_is_remembered_and_is_nobody_elses(agent: ModelAgent, models: ModelServer) -> None:
    await ask(agent, "remember(note=milk) then say")
    await ask(agent, "again")
    assert [item.kind for item in models.requests[-1]] == ["user", "call", "result", "assistant", "user"]
    other = ModelAgent("openai:any")
    turn = await ask(other, "recall_notes() then say")
    assert turn.results[0].tool_output == "I have no notes yet."
    assert [item.kind for item in models.requests[-1]] == ["user", "call", "result"]


async def test_another_instance_goes_on_with_the_conversation_and_the_notes(at: At, models: ModelServer) -> None:
    agent = at(f"{models.url}/v1")
    await ask(agent, "remember(note=milk) then say")
    other = ModelAgent("openai:any")
    other.load(from_json(to_json(await agent.save())))
    turn = await ask(other, "recall_notes() then say")
    assert '"milk"' in str(turn.results[0].tool_output)
    turn_before = ["user", "call", "result", "assistant"]
    assert [item.kind for item in models.requests[-1]] == [*turn_before, "user", "call", "result"]


async def test_a_long_conversation_is_kept_with_all_notes_and_without_its_beginning(
    at: At, models: ModelServer
) -> None:
    agent = at(f"{models.url}/v1")
    await ask(agent, "remember(note=milk) then say")
    for _ in range(4):
        agent._conversation.memory.commit([ModelRequest(parts=[UserPromptPart("x" * 400_000)])])
    memory = to_json(await agent.save())
    assert len(memory) <= 1024 * 1024
    other = ModelAgent("openai:any")
    other.load(from_json(memory))
    assert other._notes == ["milk"]
    assert len(other._conversation.memory.snapshot()) == 2


async def test_what_the_agent_without_a_model_remembers_is_refused(agent: ModelAgent) -> None:
    offline = OfflineAgent()
    with pytest.raises(ValueError, match="_Kept"):
        agent.load(offline.save())
    with pytest.raises(ValueError, match="_Memory"):
        offline.load(await agent.save())


async def test_a_cancel_in_the_middle_of_the_stream_stops_the_model(agent: ModelAgent, models: ModelServer) -> None:
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        task_id = await peer.request("hold")
        assert (await peer.expect("agent_output"))["output"] == "Heard:"
        await peer.send("cancel_request", task_id=task_id)
        assert await peer.expect("task_cancelled") == {"task_id": task_id}
        await models.hung_up.wait()
        assert await peer.ask("again") == "Heard: [again]"


# ---- Failures --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A provider that answers every request with these bytes, and hangs up."""
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await asyncio.gather(*(task for task in served if task), return_exceptions=True)


def refusal(status: int, code: str = "", headers: str = "") -> bytes:
    """An answer as all providers give it, one that need not be asked for again."""
    error = {"message": f"sk-secret of acct-17: {code}", "code": code or status, "type": code or "some_error"}
    body = json.dumps({"type": "error", "error": error}).encode()
    head = f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\nx-should-retry: false\r\n{headers}"
    return f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def failing(agent: ModelAgent, caplog: pytest.LogCaptureFixture) -> str:
    """Ask through a server; the message of the one error, which has kept to itself what the log has."""
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        task_id = await peer.request("hello")
        event, error = (await peer.until("error", "agent_response"))[-1]
        assert (event, error["code"], error["task_id"]) == ("error", "agent_failed", task_id)
        await peer.send("logout")  # nothing more comes of the task before this is answered
        await peer.expect("logout_response")
    (record,) = [record for record in caplog.records if error["error_id"] in record.getMessage()]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AgentError)
    assert record.exc_info[1].__cause__ is not None
    return str(error["message"])


REFUSALS = {
    401: "refuses the API key. Correct it",
    403: "refuses the API key. Correct it",
    404: "knows no such model. Correct AGENT_MODEL",
    413: "refuses the request. The server's log has the reason",
    429: "gets too many requests. Ask again in a while",
    500: "has failed. Ask again in a while",
    503: "is overloaded. Ask again in a while",
}


@pytest.mark.parametrize("model", ADDRESSES)
@pytest.mark.parametrize("status", REFUSALS)
async def test_a_refusal_is_told_in_a_sentence_to_act_on(
    at: At, caplog: pytest.LogCaptureFixture, model: str, status: int
) -> None:
    async with answering(refusal(status)) as url:
        message = await failing(at(url, model), caplog)
    assert message.startswith(f"The provider of {model} {REFUSALS[status]}")
    assert "acct-17" not in message
    assert "acct-17" in caplog.text


async def test_a_provider_that_says_how_long_to_wait_is_quoted(at: At, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(refusal(429, headers="retry-after: 7\r\n")) as url:
        assert (await failing(at(url), caplog)).endswith("Ask again in 7 s.")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (429, "insufficient_quota", "is used up"),
        (400, "context_length_exceeded", "too long for openai:any. Log in again"),
        (400, "model_not_found", "knows no such model"),
        (400, "invalid_value", "refuses the request"),
    ],
)
async def test_what_a_provider_says_beyond_the_status_counts(
    at: At, caplog: pytest.LogCaptureFixture, status: int, code: str, told: str
) -> None:
    async with answering(refusal(status, code)) as url:
        assert told in await failing(at(url), caplog)


def test_a_refusal_names_the_files_that_it_may_be_about() -> None:
    refused, unreachable = ModelHTTPError(400, "any"), ModelConnectionError("any", "gone")
    assert advice("any", refused, ["a.pdf", "b.pdf"]).endswith("no such files as were attached: a.pdf, b.pdf.")
    assert "a.pdf" not in advice("any", unreachable, ["a.pdf"])


@pytest.mark.parametrize("model", ADDRESSES)
async def test_a_provider_that_cannot_be_reached_is_told_of(
    at: At, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    async with answering(b"") as url:
        pass  # nobody listens there any more
    assert await failing(at(url, model), caplog) == (
        f"The provider of {model} cannot be reached. Check its address and the server's network."
    )


@pytest.mark.parametrize("model", ADDRESSES)
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\ndata"]
)
async def test_a_connection_that_breaks_is_told_of(
    at: At, caplog: pytest.LogCaptureFixture, model: str, answer: bytes
) -> None:
    async with answering(answer) as url:
        message = await failing(at(url, model), caplog)
    assert message.startswith(f"The provider of {model} ")


async def test_a_failure_is_forgotten_and_the_next_request_goes_well(agent: ModelAgent) -> None:
    await ask(agent, "before")
    with pytest.raises(AgentError, match="refuses the request"):
        await ask(agent, "refuse")
    assert "".join((await ask(agent, "after")).text) == "Heard: [before] [after]"


# ---- The setup -------------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*KEYS, *ADDRESSES.values(), "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, "")  # so that it is put back even where it was not set
        monkeypatch.delenv(variable)
    model_agent._agent.cache_clear()


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("openai:gpt-5-mini", "OPENAI_API_KEY has no value, neither in the environment nor in .env"),
        ("anthropic:claude", "ANTHROPIC_API_KEY has no value"),
        ("google:gemini", "GOOGLE_API_KEY has no value"),
        ("vllm:any", "VLLM_BASE_URL has no value"),
        ("nobody:any", "Unknown model: nobody:any"),
        ("gpt-5-mini", "Unknown model: gpt-5-mini"),
        ("cohere:command", "Please install the `cohere` package"),
    ],
)
def test_what_is_missing_is_told_at_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, model: str, told: str
) -> None:
    pytest.importorskip(PACKAGES.get(f"{model.partition(':')[0]}:any", "openai"))
    monkeypatch.setenv("AGENT_MODEL", model)
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent("test:create_agent")
    assert f"AGENT_MODEL={model}: {told}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    ("model", "environment", "address", "dialect"),
    [
        ("openai:any", {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1/", OpenAIResponsesModel),
        ("openai:any", {"OPENAI_BASE_URL": "http://10.0.0.7/v1"}, "http://10.0.0.7/v1/", OpenAIChatModel),
        ("ollama:any", {}, "http://localhost:11434/v1/", OpenAIChatModel),
        ("ollama:any", {"OLLAMA_BASE_URL": "http://10.0.0.7/v1"}, "http://10.0.0.7/v1/", OpenAIChatModel),
    ],
)
def test_a_model_is_asked_at_its_address(
    monkeypatch: pytest.MonkeyPatch, model: str, environment: dict[str, str], address: str, dialect: type[Model]
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    found = model_agent._model(model)
    assert isinstance(found, dialect)
    assert found.base_url == address


@pytest.mark.usefixtures("nothing_set")
async def test_sessions_share_the_connections_to_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "openai:any")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    create_agent = load_agent("test:create_agent")
    first, second = await made(create_agent), await made(create_agent)
    assert isinstance(first, ModelAgent)
    assert first is not second
    assert model_agent._agent.cache_info().misses == 1
