"""The agent that ships, run as the server runs it, against a turn that records."""

import asyncio
import re
import threading
from datetime import datetime

import pytest

from agentsocket.offline_agent.agent import OfflineAgent, create_agent
from agentsocket.offline_agent.conversation import EARLIER_SHOWN
from agentsocket.offline_agent.grammar import phrases
from agentsocket.offline_agent.tool import Tool
from agentsocket.offline_agent.toolbox import TOOLS
from agentsocket.offline_agent.understanding import MAX_CALLS, MAX_MESSAGE, understand
from agentsocket.protocol.events import AgentOutput, Emitted, ToolCall, ToolResult
from tests.offline import PATIENCE, Recorder, ask

# ---- A turn ----------------------------------------------------------------------------------------------------------


async def test_the_time_is_told_with_a_call_its_result_streamed_text_and_an_answer() -> None:
    turn = Recorder()
    answer = await ask("What time is it?", turn=turn)
    assert [type(event) for event in turn.events if not isinstance(event, AgentOutput)] == [ToolCall, ToolResult]
    call, result = turn.calls[0], turn.results[0]
    assert (call.tool_name, call.tool_kwargs) == ("current_time", {})
    assert call.tool_call_id == result.tool_call_id
    assert call.tool_call_id
    assert result.tool_output == answer
    assert result.is_error is None
    assert turn.text == f"Let me look at the clock.\n\n{answer}"
    assert len(turn.events) > 10


async def test_the_local_time_is_right_and_names_its_zone() -> None:
    before = datetime.now().astimezone()
    answer = await ask("what time is it")
    after = datetime.now().astimezone()
    assert any(f"{moment:%H:%M} on {moment:%A}, {moment.day} {moment:%B %Y}" in answer for moment in (before, after))
    assert before.tzname() in re.split(r"[(),\s]+", answer) or f"{before:%z}"[:3] in answer


async def test_each_call_of_one_tool_has_its_own_id_and_its_own_result() -> None:
    turn = Recorder()
    answer = await ask("What time is it in Tokyo and in New York, and what is 17 * 23?", turn=turn)
    assert [call.tool_kwargs for call in turn.calls] == [
        {"place": "Tokyo"},
        {"place": "New York"},
        {"expression": "17 * 23"},
    ]
    assert len({call.tool_call_id for call in turn.calls}) == 3
    outputs = {result.tool_call_id: result.tool_output for result in turn.results}
    assert answer == " ".join(outputs[call.tool_call_id] for call in turn.calls)
    assert turn.text.startswith("Let me look at the clock and do the arithmetic.")


async def test_independent_tools_run_at_once_each_synchronous_one_in_a_thread() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meet(name: str) -> str:
        """Return only once both calls are running."""
        meeting.wait()
        return f"{name} was not on the loop: {threading.current_thread() is not threading.main_thread()}."

    tool = Tool(meet, doing="meet", example="meet a.", asked=phrases(r"meet (?P<name>\w+)"))
    answer = await ask("meet a and meet b", OfflineAgent([tool]))
    assert answer == "a was not on the loop: True. b was not on the loop: True."


async def test_calls_on_the_same_notes_run_in_the_order_in_which_they_were_asked_for() -> None:
    turn = Recorder()
    answer = await ask("Remember that A is 1 and remember that B is 2, and what do you remember?", turn=turn)
    assert answer.endswith('You asked me to remember 2 things: "A is 1"; "B is 2".')
    kinds = [type(event) for event in turn.events if not isinstance(event, AgentOutput)]
    assert kinds == [ToolCall, ToolResult] * 3


async def test_a_tool_that_cannot_says_why_as_an_error_and_the_others_go_on() -> None:
    turn = Recorder()
    answer = await ask("what is 1/0 and 2+2?", turn=turn)
    assert sorted((result.is_error or False, result.tool_output) for result in turn.results) == [
        (False, "2 + 2 is 4."),
        (True, "1 / 0 has no value, because nothing can be divided by zero."),
    ]
    assert answer == "1 / 0 has no value, because nothing can be divided by zero. 2 + 2 is 4."


async def test_a_tool_that_breaks_is_an_error_without_its_details_and_the_log_has_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def break_down() -> str:
        """Fail as only somebody else's code does."""
        raise KeyError("a secret")

    turn = Recorder()
    tool = Tool(break_down, doing="break down", example="break down.", asked=phrases("break down"))
    answer = await ask("break down", OfflineAgent([tool]), turn)
    assert answer == "The tool break_down has failed."
    assert turn.results[0].is_error
    assert "a secret" in caplog.text


async def test_no_more_than_a_few_calls_are_made_for_one_message_and_the_answer_says_so() -> None:
    turn = Recorder()
    answer = await ask(" and ".join(["1+1"] * (MAX_CALLS + 1)), turn=turn)
    assert len(turn.calls) == MAX_CALLS
    assert "left out the rest" in answer


def test_tools_are_typed_documented_functions_that_their_examples_call() -> None:
    for tool in TOOLS:
        assert tool.function.__doc__
        assert tool.function.__annotations__["return"] is str
        assert tool.name in {call.tool.name for call in understand(tool.example, TOOLS).calls}


# ---- What no tool is for ---------------------------------------------------------------------------------------------
async def test_what_is_not_understood_is_answered_with_what_the_agent_is_and_can() -> None:
    turn = Recorder()
    answer = await ask("Who won the world cup?", turn=turn)
    assert 'I did not understand "Who won the world cup".' in answer
    assert "built-in offline agent" in answer
    assert "python websocket_server.py --agent my_module:my_agent" in answer
    assert all(tool.example in answer for tool in TOOLS)
    assert not turn.calls
    assert turn.text == answer


async def test_the_part_that_is_not_understood_is_named_beside_the_answer_to_the_rest() -> None:
    answer = await ask("What is 6 * 7 and who won the world cup?")
    assert answer.startswith('6 * 7 is 42. I did not understand "who won the world cup".')


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hello", "Hello!"),
        ("help", "You can ask me"),
        ("who are you?", "built-in offline agent"),
        ("thanks!", "You are welcome."),
        ("good bye", "Goodbye!"),
        ("", "nothing to read"),
    ],
)
async def test_small_talk_needs_no_tool(message: str, said: str) -> None:
    turn = Recorder()
    assert said in await ask(message, turn=turn)
    assert not turn.calls


async def test_a_message_that_is_too_long_is_not_read() -> None:
    answer = await ask("1+1 " * 65536)
    assert answer == f"I read messages of up to {MAX_MESSAGE} characters, and this one has 262144."


# ---- Memory ----------------------------------------------------------------------------------------------------------


async def test_a_follow_up_goes_on_from_the_last_question() -> None:
    agent, turn = OfflineAgent(tick=0), Recorder()
    assert "did not understand" in await ask("and in Paris?", agent)
    await ask("What time is it in Tokyo?", agent)
    await ask("Hello", agent)
    assert ", in Paris (" in await ask("and in Paris?", agent, turn)
    assert turn.calls[0].tool_kwargs == {"place": "Paris"}
    assert "did not understand" in await ask("and what about lunch?", agent)
    await ask("convert 5 miles to km", agent)
    assert await ask("what about 10?", agent) == "10 miles are 16.09344 kilometres."
    assert await ask("and in yards?", agent) == "10 miles are 17600 yards."


async def test_it_remembers_what_was_asked_before() -> None:
    agent = OfflineAgent()
    assert "first thing" in await ask("What did I ask before?", agent)
    await ask("What is 1+1?", agent)
    assert '"What did I ask before?" and then "What is 1+1?"' in await ask("What did I ask before?", agent)
    assert "I said:" in await ask("What did you say?", agent)


async def test_agents_of_two_sessions_share_nothing() -> None:
    first, second = create_agent(), create_agent()
    await ask("Remember that the key is under the mat.", first)
    assert "first thing" in await ask("what did I ask before?", second)
    assert await ask("What do you remember?", second) == "I have no notes yet."


async def test_history_is_bounded_and_forgets_the_oldest_first() -> None:
    agent = OfflineAgent()
    for number in range(EARLIER_SHOWN + 2):
        await ask(f"{number}+0", agent)
    said = await ask("what did I ask before?", agent)
    assert [f'"{number}+0"' in said for number in range(EARLIER_SHOWN + 2)] == [False] * 2 + [True] * EARLIER_SHOWN


async def test_a_run_that_fails_at_its_last_word_is_not_remembered() -> None:
    class Broken(Recorder):
        async def emit(self, event: Emitted) -> None:
            await super().emit(event)
            if self.text.endswith("is 2."):
                raise ConnectionError

    agent = OfflineAgent()
    with pytest.raises(ConnectionError):
        await ask("1+1", agent, Broken())
    assert "first thing" in await ask("what did I ask before?", agent)


async def test_runs_at_the_same_time_do_not_mix() -> None:
    agent, turns = OfflineAgent(), [Recorder() for _ in range(16)]
    async with asyncio.timeout(PATIENCE):
        answers = await asyncio.gather(*(agent.run(f"{n}+{n}", turn) for n, turn in enumerate(turns)))
    assert answers == [f"{n} + {n} is {2 * n}." for n in range(16)]
    assert [turn.results[0].tool_output for turn in turns] == answers
    assert len(agent._past.messages) == EARLIER_SHOWN
