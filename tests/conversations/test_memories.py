"""What an agent may look like that remembers: its methods plain or async, one of them or both, made in any way."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.conversations.keeping import Rememberer, authenticate, entered, history, keeping, question
from tests.support import connected, load_agent


class Plain:
    """Remembers by plain methods."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, message: str, _: Turn) -> str:
        self.heard.append(message)
        return " ".join(self.heard)

    def save(self) -> list[str]:
        return self.heard

    def load(self, memory: list[str]) -> None:
        self.heard = memory


async def continued(folder: Path, agent: Any) -> tuple[str, str]:
    """Ask twice, the second time after a restart; return what is told of the memory, and the answer."""
    async with keeping(folder, agent) as server, entered(server) as (peer, opened):
        await peer.request("one")
        assert "unsaved" not in (await peer.until("agent_response"))[-1][1]
    async with keeping(folder, agent) as server, entered(server, **known(opened)) as (peer, answer):
        return answer["memory"], await peer.ask("two")


def known(opened: dict[str, Any]) -> dict[str, Any]:
    return {"conversation_id": opened["conversation_id"]}


async def test_plain_methods_do_as_well(tmp_path: Path) -> None:
    assert await continued(tmp_path, Plain) == ("restored", "one two")


@pytest.mark.parametrize("missing", ["save", "load"])
async def test_one_of_the_two_alone_is_no_memory(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(Plain, missing)
    assert await continued(tmp_path, Plain) == ("none", "two")
    assert not caplog.records


async def test_an_attribute_that_is_called_so_is_no_method(tmp_path: Path) -> None:
    class Collector(Plain):
        save = load = None  # type: ignore[assignment]  # an agent of somebody who has never heard of it

    assert await continued(tmp_path, Collector) == ("none", "two")


async def test_a_function_is_gone_on_with_and_has_no_memory(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text("async def shout(message):\n    return message.upper()\n")
    assert await continued(tmp_path, load_agent(f"{tmp_path / 'shouting.py'}:shout")) == ("none", "TWO")


@pytest.mark.parametrize("method", ["save", "load"])
async def test_a_plain_method_that_fails_is_told(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise SystemExit(3)

    async with keeping(tmp_path, Plain) as server, entered(server) as (peer, opened):
        await peer.ask("one")
        monkeypatch.setattr(Plain, method, fail)
        await peer.request("two")
        response = (await peer.until("agent_response"))[-1][1]
        assert (response["response"], response.get("unsaved")) == ("one two", True if method == "save" else None)
        await peer.send("logout")
        await peer.expect("logout_response")
        answer = await peer.login(**known(opened))
        said = await peer.ask("three")
        assert (answer["memory"], said) == (("restored", "one three") if method == "save" else ("none", "three"))
    assert len(caplog.records) == 1 + (method == "save")
    assert "the agent tried to end the process" in caplog.text


MANAGERS = """
import contextlib

CLOSED = []

class Agent:
    def __init__(self, drawer):
        self.drawer, self.heard = drawer, []

    async def run(self, message, turn):
        self.heard.append(message)
        return " ".join(self.heard)

    def save(self):
        return {self.drawer: self.heard}

    async def load(self, memory):
        self.heard = memory[self.drawer]

    def aclose(self):
        CLOSED.append("agent")

@contextlib.asynccontextmanager
async def opened():
    yield Agent("a")
    CLOSED.append("a")

@contextlib.contextmanager
def opened_in_a_thread():
    yield Agent("b")
    CLOSED.append("b")

@contextlib.asynccontextmanager
async def opened_for(context):
    yield Agent(context.agent)
    CLOSED.append("c")
"""


@pytest.mark.parametrize(
    ("name", "closed"),
    [("opened", "a"), ("opened_in_a_thread", "b"), ("opened_for", "c")],
    ids=str,
)
async def test_what_a_context_manager_opens_remembers_and_is_closed(
    name: str, closed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "managers.py").write_text(MANAGERS)
    factory: Any = load_agent(f"{tmp_path / 'managers.py'}:{name}")
    assert await continued(tmp_path, factory) == ("restored", "one two")
    assert inspect.unwrap(factory).__globals__["CLOSED"] == ["agent", closed] * 2
    assert not caplog.records


# ---- Several agents --------------------------------------------------------------------------------------------------


def several(folder: Path, **agents: Any) -> AgentServer:
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0, store=f"sqlite:{folder / 'c.db'}")
    return AgentServer(settings, agents, authenticate)


async def test_each_of_several_agents_has_the_memory_of_its_own_conversations(tmp_path: Path) -> None:
    opened: dict[str, dict[str, Any]] = {}
    async with several(tmp_path, first=Plain, second=Rememberer) as server:
        for name in ("first", "second"):
            async with entered(server, token="ada", agent=name) as (peer, opened[name]):
                await peer.ask(f"to the {name}")
    async with several(tmp_path, second=Rememberer, first=Plain) as server:
        # Which agent it is, is the conversation's to say, and not the login's.
        async with entered(server, token="ada", agent="second", **known(opened["first"])) as (peer, answer):
            assert (answer["memory"], await peer.ask("again")) == ("restored", "to the first again")
        async with entered(server, token="ada", **known(opened["second"])) as (peer, answer):
            assert (answer["memory"], await peer.ask("recall")) == ("restored", "to the second")
            listed = (await question(peer, "list_conversations"))[1]["conversations"]
            assert {each["agent"] for each in listed} == {"first", "second"}


async def test_a_conversation_whose_agent_is_gone_can_be_read_and_waits_for_it(tmp_path: Path) -> None:
    both = {"first": Plain, "second": Plain}
    async with several(tmp_path, **both) as server, entered(server, token="ada", agent="second") as (peer, opened):
        await peer.ask("one")
    async with several(tmp_path, first=Plain) as server, entered(server, token="ada") as (peer, _):
        async with connected(server) as other:
            await other.send("login", token="ada", **known(opened))
            error = await other.expect("error")
            assert error["code"] == "agent_unavailable"
            assert "There are: first." in error["message"]
        assert [turn["response"] for turn in await history(peer, **known(opened))] == ["one"]
        event, _ = await question(peer, "rename_conversation", **known(opened), title="To the second")
        assert event == "conversation_updated"
    async with several(tmp_path, **both) as server, entered(server, token="ada", **known(opened)) as (peer, answer):
        assert (answer["memory"], await peer.ask("two")) == ("restored", "one two")


async def test_another_agent_behind_the_name_says_that_it_remembers_nothing(tmp_path: Path) -> None:
    class Other(Plain):
        def load(self, memory: Any) -> None:
            self.heard = [memory["what"]]

    async with keeping(tmp_path, Plain) as server, entered(server) as (peer, opened):
        await peer.ask("one")
    async with keeping(tmp_path, Other) as server, entered(server, **known(opened)) as (peer, answer):
        assert (answer["memory"], await peer.ask("two")) == ("none", "two")
        assert [turn["response"] for turn in await history(peer)] == ["one", "two"]
