"""What agents of the frameworks remember when their session is over: save, a new instance, load."""

import asyncio
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.contract import Attachment
from tests.frameworks.conftest import Make
from tests.frameworks.model_server import ModelServer, is_well_formed
from tests.frameworks.recorder import Recorder, Upload
from tests.frameworks.test_content_on_the_wire import DRAWN, PICTURES, PNG, upload
from tests.frameworks.tools import Parked, population, weather
from tests.server_process import ROOT, ServerProcess, server_process
from tests.support import Peer

PDF = b"%PDF-1.7 \xff\xfe\xfb\xef"
TABLE = b"\xef\xbb\xbfcity,degrees\nOslo,7\n"


def attachments() -> list[Upload]:
    return [
        Upload("p.png", "image/png", PNG),
        Upload("d.pdf", "application/pdf", PDF),
        Upload("t.csv", "text/csv", TABLE),
    ]


async def saved(agent: Any) -> Any:
    """What an agent remembers, as it comes back from a store."""
    return json.loads(json.dumps(await agent.save()))


async def reborn(memory: Any, agent: Any) -> Any:
    await agent.load(memory)
    return agent


async def body(agent: Any, models: ModelServer, known: Iterable[Attachment] = ()) -> str:
    """The request with which an agent goes on."""
    await agent.run("again", Recorder(known=known))
    return json.dumps(models.bodies[-1])


async def test_a_new_instance_sends_the_model_what_the_old_one_would_byte_for_byte(
    framework: str, make: Make, models: ModelServer
) -> None:
    async def draw() -> Any:
        """Draw."""
        return PICTURES[framework]()

    tools = weather, population, draw
    agent = make(*tools)
    first = Recorder(attachments=attachments())
    await agent.run("think weather(Oslo) population(Oslo) then draw() then say", first)
    second = Recorder(known=first.session_files.values())
    await agent.run("weather(Bergen) then say", second)
    memory = await saved(agent)

    known = second.session_files.values()
    new = await reborn(memory, make(*tools))
    live, restored = await body(agent, models, known), await body(new, models, known)
    assert restored == live
    assert b64encode(PNG).decode() in restored.replace("-", "+").replace("_", "/")
    assert "Oslo,7" in restored

    # What is saved again is the same, and what was loaded twice.
    again = await saved(await reborn(memory, make(*tools)))
    assert again == memory
    assert (await saved(new))["turns"][:2] == memory["turns"]
    newest = await reborn(await saved(new), make(*tools))
    assert await body(newest, models, known) == await body(new, models, known)


async def test_files_stand_in_it_by_their_ids(framework: str, make: Make) -> None:
    async def draw() -> Any:
        """Draw."""
        return PICTURES[framework]()

    agent, turn = make(draw), Recorder(attachments=attachments())
    await agent.run("draw() then say", turn)
    memory = json.dumps(await saved(agent))
    for data in (PNG, PDF, DRAWN):
        assert b64encode(data).decode() not in memory
        assert urlsafe_b64encode(data).decode() not in memory
    assert json.dumps(TABLE.decode("utf-8-sig"))[1:-1] not in memory.partition("Heard:")[0]  # the model repeats it
    ids = {file.id for file in turn.attachments}
    assert ids <= set(re.findall(r'"file_id": "(\w+)"', memory))


async def test_what_cannot_be_taken_up_raises_and_leaves_nothing_behind(make: Make, models: ModelServer) -> None:
    agent = make(weather)
    await agent.run("weather(Oslo) then say", Recorder())
    good = await saved(agent)
    broken = json.loads(json.dumps(good))
    broken["turns"].append({"messages": [{"kind": "of another version"}, 7], "files": [], "size": 0})
    new = make(weather)
    for memory in (
        {**good, "framework": "another"},
        {**good, "version": 2},
        {**good, "more": 1},
        broken,
        None,
        ["a"],
        {},
    ):
        with pytest.raises((ValueError, TypeError, LookupError)):
            await new.load(memory)
        assert new.memory.snapshot() == []
    assert await body(new, models) == await body(make(weather), models)


async def test_turns_are_in_it_whole_or_not_at_all(make: Make, models: ModelServer) -> None:
    parked = Parked()
    agent = make(weather, parked.park)
    slow = asyncio.create_task(agent.run("park(Oslo) then say", Recorder()))
    await parked.started.wait()
    await agent.run("weather(Bergen) then say", Recorder())
    while_one_runs = await saved(agent)
    assert len(while_one_runs["turns"]) == 1
    slow.cancel()
    await asyncio.wait([slow])
    with pytest.raises(Exception, match=r"."):
        await agent.run("refuse", Recorder())
    assert await saved(agent) == while_one_runs
    await body(await reborn(while_one_runs, make(weather, parked.park)), models)
    assert is_well_formed(models.requests[-1])
    assert [item.kind for item in models.requests[-1]] == ["user", "call", "result", "assistant", "user"]


async def test_of_what_is_too_large_the_oldest_turns_go(make: Make) -> None:
    async def copies(city: str) -> str:
        """Repeat a city."""
        name, _, number = city.partition(":")
        return name * int(number)

    agent = make(copies)
    for city in ("a:450000", "b:450000", "c:450000"):
        await agent.run(f"copies({city}) then say", Recorder())
    memory = await saved(agent)
    assert len(json.dumps(memory)) <= 1024 * 1024
    new = await reborn(memory, make(copies))
    assert len(memory["turns"]) == 2
    # What the model gets of so much is another matter: LlamaIndex itself leaves out what is beyond its own limit.
    told = repr(new.memory.snapshot())
    assert [letter for letter in "abc" if letter * 1000 in told] == ["b", "c"]
    await agent.run("copies(d:1100000) then say", Recorder())
    with pytest.raises(ValueError, match="too much"):
        await agent.save()
    await agent.run("copies(e:1) then say", Recorder())
    assert len((await saved(agent))["turns"]) == 1


async def test_a_turn_whose_file_is_gone_is_not_remembered_and_the_others_are(
    make: Make, models: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    agent = make()
    await agent.run("one", Recorder(attachments=attachments()))
    await agent.run("two", Recorder())
    new = await reborn(await saved(agent), make())
    await body(new, models)
    assert [item.text for item in models.requests[-1] if item.kind == "user"] == ["two", "again"]
    assert "not remembered any more" in caplog.text
    assert len((await saved(new))["turns"]) == 2


async def test_who_answers_after_a_handoff_is_remembered(nest: Make, models: ModelServer) -> None:
    nested, message = nest(weather, "weather(Oslo)")
    agent = adapt(nested)
    await agent.run(message, Recorder())
    new = await reborn(await saved(agent), adapt(nest(weather, "weather(Oslo)")[0]))
    assert await body(new, models) == await body(agent, models)


async def test_a_conversation_outlives_the_agent_that_took_over(nest: Make, make: Make, models: ModelServer) -> None:
    nested, message = nest(weather, "weather(Oslo)")
    agent = adapt(nested)
    await agent.run(message, Recorder())
    await body(await reborn(await saved(agent), make(weather)), models)
    assert models.requests[-1][0].text == message


# ---- Over a real server ----------------------------------------------------------------------------------------------

AGENT = """
import os

from agentsocket import adapt
from tests.frameworks.builds import {framework} as builds
from tests.frameworks.test_content_on_the_wire import PICTURES
from tests.frameworks.tools import weather


async def draw():
    "Draw."
    return PICTURES["{framework}"]()


def make():
    return adapt(builds.build(os.environ["MODELS"], [weather, draw], []))
"""


def without_ids(sent: str) -> str:
    """A request with its calls numbered from its beginning on."""
    numbers: dict[str, str] = {}
    return re.sub(r"call_\d+", lambda found: numbers.setdefault(found[0], f"call #{len(numbers)}"), sent)


async def begin(peer: Peer) -> str:
    """Fill a conversation; return its id."""
    answer = await peer.login(features=["reasoning", "files"])
    for message in ("think weather(Oslo) draw() then say", "weather(Bergen) then say"):
        attached = [await upload(peer)] if "Oslo" in message else []
        await peer.request(message, attachments=attached)
        event, data = (await peer.until("agent_response", "error"))[-1]
        assert event == "agent_response", data
        assert "unsaved" not in data
    return str(answer["conversation_id"])


async def go_on(peer: Peer, models: ModelServer) -> str:
    await peer.ask("again")
    return without_ids(json.dumps(models.bodies[-1]))


def entered(server: ServerProcess) -> connect:
    return connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None)


async def test_a_conversation_goes_on_after_a_kill(
    framework: str, models: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS", models.url)
    monkeypatch.setenv("GOOGLE_API_KEY", "none")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "served.py").write_text(AGENT.format(framework=framework))
    agent, store = f"{tmp_path}/served.py:make", ("--store", f"sqlite:{tmp_path / 'c.db'}")
    async with server_process(*store, agent=agent) as server:
        async with entered(server) as socket:
            await begin(Peer(socket))
            live = await go_on(Peer(socket), models)
        async with entered(server) as socket:
            conversation_id = await begin(Peer(socket))
            server.process.kill()
            await server.process.wait()
    for _ in range(2):
        async with server_process(*store, agent=agent) as server, entered(server) as socket:
            peer = Peer(socket)
            answer = await peer.login(conversation_id=conversation_id)
            assert answer["memory"] == "restored", server.log
            restored = await go_on(peer, models)
            assert "Traceback" not in server.log
            if live:
                assert restored == live
                live = ""  # the next time it is longer
            server.process.kill()
            await server.process.wait()
    assert restored.count('"again"') == 2
    assert b64encode(PNG).decode() in restored.replace("-", "+").replace("_", "/")
