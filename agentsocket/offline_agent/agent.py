"""The agent that ships with the server: it uses real tools, and needs no network, no key and no model.

To the server it is an agent like any other; ``create_agent`` makes one for each session. With ``AGENT_MODEL`` set,
"openai:gpt-5-mini" for one, that model has the same tools.
"""

import asyncio
import dataclasses
import inspect
import logging
import os
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

from pydantic import JsonValue

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import Agent, AgentError, Turn
from agentsocket.offline_agent.attached import READ_ATTACHMENT, by_name
from agentsocket.offline_agent.conversation import (
    Past,
    is_about_files,
    not_understood,
    paragraphs,
    partly_understood,
    plan,
    reply,
)
from agentsocket.offline_agent.memory import read, written
from agentsocket.offline_agent.tool import TOOL_CONTEXT, Tool, ToolContext, ToolError
from agentsocket.offline_agent.toolbox import TOOLS
from agentsocket.offline_agent.understanding import MAX_CALLS, MAX_MESSAGE, Call, understand
from agentsocket.protocol.events import AgentOutput, AgentReasoning, ToolCall, ToolResult

logger = logging.getLogger(__name__)


class OfflineAgent:
    """Reads a message by its tools' phrases, runs these tools at once, and answers in their sentences.

    It remembers the conversation and the person's notes; several messages may be answered at the same time.
    """

    title: Final = "Built-in agent"
    description: Final = (
        "Knows the time anywhere, does arithmetic, dates and units, keeps notes, counts down, and reads the texts and "
        "tables that you attach. It asks before it deletes anything."
    )
    starters: Final = (
        "What time is it in Tokyo, in Paris and in New York?",
        "Remember that the deploy is on Friday, and delete all my notes",
        "Count down from 20, and how many days until Christmas?",
    )

    def __init__(self, tools: Sequence[Tool] = TOOLS, *, tick: float = 1.0) -> None:
        """Start a conversation; ``tick`` is how many seconds a step of a countdown takes."""
        self._tools = tools
        self._tick = tick
        self._notes: list[str] = []
        self._past = Past()

    async def run(self, message: str, turn: Turn) -> str:
        """Answer one message. Only a run that gets to its end is remembered."""
        TOOL_CONTEXT.set(ToolContext(turn, self._notes, self._tick))
        calls, answer = await self._answer(message, self._past, turn)
        await _say(f"\n\n{answer}" if calls else answer, turn)
        self._past = self._past.then(message, calls, answer)
        return answer

    def save(self) -> JsonValue:
        """Return what is remembered."""
        return written(self._notes, self._past)

    def load(self, memory: JsonValue) -> None:
        """Remember what an earlier instance did.

        Raises:
            ValueError: if it is no memory of this agent's.
        """
        self._notes, self._past = read(memory, self._tools)

    async def _answer(self, message: str, past: Past, turn: Turn) -> tuple[list[Call], str]:
        attached = [Call(READ_ATTACHMENT, {"name": name}) for name in by_name(turn)]
        if len(message) > MAX_MESSAGE:
            calls = attached[:MAX_CALLS]
            too_long = f"I read messages of up to {MAX_MESSAGE} characters, and this one has {len(message)}."
            return calls, paragraphs([*await _run_tools(calls, turn), too_long])
        request = understand(message, self._tools, past.call)
        wanted = attached + request.calls
        calls = wanted[:MAX_CALLS]
        unread = [part for part in request.unread if not (attached and is_about_files(part))]
        await turn.emit(AgentReasoning(reasoning=plan(calls, unread)))
        sentences = await _run_tools(calls, turn)
        if len(wanted) > MAX_CALLS:
            sentences.append(f"I do at most {MAX_CALLS} things at a time, so I have left out the rest.")
        # What is left goes to small talk: a part of the message, or all of it where no tool was asked for.
        rest = unread or ([] if calls else [message])
        return calls, paragraphs(sentences + self._talk(rest, past, alone=not calls))

    def _talk(self, parts: Sequence[str], past: Past, *, alone: bool) -> list[str]:
        replies = {part: reply(part, past, self._tools) for part in parts}
        sentences = [sentence for sentence in replies.values() if sentence]
        if lost := [part for part, sentence in replies.items() if not sentence]:
            sentences.append(not_understood(lost, self._tools) if alone else partly_understood(lost))
        return sentences


async def _run_tools(calls: Sequence[Call], turn: Turn) -> list[str]:
    """Run all at once but those that share a lane; return what they say in the order of the calls."""
    if not calls:
        return []
    *others, last = dict.fromkeys(call.tool.doing for call in calls)
    await _say(f"Let me {', '.join(others)}{' and ' if others else ''}{last}.", turn)
    lanes: dict[object, list[Call]] = {}
    for call in calls:
        lanes.setdefault(call.tool.lane or call, []).append(call)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_run_lane(lane, turn)) for lane in lanes.values()]
    said = {call: sentence for task in running for call, sentence in task.result().items()}
    return [said[call] for call in calls]


async def _run_lane(lane: Sequence[Call], turn: Turn) -> dict[Call, str]:
    return {call: await _run_tool(call, turn) for call in lane}


async def _run_tool(call: Call, turn: Turn) -> str:
    name, call_id = call.tool.name, secrets.token_hex(8)
    TOOL_CONTEXT.set(dataclasses.replace(TOOL_CONTEXT.get(), call_id=call_id))
    await turn.emit(ToolCall(tool_name=name, tool_kwargs=call.arguments, tool_call_id=call_id))
    is_error = None
    try:
        output = await _result(call)
    except ToolError as exc:
        output, is_error = str(exc), True
    except Exception:
        # A tool may be anyone's: the person is told that it failed, the log why, and the other tools go on.
        logger.exception("The tool %s has failed", name)
        output, is_error = f"The tool {name} has failed.", True
    await turn.emit(ToolResult(tool_name=name, tool_output=output, tool_call_id=call_id, is_error=is_error))
    return str(output)


async def _result(call: Call) -> Any:
    function = call.tool.function
    if inspect.iscoroutinefunction(function):
        return await function(**call.arguments)
    return await in_thread(function, **call.arguments)


async def _say(text: str, turn: Turn) -> None:
    """Stream a text word by word."""
    for piece in re.findall(r"\s*\S+", text):
        await turn.emit(AgentOutput(output=piece))


class AgentMaker:
    """The factory: makes the agent of one session, with a model where ``AGENT_MODEL`` names one."""

    # With a model it has the same tools.
    title, description, starters = OfflineAgent.title, OfflineAgent.description, OfflineAgent.starters

    def __call__(self) -> Agent:
        """Make one.

        Raises:
            AgentError: if the model cannot be used, its key or a package being missing.
        """
        model = os.environ.get("AGENT_MODEL")
        return _with_model(model) if model else OfflineAgent()

    def check(self) -> None:
        """Make one for nothing: called when the server starts, so that what is missing is told there."""
        self()


create_agent: Final = AgentMaker()


def _with_model(name: str) -> Agent:
    try:
        from agentsocket.offline_agent.model_agent import ModelAgent  # noqa: PLC0415  # what it needs is not in requirements.txt
    except ImportError as exc:
        raise AgentError(f'AGENT_MODEL={name}: it needs the extra [llm], pip install ".[llm]"') from exc
    agent: Agent = ModelAgent(name)
    return agent
