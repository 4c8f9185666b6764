"""What a client is told of the agents before it asks anything."""

from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.card import card
from agentsocket.agent.contract import Turn
from agentsocket.agent.loader import load_agents
from agentsocket.offline_agent import create_agent
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.support import connected, load_agent, serving

MODULE = '''
class Desk:
    title = "Front desk"
    description = "Answers questions about orders."
    starters = ["Where is my order?"]

    async def run(self, message, turn):
        return message

def make():
    return Desk()
make.title = "Made to order"

async def plain(message):
    """Says it again; a note for colleagues."""
    return message
plain.description = "Says it again."
'''


class Titled:
    title = "Of the class"

    async def run(self, message: str, turn: Turn) -> str:
        del turn
        return message


class Raising:
    @property
    def title(self) -> str:
        raise RuntimeError("not now")

    @property
    def starters(self) -> list[str]:
        raise KeyError("nor these")

    description = "It stands all the same."


def told(source: object) -> dict[str, Any]:
    return card("name", source).model_dump()


@pytest.mark.parametrize(
    ("attribute", "agents_card", "lists_card"),
    [
        (
            "Desk",
            {
                "title": "Front desk",
                "description": "Answers questions about orders.",
                "starters": ["Where is my order?"],
            },
            {"title": "Front desk", "description": "Answers questions about orders."},
        ),
        # The instance's own words come before its factory's, of which alone the list can tell.
        (
            "make",
            {
                "title": "Front desk",
                "description": "Answers questions about orders.",
                "starters": ["Where is my order?"],
            },
            {"title": "Made to order"},
        ),
        # What is written for colleagues is not for everybody.
        ("plain", {"description": "Says it again."}, {"description": "Says it again."}),
    ],
)
async def test_an_agent_is_introduced_to_a_client_that_names_its_features(
    tmp_path: Path, attribute: str, agents_card: dict[str, Any], lists_card: dict[str, Any]
) -> None:
    file = tmp_path / "introduced.py"
    file.write_text(MODULE)
    async with serving(load_agent(f"{file}:{attribute}")) as server, connected(server) as peer:
        answer = await peer.login(features=[], resumable=True)
        assert answer["agent"] == {"name": "agent", **agents_card}
        assert answer["agents"] == [{"name": "agent", **lists_card}]
        session = {key: answer[key] for key in ("session_id", "resume_token")}
        async with connected(server) as again:
            assert (await again.login(features=[], **session))["agent"] == answer["agent"]


async def test_a_client_that_names_no_features_is_told_nothing_of_it() -> None:
    async with serving(Titled) as server, connected(server) as peer:
        assert not {"agent", "agents"} & set(await peer.login())


async def test_who_asks_for_an_agent_that_is_not_there_is_told_which_are() -> None:
    agents = {"desk": Titled, **load_agents(["shop=agentsocket.offline_agent:create_agent"])}
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with AgentServer(settings, agents) as server, connected(server) as peer:
        await peer.send("login", agent="typo", features=[])
        error = await peer.expect("error")
        assert error["code"] == "agent_unavailable"
        assert error["agents"][0] == {"name": "desk", "title": "Of the class"}
        assert set(error["agents"][1]) == {"name", "title", "description"}
        await peer.send("login", agent="typo")
        assert "agents" not in await peer.expect("error")


@pytest.mark.parametrize("odd", [None, 7, b"bytes", "", " \n\u200b", ["a list"], object(), {"a": "dict"}])
def test_what_is_no_text_is_left_out(odd: object) -> None:
    class Odd:
        title = description = odd
        starters = (odd, "Where is it?")

    assert told(Odd()) == {"name": "name", "starters": ["Where is it?"]}


@pytest.mark.parametrize("odd", ["text is no list of it", 7, {"a": 1}, [], [7], iter(["x"])])
def test_starters_that_are_no_list_of_text_are_left_out(odd: object) -> None:
    class Odd:
        starters = odd

    assert told(Odd) == {"name": "name"}


def test_texts_are_one_clean_line_and_bounded() -> None:
    class Long:
        title = " A\ntitle\x1b[31m\u202e \ud83d\ude00 \ud800"
        description = "x" * 10_000_000
        starters = ["y" * 1000] * 100

    found = told(Long)
    assert found["title"] == "A title [31m 😀 \ufffd"
    assert len(found["description"]) == 500
    assert {len(starter) for starter in found["starters"]} == {300}
    assert len(found["starters"]) == 8


def test_an_attribute_that_raises_is_as_good_as_none() -> None:
    assert told(Raising()) == {"name": "name", "description": "It stands all the same."}


def test_the_agent_that_ships_says_what_it_can_do() -> None:
    found = told(create_agent)
    assert len(found["starters"]) == 3
    assert found["title"]
    assert found["description"]
