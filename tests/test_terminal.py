"""The conversation at a terminal, as a person sees it: the real program in a pseudo-terminal, and in a pipe."""

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import sys
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.agent.loader import load_agents
from agentsocket.protocol.events import (
    AgentData,
    AgentOutput,
    AgentReasoning,
    InputRequired,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.client_process import client_process
from tests.person import CTRL_A, CTRL_C, CTRL_K, CTRL_U, LEFT, UP, Person, at_terminal
from tests.scripted_server import listening
from tests.support import PATIENCE, Scripted, serving, side_by_side

OPTIONAL = ("prompt_toolkit", "rich")
ESCAPE = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


def environments(folder: Path) -> Iterator[dict[str, str]]:
    """Give what the program runs in: without and, where they are installed, with the packages that it can use."""
    for absent in (OPTIONAL, ()) if all(importlib.util.find_spec(name) for name in OPTIONAL) else (OPTIONAL,):
        home = folder / f"without {len(absent)}"
        (home / "absent").mkdir(parents=True)
        for name in absent:
            (home / "absent" / f"{name}.py").write_text("raise ImportError")
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "PYTHONPATH": str(home / "absent"),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "PROMPT_TOOLKIT_NO_CPR": "1",  # the terminal of these tests answers no questions
        }


def in_each_environment(
    test: Callable[[dict[str, str]], Coroutine[Any, Any, None]],
) -> Callable[[Path], Coroutine[Any, Any, None]]:
    """Have both at once: a person at a terminal mostly waits."""

    @functools.wraps(test)
    async def both(tmp_path: Path) -> None:
        await side_by_side(test, environments(tmp_path))

    del both.__wrapped__  # pytest would look there for the fixtures that it needs
    return both


@contextlib.asynccontextmanager
async def talking(
    agent: Scripted, environment: dict[str, str], *arguments: str, **settings: Any
) -> AsyncIterator[Person]:
    async with (
        serving(lambda: agent, **settings) as server,
        at_terminal(f"ws://127.0.0.1:{server.port}", *arguments, environment=environment) as person,
    ):
        await person.sees("Connected." if environment["TERM"] == "dumb" else "\n>")
        yield person


def approving(_: str, turn: Turn) -> Any:
    kwargs = {"table": "notes", "rows": 3}
    return answering(InputRequired(prompt="Delete?", kind="approval", tool_name="delete", tool_kwargs=kwargs), turn)


async def answering(question: InputRequired, turn: Turn) -> str:
    return f"got {json.dumps(await turn.ask(question))}"


# ---- A conversation --------------------------------------------------------------------------------------------------


@in_each_environment
async def test_the_agent_that_ships_is_asked_and_answers(environment: dict[str, str]) -> None:
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with (
        AgentServer(settings, load_agents(["test:create_agent"])) as server,
        at_terminal(f"ws://127.0.0.1:{server.port}", environment=environment) as person,
    ):
        await person.sees("\n>")
        person.enter("What time is it in Tokyo and in Paris?")
        await person.sees("in Paris (C", '→ current_time(place="Tokyo")', "← current_time · ")
        await person.no_longer_sees("current_time · 0 s")
        person.enter("Remember: the deploy is on Friday")
        await person.sees("I will remember")
        person.enter("delete all my notes")
        await person.sees("? Shall I delete your note?", "y · n [reason] · e to edit the arguments")
        person.enter("y")
        await person.sees("I have deleted your note.")
        await person.no_longer_sees("waits for you")
        person.enter("count down from 30")
        await person.sees("30…")
        person.type(CTRL_C)
        await person.sees("Stopped.")
        assert await person.leaves() == 0
    assert person.display.text.count("> What time is it in Tokyo and in Paris?") == 1
    assert person.display.text.count("in Paris (C") == 2  # what the tool said, and what the agent said


@in_each_environment
async def test_text_is_shown_as_it_comes_and_in_the_end_stands_there_once(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def talk(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="one "))
        await turn.emit(AgentOutput(output="two "))
        await agent.run("park", turn)
        await turn.emit(AgentOutput(output="three"))
        return "one two three"

    agent.scripts["talk"] = talk
    async with talking(agent, environment) as person:
        person.enter("talk")
        await person.sees("\none two")
        agent.gate.set()
        await person.sees("\none two three")
        await person.no_longer_sees("working")
        assert await person.leaves() == 0
        assert person.display.text.count("one two") == 1


@in_each_environment
async def test_an_answer_that_was_not_streamed_follows_what_was(environment: dict[str, str]) -> None:
    async def talk(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="Let me see."))
        return "It is noon."

    async with talking(Scripted(talk=talk), environment) as person:
        person.enter("talk")
        await person.sees("\nLet me see.\nIt is noon.")


@in_each_environment
async def test_tools_stand_apart_in_dim_lines_with_their_time_and_errors_in_red(environment: dict[str, str]) -> None:
    async def tool(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"where": "left"}, tool_call_id="1"))
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"where": "right"}, tool_call_id="2"))
        await turn.emit(ToolResult(tool_output={"seen": 1}, tool_call_id="2"))
        await turn.emit(ToolResult(tool_output="too dark", tool_call_id="1", is_error=True))
        return "done"

    async with talking(Scripted(tool=tool), environment) as person:
        person.enter("tool")
        await person.sees('→ look(where="left")', '→ look(where="right")', "too dark", "\ndone")
        assert re.search(r'← look · \d+ ms · \{"seen": 1\}\n✗ look · \d+ ms · too dark\ndone', person.display.text)
        assert person.display.styles("→ look(where") == {"2"}
        assert person.display.styles("✗ look") == {"31"}
        assert person.display.styles("done") == {""}


@in_each_environment
async def test_a_spinner_turns_while_nothing_comes(environment: dict[str, str]) -> None:
    agent = Scripted()
    async with talking(agent, environment) as person:
        person.enter("park")
        await person.sees("⠋ working")
        await person.sees("⠹ working")
        agent.gate.set()
        await person.sees("\nreleased")
        await person.no_longer_sees("working")


@in_each_environment
async def test_an_error_is_a_line_with_the_id_of_its_details(environment: dict[str, str]) -> None:
    async def fail(_: str, _turn: Turn) -> str:
        raise ValueError

    async with talking(Scripted(fail=fail), environment) as person:
        person.enter("fail")
        await person.sees("error: ", "(agent_failed), error id ")
        person.enter("still here")
        await person.sees("\nstill here")


# ---- Several at once, and stopping -----------------------------------------------------------------------------------


@in_each_environment
async def test_several_run_at_once_and_their_lines_are_told_apart(environment: dict[str, str]) -> None:
    agent = Scripted()
    async with talking(agent, environment) as person:
        person.enter("park here")
        await agent.parked.wait()
        person.enter("say hello")
        await person.sees("\n[2] hello\n[2] say hello")
        person.enter("park there")
        await person.sees("[1] ", "[3] ", "\n[3] > park there")
        person.enter("/tasks")
        await person.sees("\n[1] park here · working · ", "\n[3] park there · working · ")
        person.enter("/cancel 1")
        await person.sees("\n[1] Stopped.")
        await agent.cancelled.wait()
        agent.gate.set()
        await person.sees("\nreleased")
        person.enter("/tasks")
        await person.sees("Nothing is running.")


@in_each_environment
async def test_ctrl_c_stops_the_newest_task_and_then_says_how_to_leave(environment: dict[str, str]) -> None:
    agent, gate, asked = Scripted(), asyncio.Event(), asyncio.Event()

    async def stubborn(_: str, _turn: Turn) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            asked.set()
            await gate.wait()
        return ""

    agent.scripts["stubborn"] = stubborn
    async with talking(agent, environment) as person:
        person.enter("stubborn")
        await person.sees("working")
        person.type(CTRL_C)
        await asked.wait()
        await person.sees("stopping")
        assert "Stopped." not in person.display.text
        person.type(CTRL_C)
        await person.sees("It is stopping; Ctrl-D leaves.")
        gate.set()
        await person.sees("\nStopped.")
        person.type(CTRL_C)
        await person.sees("Nothing is running; Ctrl-D leaves.")
        person.enter("park")
        await agent.parked.wait()
        person.enter("/cancel 7")
        await person.sees("There is no such task")
        person.enter("/cancel")
        await agent.cancelled.wait()
        assert await person.leaves() == 0


@in_each_environment
async def test_ctrl_c_on_a_line_drops_the_line_and_stops_nothing(environment: dict[str, str]) -> None:
    agent = Scripted()
    async with talking(agent, environment) as person:
        person.enter("park")
        await agent.parked.wait()
        await person.sees("working")  # all that is said for now is said: what vanishes below vanishes for good
        person.type("half a line")
        await person.sees("> half a line")
        person.type(CTRL_C)
        await person.no_longer_sees("half a line")
        person.enter("say whole")
        await person.sees("[2] whole")
        assert not agent.cancelled.is_set()
        person.type(f"{CTRL_C}say no more")  # the first of it is for the task, and the rest for the line
        await agent.cancelled.wait()
        await person.sees("> say no more")
        person.type(CTRL_C)
        await person.no_longer_sees("> say no more")
        assert agent.runs == ["park", "say whole"]
        person.type(f"in one{CTRL_C}say more\r")  # as it comes over a slow link
        await person.sees("\nmore")
        assert agent.runs == ["park", "say whole", "say more"]
        assert await person.leaves() == 0
        assert termios.tcgetattr(person._keyboard)[6][termios.VINTR] == b"\x03"


@in_each_environment
async def test_ctrl_c_drops_arguments_that_were_being_edited(environment: dict[str, str]) -> None:
    async with talking(Scripted(approve=approving), environment) as person:
        person.enter("approve")
        await person.sees("waits for you")
        person.enter("e")
        await person.sees('\n? {"table": "notes", "rows": 3}')
        person.type(CTRL_C)
        await person.no_longer_sees('\n? {"table"')
        person.enter("")
        await person.sees("Please answer: y")
        person.enter("y")
        await person.sees('\ngot {"approved": true}')


@in_each_environment
async def test_colours_titles_and_progress_leave_nothing_but_their_text(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def build(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="make", tool_kwargs={}))
        await turn.emit(ToolResult(tool_name="make", tool_output="\x1b]0;title\x07\x1b[32m10%\r100%\x1b[0m"))
        for piece in ("\x1b[3", "1mfetching 1", "0%", "\rfetching 5", "0%"):
            await turn.emit(AgentOutput(output=piece))
        await agent.run("park", turn)
        await turn.emit(AgentOutput(output="\r\x1b[Kfetched\x1b[0m\n"))
        return ""

    agent.scripts["build"] = build
    async with talking(agent, environment) as person:
        person.enter("build")
        await person.sees("← make · ", " · 100%\n", "\nfetching 50%")
        agent.gate.set()
        await person.sees("\nfetched\n")
        await person.no_longer_sees("working")
        for leftover in ("[32m", "[31m", "[3", "title", "fetching", "10%"):
            assert leftover not in person.display.text


@in_each_environment
async def test_an_answer_that_is_too_long_is_told_and_the_question_stays(environment: dict[str, str]) -> None:
    async def ask(_: str, turn: Turn) -> str:
        return await answering(InputRequired(prompt="Which city?"), turn)

    async with talking(Scripted(ask=ask), environment, max_message_size=1000) as person:
        person.enter("ask")
        await person.sees("? your answer")
        person.enter("x" * 1000)
        await person.sees("and the server takes 1,000: it was not sent.")
        person.enter("Paris")
        await person.sees('got "Paris"')
        person.enter("y" * 1000)
        await person.watches(lambda text: text.count("it was not sent.") == 2)
        person.enter("say still here")
        await person.sees("\nstill here")


@in_each_environment
async def test_leaving_stops_what_runs_and_gives_the_terminal_back(environment: dict[str, str]) -> None:
    for farewell in ("\x04", "/quit\r"):
        agent = Scripted()
        async with talking(agent, environment) as person:
            person.enter("park")
            await agent.parked.wait()
            person.type(farewell)
            async with asyncio.timeout(PATIENCE):
                assert await person.process.wait() == 0
                await agent.cancelled.wait()
            assert termios.tcgetattr(person._keyboard)[3] & (termios.ECHO | termios.ICANON)


# ---- Questions -------------------------------------------------------------------------------------------------------


@in_each_environment
async def test_an_approval_is_a_yes_or_a_no_with_its_reason(environment: dict[str, str]) -> None:
    async with talking(Scripted(approve=approving), environment) as person:
        for typed, response in {
            "y": {"approved": True},
            "Yes": {"approved": True},
            "n": {"approved": False},
            "n not the notes": {"approved": False, "reason": "not the notes"},
        }.items():
            before = person.display.text
            person.enter("approve")
            await person.watches(more_of("? Delete?", before))
            await person.sees('delete(table="notes", rows=3)', "waits for you", "\n?")
            person.enter("perhaps")
            await person.watches(more_of("Please answer: y · n [reason] · e", before))
            person.enter(typed)
            await person.watches(more_of(f"\ngot {json.dumps(response)}\n", before))
            await person.no_longer_sees("waits for you")


def more_of(text: str, before: str) -> Callable[[str], bool]:
    """Return whether what is shown has this once more than what was shown before."""
    return lambda shown: shown.count(text) == before.count(text) + 1


@in_each_environment
async def test_the_arguments_of_an_approval_are_edited_as_json(environment: dict[str, str]) -> None:
    async with talking(Scripted(approve=approving), environment) as person:
        person.enter("approve")
        await person.sees("waits for you")
        person.enter("e")
        await person.sees('\n? {"table": "notes", "rows": 3}')
        person.enter(f"{LEFT}0")
        await person.sees('\ngot {"approved": true, "tool_kwargs": {"table": "notes", "rows": 30}}')


@in_each_environment
async def test_arguments_that_are_no_json_object_are_edited_again(environment: dict[str, str]) -> None:
    async with talking(Scripted(approve=approving), environment) as person:
        person.enter("approve")
        await person.sees("waits for you")
        person.enter("e")
        await person.sees('\n? {"table": "notes", "rows": 3}')
        person.enter(CTRL_U + '{"rows":')
        await person.sees("That is not JSON")
        person.enter(CTRL_U + "[1]")
        await person.sees("The arguments are one JSON object.")
        person.enter(CTRL_U)
        await person.sees("Please answer: y")
        person.enter("e")
        await person.watches(lambda text: text.count("Edit the arguments") == 2)
        person.enter(CTRL_U + '{"rows": 1}')
        await person.sees('\ngot {"approved": true, "tool_kwargs": {"rows": 1}}')


@in_each_environment
async def test_a_question_is_answered_in_text_and_a_request_goes_past_it(environment: dict[str, str]) -> None:
    async def ask(_: str, turn: Turn) -> str:
        return await answering(InputRequired(prompt="Which city?"), turn)

    async with talking(Scripted(ask=ask), environment) as person:
        person.enter("ask")
        await person.sees("? Which city?", "? your answer")
        person.enter("/ask say meanwhile")
        await person.sees("[2] meanwhile")
        person.enter("/nowhere, /tmp")  # looks like a command, and is an answer
        await person.sees('got "/nowhere, /tmp"')


@in_each_environment
async def test_a_value_that_must_be_json_is_read_as_such(environment: dict[str, str]) -> None:
    async def ask(_: str, turn: Turn) -> str:
        return await answering(InputRequired(prompt="How many?", response_schema={"type": "integer"}), turn)

    async with talking(Scripted(ask=ask), environment) as person:
        person.enter("ask")
        await person.sees("? a JSON value")
        person.enter("three")
        await person.sees("That is not JSON")
        person.enter("3")
        await person.sees("\ngot 3")


@in_each_environment
async def test_a_line_begun_before_the_question_is_not_its_answer(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def ask(_: str, turn: Turn) -> str:
        await agent.run("park", turn)
        return await answering(InputRequired(prompt="Sure?"), turn)

    agent.scripts["ask"] = ask
    async with talking(agent, environment) as person:
        person.enter("ask")
        await agent.parked.wait()
        person.type("say")
        await person.sees("\n> say")
        agent.gate.set()
        await person.sees("? Sure?")
        person.enter(" this")
        await person.sees("[2] say this")
        await person.sees("\n? your answer\n?")
        person.enter("quite")
        await person.sees('got "quite"')


@in_each_environment
async def test_the_end_of_a_task_takes_its_question_away(environment: dict[str, str]) -> None:
    async with talking(Scripted(approve=approving), environment) as person:
        person.enter("approve")
        await person.sees("waits for you")
        person.type(CTRL_C)
        await person.sees("Stopped.")
        await person.no_longer_sees("y · n [reason]")
        person.enter("y")
        await person.sees("\ny\n")


# ---- Typing ----------------------------------------------------------------------------------------------------------


@in_each_environment
async def test_a_line_can_be_edited_while_text_comes_above_it(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def talk(_: str, turn: Turn) -> str:
        await agent.run("park", turn)
        for number in range(200):
            await turn.emit(AgentOutput(output=f"line {number}\n\n"))
            await asyncio.sleep(0)
        return ""

    agent.scripts["talk"] = talk
    async with talking(agent, environment) as person:
        person.enter("talk")
        await agent.parked.wait()
        person.type("helo world" + LEFT * 7)
        await person.sees("> helo world")
        agent.gate.set()
        await person.sees("line 199")
        person.type("l")
        await person.sees("> hello world")
        person.enter(CTRL_A + CTRL_K + "say so")
        await person.sees("> say so\n", "\nso")
        assert [line for line in person.display.text.split("\n") if line.startswith("line")] == [
            f"line {number}" for number in range(200)
        ]


@in_each_environment
async def test_what_was_asked_is_there_the_next_time_and_secrets_and_answers_are_not(
    environment: dict[str, str],
) -> None:
    agent = Scripted(approve=approving)
    environment["WS_AUTH_TOKEN"] = "tomato"
    async with talking(agent, environment, auth_token="tomato") as person:
        person.enter("say first")
        await person.sees("\nfirst")
        person.enter("say tomato")
        await person.sees("\ntomato")
        person.enter("approve")
        await person.sees("waits for you")
        person.enter("n because")
        await person.sees("got")
        assert await person.leaves() == 0
    kept, mode = history_in(environment["XDG_STATE_HOME"])
    assert kept == "say first\napprove\n"
    assert mode & 0o777 == 0o600
    async with talking(agent, environment, auth_token="tomato") as person:
        person.type(UP)
        await person.sees("> approve")
        person.type(UP)
        await person.sees("> say first")
        person.enter("")
        await person.sees("\nfirst")


def history_in(state: str) -> tuple[str, int]:
    """Return what was kept there, and who may read it."""
    file = Path(state, "agent-client", "history")
    return file.read_text(), file.stat().st_mode


@in_each_environment
async def test_a_paste_of_several_lines_is_one_message(environment: dict[str, str]) -> None:
    agent = Scripted()
    async with talking(agent, environment) as person:
        person.enter("\x1b[200~say one\ntwo\x1b[201~")
        await person.sees("\none", "two")
    assert agent.runs == ["say one\ntwo"]


@in_each_environment
async def test_frames_are_shown_where_they_are_wanted(environment: dict[str, str]) -> None:
    async with talking(Scripted(), environment) as person:
        person.enter("/help")
        await person.sees("/cancel [n]", "/tasks", "/raw", "/quit")
        person.enter("/nonsense")
        await person.sees("There is no /nonsense")
        person.enter("/raw")
        await person.sees("Frames are shown.")
        person.enter("say hello")
        await person.sees('{"event":"agent_request_received"', '{"event":"agent_response"')
        person.enter("/raw")
        await person.sees("Frames are shown no longer.")
        person.enter("say again")
        await person.sees("\nsay again")
        assert person.display.text.count('{"event":"agent_response"') == 1


# ---- What the terminal is, and what an agent could do to it ----------------------------------------------------------


@in_each_environment
async def test_no_color_means_no_colors_and_all_the_rest(environment: dict[str, str]) -> None:
    environment["NO_COLOR"] = "1"
    agent = Scripted()
    async with talking(agent, environment) as person:
        person.enter("park **here**")
        await person.sees("working")
        agent.gate.set()
        await person.sees("\nreleased")
        assert not re.findall(r"\x1b\[(?:[\d;]*;)?(?:2|3\d|4\d|9\d|38|48)m", person.display.raw.replace("\x1b[?", ""))


@in_each_environment
async def test_a_simple_terminal_gets_nothing_but_text(environment: dict[str, str]) -> None:
    environment["TERM"] = "dumb"
    async with talking(Scripted(approve=approving), environment) as person:
        person.enter("say hello")
        await person.sees("\nhello\nsay hello")
        person.enter("approve")
        await person.sees("? Delete?", "y · n [reason]")
        person.enter("n no")
        await person.sees('"reason": "no"')
        assert await person.leaves() == 0
        assert "\x1b" not in person.display.raw


async def in_a_pipe(uri: str, typed: str, environment: dict[str, str]) -> tuple[int | None, str, str]:
    async with client_process("--uri", uri, environment=environment) as process, asyncio.timeout(PATIENCE):
        out, err = await process.communicate(typed.encode())
    return process.returncode, out.decode(), err.decode()


@in_each_environment
async def test_in_a_pipe_each_line_is_answered_in_turn_and_there_is_nothing_but_text(
    environment: dict[str, str],
) -> None:
    async def tool(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"where": "left"}))
        await turn.emit(ToolResult(tool_name="look", tool_output="a wall"))
        return "A **wall**."

    agent = Scripted(tool=tool, approve=approving)
    async with asyncio.timeout(PATIENCE), serving(lambda: agent) as server:
        code, out, err = await in_a_pipe(
            f"ws://127.0.0.1:{server.port}", "tool\nsay one\n/etc/hosts?\napprove", environment
        )
    assert code == 0
    answers = out.split("\n")
    assert answers[:4] == ["A **wall**.", "one", "say one", "/etc/hosts?"]
    assert '"approved": false' in answers[4]
    assert err.startswith('→ look(where="left")\n← look · ')
    assert "\x1b" not in out + err
    assert "working" not in out + err


HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\x1b[31mred\x07 \x9b5m\u202etxt\u2066\u200f\r\x7f\b\tok\n"
    "<script>alert(1)</script> [link](javascript:alert(1)) &#x1b;[2J &#x202e;turned `\x1b[5m`\n\n"
)


async def hostile(_: str, turn: Turn) -> str:
    await turn.emit(ToolCall(tool_name=HOSTILE, tool_kwargs={HOSTILE: HOSTILE}))
    await turn.emit(ToolResult(tool_name=HOSTILE, tool_output=HOSTILE * 1000))
    await turn.emit(AgentOutput(output=HOSTILE))
    await turn.emit(AgentOutput(output="x" * 300_000 + "宽" * 1000 + "\n" + "> quote " * 2000 + "\n\n"))
    await turn.ask(InputRequired(prompt=HOSTILE, kind="approval", tool_name=HOSTILE, tool_kwargs={HOSTILE: HOSTILE}))
    return f"{HOSTILE}the end"


@in_each_environment
async def test_a_hostile_agent_changes_nothing_but_text(environment: dict[str, str]) -> None:
    async with talking(Scripted(hostile=hostile), environment) as person:
        person.enter("hostile")
        await person.sees("y · n [reason]", "<script>alert(1)</script>", "javascript:alert(1)")
        person.enter("y")
        await person.sees("the end")
        await person.no_longer_sees("waits for you")
        person.enter("say still here")
        await person.sees("\nstill here")
        assert await person.leaves() == 0
        raw = person.display.raw
    # What the program itself draws with, and nothing else: no title, no clearing of the screen, no blinking.
    drawn = set(ESCAPE.findall(raw))
    assert not {"\x1b[2J", "\x1b[31m", "\x1b[5m"} & drawn
    rest = ESCAPE.sub("", raw)
    assert {char for char in rest if not char.isprintable()} <= {"\n", "\r", "\t", "\b"}
    assert not set("\u202e\u2066\u200f\u061c") & set(raw)


# ---- The connection --------------------------------------------------------------------------------------------------


@in_each_environment
async def test_a_lost_connection_is_told_in_one_dim_line_and_nothing_is_lost_or_doubled(
    environment: dict[str, str],
) -> None:
    async with listening() as line, at_terminal(line.uri, environment=environment) as person:
        wire = await line.wires.get()
        await wire.expect("login")
        login = {"session_id": "s", "status": "success", "resumable": True, "resume_token": "secret", "last_seq": 0}
        await wire.send("login_response", **login)
        await person.sees("\n>")
        person.enter("hello")
        await wire.accept("t1", seq=1)
        await wire.send("agent_output", task_id="t1", output="one ", seq=2)
        await person.sees("\none")
        wire.drop()
        await person.sees("The connection is lost; reconnecting")
        wire, _ = await line.resumed(last_seq=2)
        await person.sees("The connection was lost for ")
        await wire.send("agent_output", task_id="t1", output="one ", seq=2)
        await wire.send("agent_response", task_id="t1", response="one two", seq=3)
        await person.sees("\none two")
        assert person.display.styles("The connection was lost for") == {"2"}
        assert "reconnecting" not in person.display.text
        wire.drop()
        wire, _ = await line.resumed(last_seq=3)
        await person.watches(lambda text: text.count("The connection was lost for ") == 2)


@in_each_environment
async def test_a_question_told_again_after_a_gap_is_not_put_again(environment: dict[str, str]) -> None:
    async with listening() as line, at_terminal(line.uri, environment=environment) as person:
        wire = await line.wires.get()
        await wire.expect("login")
        login = {"session_id": "s", "status": "success", "resumable": True, "resume_token": "secret", "last_seq": 0}
        await wire.send("login_response", **login)
        await person.sees("\n>")
        person.enter("hello")
        await wire.accept("t1", seq=1)
        question = {"input_id": "i1", "prompt": "Sure?", "kind": "text"}
        await wire.send("input_required", task_id="t1", **question, seq=2)
        await person.sees("? Sure?")
        wire.drop()
        task = {"task_id": "t1", "status": "running", "output": "all so far", "pending_inputs": [question]}
        wire, _ = await line.resumed(lossless=False, last_seq=9, tasks=[task])
        await person.sees("Some of it was lost on the way. All of it so far:", "all so far")
        person.enter("quite")
        assert (await wire.expect("input_response"))["response"] == "quite"
        await wire.send("agent_response", task_id="t1", response="all so far", seq=10)
        await person.no_longer_sees("working")
        assert person.display.text.count("? Sure?") == 1


@in_each_environment
async def test_a_server_that_was_restarted_gives_a_new_session_and_what_is_typed_stays(
    environment: dict[str, str],
) -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server:
        port = server.port
        terminal = at_terminal(f"ws://127.0.0.1:{port}", environment=environment)
        person = await terminal.__aenter__()
        await person.sees("Connected.", "\n>")
        person.type("say hel")
        await person.sees("> say hel")
    try:
        async with serving(lambda: agent, port=port):
            await person.sees("This is a new one")
            person.enter("lo")
            await person.sees("\nhello")
            assert await person.leaves() == 0
    finally:
        await terminal.__aexit__(None, None, None)


@in_each_environment
async def test_a_new_session_waits_for_a_server_that_says_when(environment: dict[str, str]) -> None:
    async with listening() as line, at_terminal(line.uri, environment=environment) as person:
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("login_response", session_id="s", status="success")
        await person.sees("\n>")
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("error", code="authentication_unavailable", message="Not now.", retry_after=0.1)
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("login_response", session_id="s2", status="success")
        await person.sees("This is a new one")
        assert await person.leaves() == 0


@in_each_environment
async def test_who_is_logged_in_is_said_once_in_one_line(environment: dict[str, str]) -> None:
    async with listening() as line, at_terminal(line.uri, environment=environment) as person:
        wire = await line.wires.get()
        await wire.expect("login")
        ada = {"id": "ada", "name": "Ada\n\x1b[31mroot"}
        await wire.send("login_response", session_id="s", status="success", user=ada)
        await person.sees("Connected as Ada root. Type a message, or /help", "\n>")
        assert await person.leaves() == 0


@in_each_environment
async def test_a_login_that_cannot_be_renewed_is_a_line_of_the_conversation(environment: dict[str, str]) -> None:
    async with (
        listening() as line,
        at_terminal(line.uri, "--token-command", "echo t", environment=environment) as person,
    ):
        wire = await line.wires.get()
        assert (await wire.expect("login"))["token"] == "t"
        await wire.send("login_response", session_id="s", status="success", user={"id": "ada"}, expires_in=1)
        await person.sees("Connected as ada.", "\n>")
        refresh = await wire.expect("refresh")
        await wire.send(
            "error", message="Not any more.", code="authentication_failed", request_id=refresh["request_id"]
        )
        await person.sees("\nthe login could not be renewed: Not any more. (authentication_failed)\n")
        assert await person.leaves() == 0


@in_each_environment
async def test_a_server_that_is_not_there_or_refuses_is_one_line(environment: dict[str, str]) -> None:
    async with listening() as line:
        uri = line.uri
    async with at_terminal(uri, environment=environment) as person:
        await person.sees("error: No agent server answers")
        assert await person.process.wait() == 1
    async with (
        serving(auth_token="right") as server,
        at_terminal(f"ws://127.0.0.1:{server.port}", "--token", "wrong", environment=environment) as person,
    ):
        await person.sees("(authentication_failed)")
        assert await person.process.wait() == 1
        assert "wrong" not in person.display.text


# ---- Copied ----------------------------------------------------------------------------------------------------------


async def test_the_client_alone_needs_nothing_but_the_vocabulary(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    shutil.copy(root / "websocket_client_example.py", tmp_path)
    for room in ("protocol", "client"):
        shutil.copytree(root / "agentsocket" / room, tmp_path / "agentsocket" / room)
    async with asyncio.timeout(PATIENCE), serving() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(tmp_path / "websocket_client_example.py"),
            "hello",
            "--uri",
            f"ws://127.0.0.1:{server.port}",
            cwd=tmp_path,
            stdout=PIPE,
        )
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"hello\n")


# ---- More than text --------------------------------------------------------------------------------------------------


@in_each_environment
async def test_a_thought_is_seen_while_it_lasts_and_then_folded(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def think(_: str, turn: Turn) -> str:
        for piece in ("I ", "\x1b[3", "1mwonder\n", *(f"line {number}\n" for number in range(20))):
            await turn.emit(AgentReasoning(reasoning=piece))
        await agent.run("park", turn)
        await turn.emit(AgentOutput(output="Yes."))
        return "Yes."

    agent.scripts["think"] = think
    async with talking(agent, environment) as person:
        person.enter("think")
        await person.sees("\nline 16\nline 17\nline 18\nline 19\n", "thinking · ")
        assert all(style.endswith("2") for style in person.display.styles("line 19"))
        assert "line 15" not in person.display.text
        agent.gate.set()
        await person.sees("\nThought for 1 s\nYes.")
        await person.no_longer_sees("thinking")
        assert "line" not in person.display.text
        person.enter("/thoughts")
        await person.sees("\nI wonder\nline 0\n", "\nline 19\n")


@in_each_environment
async def test_progress_is_a_bar_in_the_line_of_its_tool(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def fetch(_: str, turn: Turn) -> str:
        for call in "ab":
            await turn.emit(ToolCall(tool_name=f"get_{call}", tool_kwargs={}, tool_call_id=call))
        await turn.emit(ToolProgress(tool_call_id="a", progress=1, total=4, message="x"))
        await turn.emit(ToolProgress(tool_call_id="a", progress=3, total=4, message="page\x1b[2J 3\nof 4"))
        await agent.run("park", turn)
        await turn.emit(ToolResult(tool_output=1, tool_call_id="a"))
        await turn.emit(ToolResult(tool_output=2, tool_call_id="b"))
        await turn.emit(ToolProgress(progress=7))
        agent.gate.clear()
        agent.parked.clear()
        return await agent.run("park", turn)  # type: ignore[return-value]

    agent.scripts["fetch"] = fetch
    async with talking(agent, environment) as person:
        person.enter("fetch")
        await person.sees("get_a ████████░░ 75 % · page 3 of 4\n", " get_b · ")
        agent.gate.set()
        await person.sees(" 7 · ")
        await person.no_longer_sees("75 %")
        agent.gate.set()
        await person.sees("\nreleased")


@in_each_environment
async def test_data_is_a_line_and_what_replaces_it_is_said_once(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def tell(_: str, turn: Turn) -> str:
        await turn.emit(AgentData(name="note", data="\x1b[2Jfirst"))
        for number in range(9):
            await turn.emit(AgentData(name="chart", data=[number], id="c"))
        await turn.emit(AgentData(name="typing", data=True, transient=True))
        return str(await agent.run("park", turn))

    agent.scripts["tell"] = tell
    async with talking(agent, environment) as person:
        person.enter("tell")
        await person.sees('\nnote: "first"\nchart: [0]\nchart: [8]\ntyping: true\n')
        agent.gate.set()
        await person.sees('\nnote: "first"\nchart: [0]\nchart: [8]\nreleased')
        await person.no_longer_sees("typing")


@in_each_environment
async def test_files_are_attached_and_saved_by_hand(environment: dict[str, str]) -> None:
    folder = Path(environment["HOME"])

    async def exchange(_: str, turn: Turn) -> str:
        await turn.send_file(b"abc", name="plot.png", media_type="image/png")
        return f"got {[(file.name, file.size) for file in turn.attachments]}"

    (folder / "my sales.csv").write_text("a,b\n")
    async with talking(Scripted(exchange=exchange), environment) as person:
        for nothing in (f"{folder}/nothing", "~nobody-of-this-name/x", "'"):
            person.enter(f"/attach {nothing}")
            await person.sees(f"There is no file {nothing}")
        person.enter(f"/attach {'x' * 300}")
        await person.sees("There is no file\nxxx")
        person.enter(f"/attach {folder}/my sales.csv")
        await person.sees("With the next message: my sales.csv (4 bytes).", "\n+ my sales.csv\n")
        person.enter("exchange")
        await person.sees("▤ plot.png · image/png · 3 bytes · /save 1", "got [('my sales.csv', 4)]")
        person.enter("exchange")
        await person.sees("· /save 2", "got []")
        person.enter("/save 3")
        await person.sees("There is no such file.")
        for command in (f"/save 1 {folder}/out", f"/save '{folder}/out'"):
            person.enter(command)
        await person.sees("plot.png\n", "plot (2).png\n")
        person.enter(f"/attach '{folder}/my sales.csv' '{folder}/out/plot.png'")
        await person.sees("my sales.csv (4 bytes), plot.png (3 bytes)")
        person.enter("/detach")
        await person.sees("Nothing is attached.")
        person.enter("exchange")
        await person.sees("· /save 3")
    assert (folder / "out" / "plot (2).png").read_bytes() == b"abc"
    assert person.display.text.count("got []") == 2


@in_each_environment
async def test_a_request_is_stopped_while_its_files_are_sent(environment: dict[str, str]) -> None:
    folder = Path(environment["HOME"])
    with (folder / "large").open("wb") as file:
        file.truncate(2_000_000)
    async with (
        listening() as line,
        at_terminal(line.uri, "--attach", str(folder / "large"), environment=environment) as person,
    ):
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("login_response", session_id="s", status="success", resumable=True, resume_token="t")
        await person.sees("\n+ large\n")
        person.enter("look")
        upload_id = (await wire.expect("upload_start"))["upload_id"]
        await wire.send("upload_progress", upload_id=upload_id, received=500_000)
        await person.sees("sending large ██░░░░░░░░ 500 kB of 2.0 MB")
        await wire.expect("upload_chunk")
        person.type(CTRL_C)
        await person.sees("Stopped.")
        assert (await wire.expect("upload_cancel")) == {"upload_id": upload_id}


@in_each_environment
async def test_at_a_narrow_terminal_no_row_is_too_long(environment: dict[str, str]) -> None:
    agent = Scripted()

    async def work(_: str, turn: Turn) -> str:
        await turn.emit(AgentReasoning(reasoning="日本 " * 40))
        await turn.emit(ToolCall(tool_name="a_tool_with_a_long_name", tool_kwargs={}, tool_call_id="a"))
        await turn.emit(ToolProgress(tool_call_id="a", progress=1, total=2, message="日本" * 40))
        await turn.emit(AgentData(name="typing", data="x" * 100, transient=True))
        return str(await agent.run("park", turn))

    agent.scripts["work"] = work
    async with (
        serving(lambda: agent) as server,
        at_terminal(f"ws://127.0.0.1:{server.port}", environment=environment, columns=30, rows=12) as person,
    ):
        await person.sees("\n>")
        person.enter("work")
        await person.sees("typing: ", "a_tool_with_a… 50 %")
        await person.sees(" · 1 s")
        assert person.display.text.count("typing: ") == 1
        agent.gate.set()
        await person.sees("\nreleased")
        await person.no_longer_sees("typing: ")
