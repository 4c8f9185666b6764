"""What the agent that ships remembers of a conversation, beyond its session and its process."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json, to_json
from websockets.asyncio.client import connect

from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.offline_agent.notes import MAX_NOTE, MAX_NOTES
from agentsocket.offline_agent.toolbox import TOOLS
from tests.offline import Recorder, ask
from tests.server_process import ServerProcess, server_process
from tests.support import Peer

SEVERAL = "Remember that the key is under the mat. My name is Ada."


def again(agent: OfflineAgent, tools: Any = TOOLS) -> OfflineAgent:
    """Return another instance with what this one remembers, as a store keeps it."""
    other = OfflineAgent(tools, tick=0)
    other.load(from_json(to_json(agent.save(), inf_nan_mode="null")))
    return other


async def test_it_goes_on_as_if_nothing_had_been() -> None:
    agent = OfflineAgent()
    await ask(SEVERAL, agent)
    await ask("What time is it in Tokyo?", agent)
    agent = again(agent)
    assert '"the key is under the mat"; "My name is Ada"' in await ask("What do you remember?", agent)
    await ask("What time is it in Tokyo?", agent)
    agent, turn = again(again(agent)), Recorder()
    await ask("and in Paris?", agent, turn)
    assert turn.calls[0].tool_kwargs == {"place": "Paris"}
    assert '"What do you remember?", "What time is it in Tokyo?" and then "and in Paris?"' in await ask(
        "What did I ask before?", again(agent)
    )
    assert "You asked me to remember 2 things" not in await ask("What did you say?", again(agent))


async def test_what_it_said_last_is_said_again() -> None:
    agent = OfflineAgent()
    await ask("What is 1+1?", agent)
    assert await ask("What did you say?", again(agent)) == "I said: 1 + 1 is 2."


async def test_a_new_one_remembers_nothing_and_can_say_so() -> None:
    agent = again(OfflineAgent())
    assert await ask("What do you remember?", agent) == "I have no notes yet."
    assert "first thing" in await ask("What did I ask before?", again(OfflineAgent()))


async def test_what_is_deleted_stays_deleted() -> None:
    agent = OfflineAgent()
    await ask(SEVERAL, agent)
    await ask("Delete all my notes", again(agent), Recorder("no"))
    assert '"My name is Ada"' in await ask("What do you remember?", again(agent))
    await ask("Delete all my notes", agent, Recorder("yes"))
    assert await ask("What do you remember?", again(agent)) == "I have no notes yet."


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ("convert 5 miles to km", "what about 10?", "10 miles are 16.09344 kilometres."),
        ("convert 1e999 miles to km", "and in yards?", "did not understand"),  # JSON has no infinity
        ("count down from 1e999", "and from 2?", "The countdown from 2 is over."),
    ],
)
async def test_numbers_of_any_size_are_gone_on_from(first: str, then: str, said: str) -> None:
    agent = OfflineAgent()
    await ask(first, agent)
    assert said in await ask(then, again(agent))


async def test_a_tool_that_there_is_no_more_is_forgotten_alone() -> None:
    agent = OfflineAgent()
    await ask("Remember that it rains, and what time is it in Tokyo?", agent)
    left = [tool for tool in TOOLS if tool.name != "current_time"]
    agent = again(agent, left)
    assert "did not understand" in await ask("and in Paris?", agent)
    assert '"it rains"' in await ask("What do you remember?", agent)


async def test_the_most_that_it_can_remember_is_kept() -> None:
    agent = OfflineAgent()
    for number in range(MAX_NOTES):
        await ask("remember " + f"{number} ".ljust(MAX_NOTE, "\x01"), agent)
    assert len(agent._notes) == MAX_NOTES
    await ask("\n".join(["what do you remember?"] * 16).ljust(2000, "\x01"), agent)
    assert 500_000 < len(to_json(agent.save())) < 1024 * 1024
    again(agent)


@pytest.mark.parametrize(
    "memory",
    [
        *(None, [], "notes", {}, {"notes": "abc", "messages": [], "answer": "", "call": None}),
        {"notes": [], "messages": [1], "answer": "", "call": None},
        {"notes": [], "messages": [], "answer": "", "call": None, "of": "another version"},
        {"notes": ["of the same agent with a model"], "conversation": []},
    ],
)
async def test_what_is_no_memory_of_its_own_is_refused_and_changes_nothing(memory: Any) -> None:
    agent = OfflineAgent()
    await ask(SEVERAL, agent)
    with pytest.raises(ValueError, match="_Memory"):
        agent.load(memory)
    assert "My name is Ada" in await ask("What do you remember?", agent)


async def test_it_remembers_after_a_kill_what_it_was_told_before(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, peer):
        opened = await peer.login()
        await peer.ask(SEVERAL)
        await peer.request("Remember that it rains, and count down from 3000")
        await peer.until("tool_result")
        server.process.kill()
        await server.process.wait()
    async with running(tmp_path) as (server, peer):
        assert (await peer.login(conversation_id=opened["conversation_id"]))["memory"] == "restored"
        said = await peer.ask("What do you remember?")
        assert '"the key is under the mat"; "My name is Ada"' in said
        assert "rains" not in said  # that turn never got to its end
        assert (await server.stop())[0] == 0


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[ServerProcess, Peer]]:
    """Run the server as it ships, with a store; give a client of it."""
    arguments = ("--store", f"sqlite:{folder / 'c.db'}", "--env-file", "none")
    async with (
        server_process(*arguments, agent="test:create_agent") as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as socket,
    ):
        yield server, Peer(socket)
