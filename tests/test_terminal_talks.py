"""Conversations at a terminal: they are listed, gone on with, renamed, deleted, and survive the server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.client.client import WebSocketClient
from agentsocket.protocol.events import AgentOutput, InputRequired, ToolCall, ToolResult
from agentsocket.protocol.frames import ConversationCard
from agentsocket.terminal.past import row, when
from tests.conversations.keeping import Rememberer, keeping
from tests.person import Person, at_terminal
from tests.server_process import ROOT, server_process
from tests.support import PATIENCE
from tests.test_terminal import in_each_environment

AGENT = f"{ROOT / 'tests' / 'test_client_conversations.py'}:Slow"


def kept_in(environment: dict[str, str]) -> Path:
    folder = Path(environment["HOME"]) / "kept"
    folder.mkdir()
    return folder


@contextlib.asynccontextmanager
async def ada(uri: str, environment: dict[str, str], *arguments: str) -> AsyncIterator[Person]:
    async with at_terminal(uri, "--token", "ada", *arguments, environment=environment) as person:
        await person.sees("\n>")
        yield person


async def asked(uri: str, *messages: str) -> str:
    """Have asked something in a conversation of its own."""
    async with WebSocketClient(uri, token="ada") as client:
        for message in messages:
            await client.ask(message)
        assert client.conversation_id is not None
        return client.conversation_id


@in_each_environment
async def test_yesterdays_conversation_is_found_and_gone_on_with(environment: dict[str, str]) -> None:
    async with keeping(kept_in(environment), users=True) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        await asked(uri, "an old question")
        await asked(uri, *(f"step {number}" for number in range(5)))
        async with ada(uri, environment) as person:
            person.enter("/conversations")
            await person.sees("   1  step 0 · 5 turns · ", "   2  an old question · 1 turn · ")
            person.enter("/continue 1")
            await person.sees("Going on with “step 0”.\n> step 2\n  STEP 2\n> step 3", "/history shows more.")
            person.enter("recall")
            await person.sees("step 0 step 1 step 2 step 3 step 4")
            person.enter("/history 100")
            await person.sees("\n> step 0\nab\nSTEP 0\n\n> step 1\n")
            person.enter("/new")
            await person.sees("This is a new conversation.")
            person.enter("begin")
            await person.sees("BEGIN")
            assert await person.leaves() == 0
        async with ada(uri, environment, "--continue") as person:
            await person.sees("Going on with “begin”.\n> begin\n  BEGIN\n")
            assert await person.leaves() == 0


@in_each_environment
async def test_a_conversation_is_renamed_and_deleted_where_that_is_said_twice(environment: dict[str, str]) -> None:
    async with keeping(kept_in(environment), users=True) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        await asked(uri, "an old question")
        async with ada(uri, environment) as person:
            person.enter("hello")
            await person.sees("HELLO")
            person.enter("/rename Some greeting")
            await person.sees("It is called “Some greeting” now.")
            person.enter("/conversations")
            await person.sees("*  1  Some greeting · 1 turn · ", "   2  an old question")
            person.enter("/delete 2")
            await person.sees("Delete “an old question” for good, with its files? [y/N]", "\n?")
            person.enter("what?")
            await person.sees("It is kept.")
            person.enter("/delete 2")
            await person.watches(lambda text: text.count("[y/N]") == 2)
            person.enter("y")
            await person.sees("It is deleted.")
            person.enter("/continue 2")
            await person.sees("error: There is no such conversation.")
            person.enter("/continue 7")
            await person.sees("There is no such number")
            person.enter("/delete 1")
            await person.sees("Delete “Some greeting”")
            person.enter("yes")
            await person.sees("It is deleted, and this is a new one.")
            person.enter("recall")
            await person.no_longer_sees("working")
            assert await person.leaves() == 0
        async with WebSocketClient(uri, token="ada") as client:
            assert [card.title async for card in client.all_conversations()] == ["recall"]


@in_each_environment
async def test_a_conversation_is_not_left_while_something_runs_in_it(environment: dict[str, str]) -> None:
    class Parking(Rememberer):
        async def run(self, message: str, turn: Turn) -> Any:
            if message != "park":
                return await super().run(message, turn)
            await asyncio.Event().wait()
            return ""

    async with keeping(kept_in(environment), Parking, users=True) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        other = await asked(uri, "an old question")
        async with ada(uri, environment) as person:
            person.enter("park")
            await person.sees("working")
            person.enter(f"/continue {other}")
            await person.sees("Something is running here")
            person.enter("/cancel")
            await person.sees("Stopped.")
            person.enter(f"/continue {other}")
            person.enter("recall")  # there, and not here
            await person.sees("Going on with “an old question”.", "\nan old question")
            assert await person.leaves() == 0


@in_each_environment
async def test_what_was_said_is_shown_as_it_was(environment: dict[str, str]) -> None:
    class Worker:
        async def run(self, _: str, turn: Turn) -> str:
            await turn.emit(AgentOutput(output="Let me look."))
            await turn.emit(ToolCall(tool_name="look", tool_kwargs={"at": "clock"}))
            await turn.emit(ToolResult(tool_name="look", tool_output="noon"))
            await turn.ask(InputRequired(prompt="Shall I?"))
            await turn.send_file(b"x", name="plot.png")
            return "It is noon."

    async with keeping(kept_in(environment), Worker) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        async with at_terminal(uri, environment=environment) as person:
            await person.sees("\n>")
            person.enter("work")
            await person.sees("Shall I?")
            person.enter("do")
            await person.sees("It is noon.")
            assert await person.leaves() == 0
        async with at_terminal(uri, "--continue", environment=environment) as person:
            await person.sees("Going on with “work”.\n> work\n  It is noon.\nThe agent does not remember what was said")
            person.enter("/history")
            await person.sees(
                '\nLet me look.\n→ look(at="clock")\n← look · noon\n? Shall I? "do"\n',
                "\n▤ plot.png · image/png · 1 byte · /save 1\n",
            )
            person.enter("/save 1 ~")
            await person.sees("Saved: ")
            assert await person.leaves() == 0
    assert (Path(environment["HOME"]) / "plot.png").read_bytes() == b"x"


@in_each_environment
async def test_who_is_at_two_terminals_does_not_quarrel(environment: dict[str, str]) -> None:
    async with keeping(kept_in(environment), users=True) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        async with ada(uri, environment) as first:
            first.enter("hello")
            await first.sees("HELLO")
            async with ada(uri, environment, "--continue") as second:
                await second.sees("Going on with “hello”.")
                await first.sees("The conversation was taken up elsewhere; /continue ", "This is a new one")
                second.enter("recall")
                await second.sees("\nhello")
                assert await second.leaves() == 0
            assert await first.leaves() == 0


@in_each_environment
async def test_a_server_that_is_killed_and_comes_back_goes_on(environment: dict[str, str]) -> None:
    store = ("--store", f"sqlite:{kept_in(environment) / 'c.db'}")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(server_process(*store, agent=AGENT))
        uri = f"ws://127.0.0.1:{server.port}"
        person = await stack.enter_async_context(at_terminal(uri, environment=environment))
        await person.sees("\n>")
        person.enter("hello")
        await person.sees("HELLO")
        person.enter("park")
        await person.sees("\nparked")
        server.process.kill()
        await server.process.wait()
        await person.sees("The connection is lost")
        again = server_process(*store, "--port", str(server.port), agent=AGENT)
        async with again, asyncio.timeout(6 * PATIENCE):
            await person.sees("error: The server ended while the task ran")
            person.enter("recall")
            await person.sees("\nhello")
            assert "The conversation goes on in a new one." in person.display.text
            known = Path(environment["XDG_STATE_HOME"]) / "agentsocket" / "conversations.json"
            assert list(json.loads(known.read_text())) == [uri]
            assert await person.leaves() == 0


def test_a_row_fits_and_says_when_it_was() -> None:
    card = ConversationCard(
        conversation_id="c",
        title="\x1b[31mlong " * 60,
        agent="a",
        created_at="",
        updated_at="2020-01-31T12:00:00.000Z",
        turns=12345,
        running=True,
    )
    shown = row(7, card, 70, current=True)
    assert len(shown) == 70
    assert shown.startswith("*  7  long long")
    assert shown.endswith(" · 12,345 turns · 31 Jan 2020 · running")
    assert when("then\x1b[2J") == "then"
