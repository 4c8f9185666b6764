"""Agents of the OpenAI Agents SDK."""

import asyncio
import os
from dataclasses import replace
from typing import Any, Final

from agents import (
    Agent,
    RunConfig,
    Runner,
    RunResultStreaming,
    RunState,
    TResponseInputItem,
    Usage,
    set_trace_processors,
)
from agents.run_config import ToolErrorFormatterArgs
from agents.tracing import setup
from openai.types.responses import ResponseInputContentParam
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from agentsocket.agent.adapters.content import Attached, attached, data_url, weight
from agentsocket.agent.adapters.conversation import RunOptions, Tokens, approve
from agentsocket.agent.adapters.memory import Form, Memory
from agentsocket.agent.adapters.openai_agents_events import Teller, arguments, as_dict
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentResponse

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def _items(value: Any) -> list[TResponseInputItem]:
    if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        raise TypeError("items of a conversation are objects in a list")
    return value


FORM: Final = Form[TResponseInputItem](
    "openai-agents",
    dump=lambda items: to_jsonable_python(items, fallback=str),
    parse=_items,
)


class OpenAIAgent:
    """Serves one session of an agent; ``options`` go to ``Runner.run_streamed`` (``context=``, ``max_turns=``, ...)."""

    RESERVED: Final = frozenset(
        {"starting_agent", "input", "session", "conversation_id", "previous_response_id", "auto_previous_response_id"}
    )

    def __init__(self, agent: Agent[Any], options: RunOptions) -> None:
        self.memory: Memory[TResponseInputItem] = Memory()
        self._agent = agent
        self._options = options
        if "run_config" not in options.given:
            _keep_traces_at_home()

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. After a handoff the next one goes to the agent that answered last."""
        history = await self.memory.recall(turn)
        failed: set[str] = set()
        options, teller = _with_ear(await self._options.of(turn), failed), Teller(turn, failed)
        files = await attached(turn)
        work: list[TResponseInputItem] | RunState[Any] = [*history, await _input(message, files)]
        while True:
            result = Runner.run_streamed(self._agent, work, **options)
            await _forward(result, teller)
            if not result.interruptions:
                break
            work = await _decide(result, turn)
        self.memory.commit(result.to_input_list()[len(history) :], weight(files) + teller.size, turn.session_files)
        self._agent = result.last_agent
        return _tokens(result.context_wrapper.usage).report(teller.answer(result.final_output))

    async def save(self) -> JsonValue:
        """Return what is remembered of the session.

        Raises:
            ValueError: if it is too large.
        """
        return await self.memory.save(FORM, {"agent": self._agent.name})

    async def load(self, memory: JsonValue) -> None:
        """Take up what ``save`` of an earlier instance has returned; where that fails, nothing of it.

        Raises:
            ValueError: if it is of another framework or form; so do ``TypeError`` and ``LookupError``.
        """
        team = {agent.name: agent for agent in reversed(_team(self._agent))}
        self._agent = team.get(self.memory.load(FORM, memory).get("agent"), self._agent)


def _with_ear(options: dict[str, Any], failed: set[str]) -> dict[str, Any]:
    """The options of one run, with an ear for tools that raise: their results do not tell."""
    config = options.get("run_config") or RunConfig()
    config = RunConfig(**config) if isinstance(config, dict) else config
    formatter = config.tool_error_formatter

    def note(error: ToolErrorFormatterArgs[Any]) -> Any:
        if error.kind == "tool_exception":
            failed.add(error.call_id)
        return formatter and formatter(error)

    return {**options, "run_config": replace(config, tool_error_formatter=note)}


async def _forward(result: RunResultStreaming, teller: Teller) -> None:
    events: Any = result.stream_events()  # declared as a mere iterator, that cannot be closed
    try:
        async for event in events:
            await teller.tell(event)
    except BaseException:
        # The run has a task of its own, and closing the stream would wait for it to end by itself.
        result.cancel()
        raise
    finally:
        await events.aclose()
        if result.run_loop_task:
            await asyncio.wait([result.run_loop_task])


async def _input(message: str, files: list[Attached]) -> TResponseInputItem:
    """The message, with each file as both of OpenAI's APIs take it: its text, or its bytes, or else a word of it."""
    if not files:
        return {"role": "user", "content": message}
    parts: list[ResponseInputContentParam] = [{"type": "input_text", "text": message}]
    for file in files:
        parts.append({"type": "input_text", "text": file.text or file.note})
        if file.data is not None and file.text is None and file.media_type in PICTURES:
            url = await data_url(file.data, file.media_type)
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        elif file.data is not None and file.media_type == "application/pdf":
            url = await data_url(file.data, file.media_type)
            parts.append({"type": "input_file", "filename": file.name, "file_data": url})
    return {"role": "user", "content": parts}


def _tokens(used: Usage) -> Tokens:
    tokens = Tokens()
    tokens.add(
        used.input_tokens,
        used.output_tokens,
        cached_input_tokens=used.input_tokens_details.cached_tokens,
        reasoning_tokens=used.output_tokens_details.reasoning_tokens,
        requests=used.requests,
    )
    return tokens


async def _decide(result: RunResultStreaming, turn: Turn) -> RunState[Any]:
    """Have each waiting call approved or rejected; the SDK knows no other arguments than the model's."""
    state = result.to_state()
    for item in result.interruptions:
        call = as_dict(item.raw_item)
        approval = await approve(turn, str(item.tool_name), arguments(call.get("arguments")))
        if approval.approved:
            state.approve(item)
        else:
            state.reject(item, rejection_message=approval.reason)
    return state


def _team(agent: Agent[Any]) -> list[Agent[Any]]:
    """Return an agent and all to whom it may come by handoffs, the nearest first."""
    team = [agent]
    for member in team:
        for handoff in member.handoffs:
            reference = getattr(handoff, "_agent_ref", None)  # the SDK has it nowhere else
            other = reference() if reference else handoff
            if isinstance(other, Agent) and not any(other is each for each in team):
                team.append(other)
    return team


def _keep_traces_at_home() -> None:
    """The SDK sends what is said and done to OpenAI, whichever provider it talks to, unless its user has spoken."""
    if setup.GLOBAL_TRACE_PROVIDER is None and "OPENAI_AGENTS_DISABLE_TRACING" not in os.environ:
        set_trace_processors([])
