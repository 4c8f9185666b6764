"""What the agent that ships does over time: notes, approvals, countdowns; and a whole turn on the terminal."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.offline_agent.notes import MAX_NOTE, MAX_NOTES
from agentsocket.protocol.events import AgentOutput, InputRequired
from tests.offline import PATIENCE, Recorder, ask

ROOT = Path(__file__).parent.parent

# ---- Notes -----------------------------------------------------------------------------------------------------------


async def test_notes_are_kept_and_recalled_whole_or_by_topic() -> None:
    agent = OfflineAgent()
    await ask("Remember that the key is under the mat", agent)
    await ask("My name is Ada.", agent)
    assert await ask("What do you remember?", agent) == (
        'You asked me to remember 2 things: "the key is under the mat"; "My name is Ada".'
    )
    assert await ask("what is my name?", agent) == 'You asked me to remember this: "My name is Ada".'
    assert await ask("do you remember the cat?", agent) == "I have no note about the cat."


async def test_notes_are_bounded_in_number_and_length() -> None:
    agent = OfflineAgent()
    assert "too long" in await ask("remember " + "x" * (MAX_NOTE + 1), agent)
    for number in range(MAX_NOTES):
        await ask(f"remember {number}", agent)
    assert "cannot keep more" in await ask("remember one more thing", agent)
    assert len(agent._notes) == MAX_NOTES


@pytest.mark.parametrize("yes", [True, "yes", {"approved": True}])
async def test_notes_are_deleted_once_that_is_approved(yes: JsonValue) -> None:
    agent, turn = OfflineAgent(), Recorder(yes)
    await ask("remember A and remember B", agent)
    assert await ask("Delete all my notes.", agent, turn) == "I have deleted all 2 notes."
    question = turn.questions[0]
    assert (question.kind, question.tool_name, question.tool_kwargs) == ("approval", "delete_all_notes", {})
    assert await ask("What do you remember?", agent) == "I have no notes yet."


@pytest.mark.parametrize("no", [False, "no", "perhaps", {"approved": False, "reason": "mine"}, 1])
async def test_notes_are_kept_where_that_is_not_approved(no: JsonValue) -> None:
    agent = OfflineAgent()
    await ask("remember A", agent)
    assert "I have kept your note" in await ask("delete all my notes", agent, Recorder(no))
    assert '"A"' in await ask("what do you remember?", agent)


async def test_notes_are_kept_where_nobody_answers_in_time() -> None:
    class Silent(Recorder):
        async def ask(self, _: InputRequired) -> JsonValue:
            raise TimeoutError

    agent = OfflineAgent()
    await ask("remember A", agent)
    assert "I have kept your note" in await ask("delete all my notes", agent, Silent())


async def test_nothing_is_asked_where_there_is_nothing_to_delete() -> None:
    turn = Recorder()
    assert await ask("delete all my notes", turn=turn) == "There are no notes to delete."
    assert not turn.questions


async def test_a_note_that_comes_during_the_question_is_not_deleted() -> None:
    agent, turn = OfflineAgent(), Recorder()
    await ask("remember A", agent)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(agent.run("delete all my notes", turn))
        await turn.asked.wait()
        await agent.run("remember B", Recorder())
        turn.answer(answer=True)
    assert await ask("what do you remember?", agent) == 'You asked me to remember this: "B".'


# ---- The countdown ---------------------------------------------------------------------------------------------------


async def test_a_countdown_streams_each_step_between_its_call_and_its_result() -> None:
    turn = Recorder()
    assert await ask("Count down from 3", turn=turn) == "The countdown from 3 is over."
    assert turn.text == "Let me count down. 3… 2… 1…\n\nThe countdown from 3 is over."
    during = turn.events[turn.events.index(turn.calls[0]) + 1 : turn.events.index(turn.results[0])]
    assert during == [AgentOutput(output=f" {step}…") for step in (3, 2, 1)]


async def test_a_countdown_takes_the_time_that_it_says() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await ask("count down from 5", OfflineAgent(tick=0.01))
    assert loop.time() - start >= 0.05


async def test_a_countdown_is_cancelled_in_the_middle_and_leaves_nothing_behind() -> None:
    agent, turn = OfflineAgent(tick=0.001), Recorder()
    before = asyncio.all_tasks()
    run = asyncio.create_task(agent.run("count down from 3600 and count down from 3600", turn))
    await turn.until(lambda: " 3598…" in turn.text)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    said = len(turn.events)
    assert asyncio.all_tasks() == before
    assert not turn.results
    assert "first thing" in await ask("what did I ask before?", agent)
    assert len(turn.events) == said


async def test_other_tools_do_not_wait_for_a_countdown() -> None:
    agent, turn = OfflineAgent(tick=3600), Recorder()
    run = asyncio.create_task(agent.run("count down from 5 and what is 1+1?", turn))
    await turn.until(lambda: bool(turn.results))
    assert turn.results[0].tool_output == "1 + 1 is 2."
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize("message", ["countdown from 999999999", "count down from 0", "count down from -5"])
async def test_a_countdown_has_bounds(message: str) -> None:
    turn = Recorder()
    assert await ask(message, turn=turn) == "I can count down from any number between 1 and 3600."
    assert turn.results[0].is_error


# ---- Without a server ------------------------------------------------------------------------------------------------


def terminal(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "test.py", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={"PYTHONUTF8": "1"},
        **options,
    )


def test_on_the_terminal_the_answer_is_on_stdout_and_the_tools_are_on_stderr() -> None:
    with terminal("What is 6 * 7?") as process:
        answer, tools = process.communicate(timeout=PATIENCE)
    assert (process.returncode, answer) == (0, "6 * 7 is 42.\n")
    plan = 'This needs calculate(expression="6 * 7").\n'
    assert tools == f"{plan}→ calculate(expression='6 * 7')\n← calculate: 6 * 7 is 42.\n"


def test_on_the_terminal_an_approval_is_asked_for() -> None:
    cases = {"y\n": "deleted", "n\n": "kept", "": "kept"}
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(terminal("remember A. Delete all my notes.")) for _ in cases]
        for process, (typed, said) in zip(processes, cases.items(), strict=True):
            answer, asked = process.communicate(typed, timeout=PATIENCE)
            assert f"I have {said} your note." in answer
            assert "[y/N]" in asked


@pytest.mark.parametrize("message", ["count down from 3600", "remember A and delete all my notes"])
def test_on_the_terminal_ctrl_c_ends_it_without_a_traceback(message: str) -> None:
    with terminal(message) as process:
        assert process.stderr
        shown = ""
        while "3600…" not in shown and "[y/N]" not in shown:
            more = process.stderr.read(1)
            assert more, shown
            shown += more
        process.send_signal(signal.SIGINT)
        answer, rest = process.communicate(timeout=PATIENCE)
    assert (process.returncode, answer) == (130, "")
    assert "Traceback" not in rest


def test_on_the_terminal_no_message_is_wrong_usage() -> None:
    with terminal() as process:
        _, shown = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert shown.startswith("usage: python test.py")
