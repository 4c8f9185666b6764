"""Agents of the OpenAI Agents SDK."""

import asyncio
import json
import os
from dataclasses import replace
from typing import Any, Final

from agents import (
    Agent,
    RawResponsesStreamEvent,
    RunConfig,
    RunItemStreamEvent,
    Runner,
    RunResultStreaming,
    RunState,
    StreamEvent,
    TResponseInputItem,
    Usage,
    set_trace_processors,
)
from agents.run_config import ToolErrorFormatterArgs
from agents.tracing import setup

from agentsocket.agent.adapters.conversation import Memory, RunOptions, Tokens, approve
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, ToolCall, ToolResult


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
        history = self.memory.snapshot()
        failed: set[str] = set()
        options = _with_ear(await self._options.of(turn), failed)
        work: list[TResponseInputItem] | RunState[Any] = [*history, {"role": "user", "content": message}]
        while True:
            result = Runner.run_streamed(self._agent, work, **options)
            await _forward(result, turn, failed)
            if not result.interruptions:
                break
            work = await _decide(result, turn)
        self.memory.commit(result.to_input_list()[len(history) :])
        self._agent = result.last_agent
        return _tokens(result.context_wrapper.usage).report(result.final_output)


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


async def _forward(result: RunResultStreaming, turn: Turn, failed: set[str]) -> None:
    events: Any = result.stream_events()  # declared as a mere iterator, that cannot be closed
    try:
        async for event in events:
            await _emit(event, turn, failed)
    except BaseException:
        # The run has a task of its own, and closing the stream would wait for it to end by itself.
        result.cancel()
        raise
    finally:
        await events.aclose()
        if result.run_loop_task:
            await asyncio.wait([result.run_loop_task])


async def _emit(event: StreamEvent, turn: Turn, failed: set[str]) -> None:
    match event:
        case RawResponsesStreamEvent(data=data) if data.type == "response.output_text.delta":
            await turn.emit(AgentOutput(output=data.delta))
        case RunItemStreamEvent(name="tool_called" | "handoff_requested", item=item):
            call = _as_dict(item.raw_item)
            # What the provider runs at its own side (a web search) has no call_id, and no result comes of it.
            if "call_id" in call:
                kwargs = _arguments(call.get("arguments"))
                await turn.emit(
                    ToolCall(tool_name=str(call.get("name")), tool_kwargs=kwargs, tool_call_id=call["call_id"])
                )
        case RunItemStreamEvent(name="tool_output" | "handoff_occured", item=item):
            raw = _as_dict(item.raw_item)
            output = getattr(item, "output", raw.get("output"))
            is_error = raw["call_id"] in failed or None
            await turn.emit(ToolResult(tool_output=output, tool_call_id=raw["call_id"], is_error=is_error))


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
        call = _as_dict(item.raw_item)
        approval = await approve(turn, str(item.tool_name), _arguments(call.get("arguments")))
        if approval.approved:
            state.approve(item)
        else:
            state.reject(item, rejection_message=approval.reason)
    return state


def _as_dict(raw_item: Any) -> dict[str, Any]:
    return dict(raw_item) if isinstance(raw_item, dict) else raw_item.model_dump()


def _arguments(text: Any) -> dict[str, Any]:
    """A call's arguments are JSON as the model wrote it: mostly an object, at worst anything."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        arguments = text
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def _keep_traces_at_home() -> None:
    """The SDK sends what is said and done to OpenAI, whichever provider it talks to, unless its user has spoken."""
    if setup.GLOBAL_TRACE_PROVIDER is None and "OPENAI_AGENTS_DISABLE_TRACING" not in os.environ:
        set_trace_processors([])
