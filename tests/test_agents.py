"""What may stand behind ``--agent``, and what the server does for every agent."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from agentsocket.agent.adapters.plain import PlainAgent
from agentsocket.agent.contract import Approval, Turn
from agentsocket.agent.loader import AgentNotLoadable, load_agents
from agentsocket.protocol.events import AgentOutput, Emitted, ToolCall, ToolResult
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.support import (
    PATIENCE,
    BareTurn,
    Peer,
    Scripted,
    connected,
    eventually,
    load_agent,
    logged_in,
    made,
    serving,
)

MODULE = """
class Echo:
    async def run(self, message, turn):
        return message

def factory(): return Echo()
async def async_factory(): return Echo()
async def answer(message): return message.upper()
async def stream(message):
    for word in message.split(): yield word + " "
def sync_answer(message): return message.upper()
def sync_stream(message):
    for word in message.split(): yield word + " "
number = 5
instance = Echo()
def two(message, other): pass
def junk(): return 5
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "served_agent.py"
    path.write_text(MODULE)
    return path


@pytest.mark.parametrize(
    ("attribute", "answer"),
    [
        ("Echo", "so it is"),
        ("factory", "so it is"),
        ("async_factory", "so it is"),
        ("answer", "SO IT IS"),
        ("stream", "so it is "),
        ("sync_answer", "SO IT IS"),
        ("sync_stream", "so it is "),
    ],
)
async def test_a_file_may_hold_any_kind_of_agent(module: Path, attribute: str, answer: str) -> None:
    agent = await made(load_agent(f"{module}:{attribute}"))
    assert await agent.run("so it is", Ear()) == answer


async def test_a_module_is_found_by_its_name(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(module.parent)
    agent = await made(load_agent("served_agent:Echo"))
    assert await agent.run("hello", Ear()) == "hello"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nothing", "expected module:attribute"),
        ("no_such_module:agent", "No module named 'no_such_module'"),
        ("no/such/file.py:agent", "there is no file 'no/such/file.py'"),
        ("{module}:missing", "has no attribute 'missing'"),
        ("{module}:number", "object of type int; accepted is a factory"),
        ("{module}:instance", "object of type Echo; accepted is a factory"),
        ("{module}:two", "it has 2 required parameters: message, other; accepted is a factory"),
        ("{broken}:agent", "importing '{broken}' failed: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(module: Path, spec: str, told: str) -> None:
    broken = module.with_name("broken_agent.py")
    broken.write_text("1 / 0\n")
    names = {"module": module, "broken": broken}
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent(spec.format(**names))
    assert told.format(**names) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_factory_that_makes_no_agent_is_told_apart(module: Path) -> None:
    with pytest.raises(TypeError, match="the factory made a int, which has no 'async def run"):
        await made(load_agent(f"{module}:junk"))


class Ear(BareTurn):
    """A turn that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def emit(self, event: Emitted) -> None:
        assert isinstance(event, AgentOutput)
        self.heard.append(event.output)

    async def ask(self, question: Any) -> Any:
        raise NotImplementedError


async def upper(message: str) -> str:
    return message.upper()


def wrapper(message: str) -> Any:
    return upper(message)


class Caller:
    async def __call__(self, message: str) -> str:
        return message.upper()


@pytest.mark.parametrize(
    "function",
    [upper, Caller(), functools.partial(upper), wrapper, str.upper],
    ids=["function", "object", "partial", "wrapper", "builtin"],
)
async def test_whatever_can_be_called_with_a_message_is_an_agent(function: Any) -> None:
    assert await PlainAgent(function).run("hello", Ear()) == "HELLO"


async def test_a_generator_is_streamed_piece_by_piece_and_closed_when_it_is_left() -> None:
    closed = asyncio.Event()

    async def endless(_: str) -> AsyncIterator[str]:
        try:
            while True:
                yield "on and "
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with serving(lambda: PlainAgent(endless)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        assert (await peer.expect("agent_output"))["output"] == "on and "
        await peer.send("cancel_request", task_id=task_id)
        await peer.until("task_cancelled")
        assert closed.is_set()


async def test_synchronous_code_runs_off_the_loop_and_others_go_on_meanwhile() -> None:
    release = threading.Event()

    def block(_: str) -> str:
        assert release.wait(PATIENCE)
        return threading.current_thread().name

    async with serving(lambda: PlainAgent(block)) as server, logged_in(server) as one, logged_in(server) as other:
        await one.request("block")
        task_id = await other.request("block")
        await other.send("cancel_request", task_id=task_id)
        await other.send("cancel_request", task_id="gone")
        assert (await other.expect("error"))["code"] == "unknown_task"  # the cancelled one has not stopped yet
        release.set()
        assert await other.expect("task_cancelled") == {"task_id": task_id}
        assert (await one.expect("agent_response"))["response"] != threading.main_thread().name


async def test_a_synchronous_agent_that_does_not_return_cannot_be_cancelled() -> None:
    release = threading.Event()
    async with (
        serving(lambda: PlainAgent(lambda _: str(release.wait(PATIENCE))), cancel_timeout=0.05) as server,
        logged_in(server) as peer,
    ):
        task_id = await peer.request("block")
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.expect("error"))["code"] == "cancel_failed"
        release.set()
        await eventually(lambda: not server.manager.running)


async def test_a_synchronous_generator_stops_at_its_next_piece() -> None:
    closed = threading.Event()

    def endless(_: str) -> Iterator[str]:
        try:
            while True:
                yield "on and "
        finally:
            closed.set()

    async with serving(lambda: PlainAgent(endless)) as server, logged_in(server) as peer:
        task_id = await peer.request("go")
        await peer.expect("agent_output")
        await peer.send("cancel_request", task_id=task_id)
        await peer.until("task_cancelled")
        assert closed.is_set()


@pytest.mark.parametrize("piece", [5, None, b"bytes", ["list"]])
async def test_a_generator_of_something_else_fails_its_task(piece: Any) -> None:
    async def wrong(_: str) -> AsyncIterator[Any]:
        yield piece

    async with serving(lambda: PlainAgent(wrong)) as server, logged_in(server) as peer:
        await peer.request("go")
        assert (await peer.expect("error"))["code"] == "agent_failed"


async def emitted(script: Any) -> list[tuple[str, dict[str, Any]]]:
    async with serving(lambda: Scripted(go=script)) as server, logged_in(server) as peer:
        await peer.request("go")
        return [(event, without_id(data)) for event, data in await peer.until("agent_response", "error")]


def without_id(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "task_id"}


async def test_a_call_that_is_told_twice_goes_out_once() -> None:
    async def twice(_: str, turn: Turn) -> str:
        call = ToolCall(tool_name="dig", tool_kwargs={"deep": True}, tool_call_id="c")
        await turn.emit(call)
        await turn.emit(call)
        await turn.emit(ToolResult(tool_output="dug", tool_call_id="c"))
        return ""

    frames = await emitted(twice)
    assert [event for event, _ in frames] == ["tool_call", "tool_result", "agent_response"]
    assert frames[1][1] == {"tool_name": "dig", "tool_output": "dug", "tool_call_id": "c"}


async def test_a_result_without_an_id_belongs_to_the_oldest_open_call_of_its_name() -> None:
    async def unnamed(_: str, turn: Turn) -> str:
        for name in ("dig", "fill", "dig"):
            await turn.emit(ToolCall(tool_name=name))
        await turn.emit(ToolResult(tool_name="dig", tool_output=1))
        await turn.emit(ToolResult(tool_name="dig", tool_output=2))
        await turn.emit(ToolResult(tool_output=3))
        return ""

    frames = await emitted(unnamed)
    calls = [data["tool_call_id"] for event, data in frames if event == "tool_call"]
    assert len(set(calls)) == 3
    results = [(data["tool_name"], data["tool_call_id"]) for event, data in frames if event == "tool_result"]
    assert results == [("dig", calls[0]), ("dig", calls[2]), ("fill", calls[1])]


class Opaque:
    def __str__(self) -> str:
        return "an opaque thing"


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(220):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        ("text", "text"),
        ({"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}),
        (float("nan"), None),
        ([float("inf")], [None]),
        (b"\x00\xff", "AP8="),
        (Opaque(), "an opaque thing"),
        ({"thing": Opaque()}, {"thing": "an opaque thing"}),
        (Path("a/b"), "a/b"),
        (CYCLE, "[[...]]"),
        (DEEP, str(DEEP)),
        ("broken \ud800", "broken \ufffd"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_any_value_of_a_tool_becomes_json(value: Any, sent: Any) -> None:
    async def give(_: str, turn: Turn) -> str:
        await turn.emit(ToolResult(tool_name="give", tool_output=value))
        return ""

    assert (await emitted(give))[0][1]["tool_output"] == sent


async def output(*pieces: str) -> str:
    async def speak(_: str, turn: Turn) -> str:
        for piece in pieces:
            await turn.emit(AgentOutput(output=piece))
        return "".join(pieces)

    frames = await emitted(speak)
    sizes = [len(to_json(data["output"])) for event, data in frames if event == "agent_output"]
    assert all(size <= 256 * 1024 + len('""') for size in sizes)
    return "".join(data["output"] for event, data in frames if event == "agent_output")


async def test_a_long_text_comes_in_pieces_that_are_bounded_with_all_their_escapes() -> None:
    long = "\x01" * 100_000 + "ä😀\n" * 100_000
    assert await output(long) == long


async def test_an_emoji_that_is_split_over_two_pieces_survives() -> None:
    assert await output("so \ud83d", "\ude00 happy") == "so 😀 happy"


async def test_half_an_emoji_is_replaced_where_the_other_half_never_comes() -> None:
    assert await output("so \ud83d", "sad \ude00", "\ud83d") == "so \ufffdsad \ufffd\ufffd"


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀", "\x00"])
async def test_a_long_output_goes_out_as_several_without_a_character_lost(letter: str) -> None:
    assert await output("-" + letter * 300_000) == "-" + letter * 300_000


@pytest.mark.parametrize(
    ("response", "approval"),
    [
        (True, Approval(approved=True)),
        ("Yes", Approval(approved=True)),
        ("never", Approval(approved=False)),
        (None, Approval(approved=False)),
        (1, Approval(approved=False)),
        ({"approved": True, "tool_kwargs": {"x": 1}}, Approval(approved=True, tool_kwargs={"x": 1})),
        ({"approved": False, "reason": "no"}, Approval(approved=False, reason="no")),
        ({"approved": "yes"}, Approval(approved=False)),
        ({}, Approval(approved=False)),
    ],
)
def test_an_approval_is_what_is_clearly_a_yes(response: Any, approval: Approval) -> None:
    assert Approval.read(response) == approval


async def test_a_slow_client_slows_its_own_agent_and_no_other() -> None:
    emitted_by_slow = 0

    async def pour(_: str, turn: Turn) -> str:
        nonlocal emitted_by_slow
        while True:
            await turn.emit(AgentOutput(output="x" * 10_000))
            emitted_by_slow += 1

    async with serving(lambda: Scripted(pour=pour)) as server:
        async with logged_in(server) as slow, logged_in(server) as quick:
            await slow.request("pour")
            slow.socket.transport.pause_reading()
            await _ask_until_quiet(quick, lambda: emitted_by_slow)
            assert emitted_by_slow * 10_000 < 20_000_000  # what the kernel's buffers hold, and little more
            slow.socket.transport.abort()
        await eventually(lambda: not server.manager.running)


async def _ask_until_quiet(peer: Peer, measure: Any) -> None:
    """Ask until what is measured stands still over twenty answers."""
    before = -1
    while measure() != before:
        before = measure()
        for number in range(4):
            assert await peer.ask(f"say {number}") == f"say {number}"


async def test_one_server_has_several_agents_and_a_login_names_its_own(module: Path) -> None:
    specs = [f"loud={module}:answer", f"plain={module}:Echo"]
    async with AgentServer(Settings(host="127.0.0.1", port=0), load_agents(specs)) as server:
        for login, answer in (({}, "HELLO"), ({"agent": "loud"}, "HELLO"), ({"agent": "plain"}, "hello")):
            async with logged_in(server, **login) as peer:
                assert await peer.ask("hello") == answer
        async with connected(server) as peer:
            await peer.send("login", agent="quiet")
            error = await peer.expect("error")
            assert error["code"] == "agent_unavailable"
            assert "loud, plain" in error["message"]
            assert "quiet" not in error["message"]


def test_two_agents_of_one_name_are_refused(module: Path) -> None:
    with pytest.raises(AgentNotLoadable, match="two agents are named 'default'"):
        load_agents([f"{module}:Echo", f"{module}:answer"])


async def test_what_a_factory_opens_is_closed_with_the_session(tmp_path: Path) -> None:
    (tmp_path / "opening_agent.py").write_text(OPENING)
    agents = load_agents([f"{tmp_path / 'opening_agent.py'}:create"])
    async with AgentServer(Settings(host="127.0.0.1", port=0), agents) as server, logged_in(server) as peer:
        assert await peer.ask("hello") == "opened"
        await peer.send("logout")
        await peer.expect("logout_response")
        await peer.login()
        assert await peer.ask("hello") == "opened closed opened"


OPENING = """
from contextlib import asynccontextmanager

SEEN = []

class Agent:
    async def run(self, message, turn):
        return " ".join(SEEN)

@asynccontextmanager
async def create():
    SEEN.append("opened")
    try:
        yield Agent()
    finally:
        SEEN.append("closed")
"""
