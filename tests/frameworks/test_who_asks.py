"""Whom a tool runs for, however deep in a framework it stands: tried over the wire, with users who log in."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentsocket import AgentServer, InputRequired, LoginAttempt, Settings, ToolCall, Turn, User, current_turn
from agentsocket.agent.adapters.frameworks import adapt
from tests.frameworks.conftest import Make
from tests.frameworks.recorder import Recorder
from tests.support import Peer, connected


async def authenticate(login: LoginAttempt) -> User | None:
    return User(login.token) if login.token else None


@contextlib.asynccontextmanager
async def served(agent: Any, **options: Any) -> AsyncIterator[AgentServer]:
    """Serve one agent object to users; their token is their id."""
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0, cancel_timeout=5)
    async with AgentServer(settings, {"agent": lambda: adapt(agent, **options)}, authenticate=authenticate) as server:
        yield server


@contextlib.asynccontextmanager
async def visit(server: AgentServer, user: str, **login: Any) -> AsyncIterator[Peer]:
    async with connected(server) as peer:
        await peer.login(token=user, **login)
        yield peer


async def outputs(peer: Peer, message: str, **request: Any) -> list[str]:
    """Run a request to its end; return what its tools said."""
    await peer.request(message, **request)
    frames = await peer.until("agent_response", "error")
    assert frames[-1][0] == "agent_response", frames
    return [str(data["tool_output"]) for event, data in frames if event == "tool_result"]


def who(turn: Turn) -> str:
    user = turn.context.user
    return f"{user.id if user else 'nobody'}, {turn.context.params.get('locale')}, {turn.params.get('model')}"


async def whoami(city: str) -> str:
    """Tell who asks."""
    await asyncio.sleep(0)
    return f"{city}: {who(current_turn())}"


def whoami_in_a_thread(city: str) -> str:
    """Tell who asks, from a thread."""
    assert threading.current_thread() is not threading.main_thread()
    return f"{city}: {who(current_turn())}"


@pytest.mark.parametrize("tool", [whoami, whoami_in_a_thread])
async def test_a_tool_finds_who_asks_and_what_the_client_says(build: Make, tool: Callable[[str], Any]) -> None:
    async with (
        served(build(tool)) as server,
        visit(server, "ada", params={"locale": "fr"}) as ada,
        visit(server, "bob") as bob,
    ):
        message = f"{tool.__name__}(Oslo) then say"
        assert await outputs(ada, message, params={"model": "large"}) == ["Oslo: ada, fr, large"]
        assert await outputs(ada, message) == ["Oslo: ada, fr, None"]
        assert await outputs(bob, message) == ["Oslo: bob, None, None"]


@pytest.mark.parametrize("in_thread", [False, True])
async def test_two_users_at_once_never_mix(build: Make, in_thread: bool) -> None:  # noqa: FBT001  # a parameter
    there, both = asyncio.Barrier(4), threading.Barrier(4)

    async def meet(city: str) -> str:
        """Tell who asks once all are there."""
        await there.wait()
        return f"{city}: {who(current_turn())}"

    def meet_in_threads(city: str) -> str:
        """Tell who asks once all are there, from a thread."""
        both.wait(10)
        return f"{city}: {who(current_turn())}"

    tool: Callable[[str], Any] = meet_in_threads if in_thread else meet
    async with served(build(tool)) as server, visit(server, "ada") as ada, visit(server, "bob") as bob:
        message = f"{tool.__name__}(Oslo) {tool.__name__}(Bodo) then say"
        said = await asyncio.gather(outputs(ada, message), outputs(bob, message))
    assert [sorted(each) for each in said] == [
        [f"{city}: {user}, None, None" for city in ("Bodo", "Oslo")] for user in ("ada", "bob")
    ]


async def test_a_tool_speaks_and_asks_for_the_task_that_it_runs_in(build: Make) -> None:
    async def talk(city: str) -> str:
        """Say something and ask."""
        await current_turn().emit(ToolCall(tool_name="inner", tool_kwargs={"city": city}, tool_call_id="inner"))
        return str(await current_turn().ask(InputRequired(prompt=f"{city}?")))

    await converse(build(talk), "talk(Oslo) then say")


async def test_a_synchronous_tool_speaks_and_asks_likewise(build: Make) -> None:
    def talk(city: str) -> str:
        """Say something and ask, from a thread."""
        current_turn().emit_blocking(ToolCall(tool_name="inner", tool_kwargs={"city": city}, tool_call_id="inner"))
        return str(current_turn().ask_blocking(InputRequired(prompt=f"{city}?")))

    await converse(build(talk), "talk(Oslo) then say")


async def test_a_cancel_frees_a_thread_that_waits_for_an_answer(build: Make) -> None:
    freed = threading.Event()

    def wait(city: str) -> str:
        """Ask, from a thread."""
        try:
            return str(current_turn().ask_blocking(InputRequired(prompt=f"{city}?")))
        finally:
            freed.set()

    async with served(build(wait)) as server, visit(server, "ada") as peer:
        task_id = await peer.request("wait(Oslo) then say")
        await peer.until("input_required")
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.until("task_cancelled", "error"))[-1][0] == "task_cancelled"
        assert await asyncio.to_thread(freed.wait, 10)


async def converse(agent: Any, message: str) -> None:
    """Send a message whose tool says "inner" and asks; answer it."""
    async with served(agent) as server, visit(server, "ada") as peer:
        task_id = await peer.request(message)
        frames = await peer.until("input_required", "error", "agent_response")
        event, question = frames[-1]
        assert event == "input_required", frames
        assert question["prompt"] == "Oslo?"
        assert "inner" in [data.get("tool_name") for event, data in frames]
        await peer.send("input_response", task_id=task_id, input_id=question["input_id"], response="fine")
        frames = await peer.until("agent_response", "error")
    assert frames[-1][0] == "agent_response", frames


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_tool_of_an_agent_within_the_agent_finds_who_asks_speaks_and_asks(nest: Make, in_thread: bool) -> None:  # noqa: FBT001  # a parameter
    said: list[str] = []

    async def talk(city: str) -> str:
        """Say something and ask."""
        turn = current_turn()
        await turn.emit(ToolCall(tool_name="inner", tool_kwargs={"city": city}, tool_call_id="inner"))
        said.append(f"{await turn.ask(InputRequired(prompt=f'{city}?'))}, {who(turn)}")
        return said[0]

    def talk_in_a_thread(city: str) -> str:
        """Say something and ask, from a thread."""
        turn = current_turn()
        turn.emit_blocking(ToolCall(tool_name="inner", tool_kwargs={"city": city}, tool_call_id="inner"))
        said.append(f"{turn.ask_blocking(InputRequired(prompt=f'{city}?'))}, {who(turn)}")
        return said[0]

    tool: Callable[[str], Any] = talk_in_a_thread if in_thread else talk
    agent, message = nest(tool, f"{tool.__name__}(Oslo)")
    await converse(agent, message)
    assert said == ["fine, ada, None, None"]


# ---- The options of a turn -------------------------------------------------------------------------------------------


def option(framework: str, **values: Any) -> dict[str, Any]:
    """An option that each framework's run takes, and whose value a test can find again."""
    name = {
        "pydantic_ai": "deps",
        "openai_agents": "context",
        "langgraph": "config",
        "llamaindex": "max_iterations",
        "google_adk": "state_delta",
    }[framework]
    return {name: 7 if framework == "llamaindex" else values}


async def test_the_options_of_a_turn_go_over_those_given_once(framework: str, build: Make) -> None:
    turns: list[Turn] = []

    async def of(turn: Turn) -> dict[str, Any]:
        turns.append(turn)
        return option(framework, tags=["of the turn"])

    agent: Any = adapt(build(), for_turn=of, **option(framework, tags=["given once"]))
    turn = Recorder()
    assert await agent._options.of(turn) == option(framework, tags=["of the turn"])
    assert turns == [turn]
    await agent.run("hello", turn)
    assert turns == [turn, turn]


async def test_what_cannot_make_the_options_of_a_turn_fails_that_turn_alone(build: Make) -> None:
    def of(turn: Turn) -> dict[str, Any]:
        if not turn.params:
            raise KeyError("no such user")
        return {}

    async with served(build(), for_turn=of) as server, visit(server, "ada") as peer:
        await peer.request("hello")
        assert (await peer.expect("error"))["code"] == "agent_failed"
        assert await outputs(peer, "hello", params={"fine": True}) == []


@pytest.mark.parametrize("once", [True, False])
async def test_an_option_that_the_server_has_itself_is_refused(framework: str, build: Make, once: bool) -> None:  # noqa: FBT001  # a parameter
    name = {
        "pydantic_ai": "message_history",
        "openai_agents": "session",
        "langgraph": "stream_mode",
        "llamaindex": "ctx",
        "google_adk": "session_id",
    }[framework]
    agent = build()
    if once:
        with pytest.raises(TypeError, match=f"{name}= cannot be given"):
            adapt(agent, **{name: None})
    else:
        with pytest.raises(TypeError, match=f"{name}= cannot be given"):
            await adapt(agent, for_turn=lambda _: {name: None}).run("hello", Recorder())


HOSTILE: dict[str, Any] = {
    **dict.fromkeys(("user", "user_id", "session_id", "thread_id", "params", "context", "deps", "model"), "mallory"),
    "configurable": {"user_id": "mallory", "thread_id": "mallory"},
    "checkpoint_id": "mallory",
    "__pregel_checkpointer": "mallory",
    "recursion_limit": -1,
    "temperature": ["hot"],
    "": None,
}


async def test_a_clients_own_words_overwrite_nothing(build: Make) -> None:
    async with served(build(whoami)) as server, visit(server, "ada", params=HOSTILE) as peer:
        assert await outputs(peer, "whoami(Oslo) then say", params=HOSTILE) == ["Oslo: ada, None, mallory"]
