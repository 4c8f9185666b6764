"""Pydantic AI agents."""

import asyncio
from collections.abc import AsyncIterable
from typing import Any, Final

from pydantic_ai.agent import AbstractAgent, Agent
from pydantic_ai.capabilities import (
    AbstractCapability,
    HandleDeferredToolCalls,
    WrapModelRequestHandler,
    WrapRunHandler,
)
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import ModelRequestContext, infer_model
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
from pydantic_ai.usage import RunUsage

from agentsocket.agent.adapters.conversation import Memory, RunOptions, Tokens, approve, as_text, ask_text
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, ToolCall, ToolResult


class PydanticAIAgent:
    """Serves one session of an agent; ``options`` go to its ``run`` (``deps=``, ``usage_limits=`` and so on)."""

    RESERVED: Final = frozenset({"user_prompt", "message_history", "event_stream_handler", "deferred_tool_results"})

    def __init__(self, agent: AbstractAgent[Any, Any], options: RunOptions) -> None:
        self.memory: Memory[ModelMessage] = Memory()
        self._agent = agent
        self._options = options

    def warm_up(self) -> None:
        """Make the model of an agent that has only its name: the first run would, and import its provider for that."""
        if isinstance(self._agent.model, str):
            model = infer_model(self._agent.model)
            if isinstance(self._agent, Agent):
                self._agent.model = model

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. An exception of a tool ends the run, as Pydantic AI has it; ``ModelRetry`` does not."""

        # Called within the run and awaited by it, so that a cancel here stops the run, and a slow client slows it.
        async def forward(_: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
            async for event in events:
                await _emit(event, turn)

        async def answer(_: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
            return await _ask(requests, turn)

        own = _OwnTasks()
        options = await self._options.of(turn)
        options["capabilities"] = [*(options.get("capabilities") or ()), HandleDeferredToolCalls(answer), own]
        history = self.memory.snapshot()
        try:
            result = await self._agent.run(message, message_history=history, event_stream_handler=forward, **options)
        finally:
            await own.stop()
        self.memory.commit(result.new_messages())
        return _tokens(result.usage).report(result.output)


class _OwnTasks(AbstractCapability[Any]):
    """Stops what a run leaves behind: of a cancel that comes just when a task has started, that task never hears.

    Twice in a run there is such a moment, at its start and at each answer of the model, whose stream stays open then.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] = set()

    async def wrap_run(self, _: RunContext[Any], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        self._tasks.add(asyncio.current_task())
        return await handler()

    async def wrap_model_request(
        self, _: RunContext[Any], *, request_context: ModelRequestContext, handler: WrapModelRequestHandler
    ) -> ModelResponse:
        self._tasks.add(asyncio.current_task())
        return await handler(request_context)

    async def stop(self) -> None:
        left = [task for task in self._tasks if task and not task.done() and task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


async def _emit(event: AgentStreamEvent, turn: Turn) -> None:
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            if text:
                await turn.emit(AgentOutput(output=text))
        case FunctionToolCallEvent(part=part):
            await turn.emit(
                ToolCall(tool_name=part.tool_name, tool_kwargs=part.args_as_dict(), tool_call_id=part.tool_call_id)
            )
        case FunctionToolResultEvent(part=part):
            failed = getattr(part, "outcome", "retried") in {"failed", "retried"}
            await turn.emit(
                ToolResult(
                    tool_name=part.tool_name or "",
                    tool_output=part.content,
                    tool_call_id=part.tool_call_id,
                    is_error=failed or None,
                )
            )


def _tokens(used: RunUsage) -> Tokens:
    tokens = Tokens()
    tokens.add(
        used.input_tokens,
        used.output_tokens,
        cached_input_tokens=used.cache_read_tokens,
        reasoning_tokens=getattr(used, "output_reasoning_tokens", 0) or used.details.get("reasoning_tokens"),
        requests=used.requests,
    )
    return tokens


async def _ask(requests: DeferredToolRequests, turn: Turn) -> DeferredToolResults:
    """Approvals one after the other, then the calls whose result comes from outside: their answer is the result."""
    results = DeferredToolResults()
    for call in requests.approvals:
        approval = await approve(turn, call.tool_name, call.args_as_dict())
        results.approvals[call.tool_call_id] = (
            ToolApproved(override_args=approval.tool_kwargs)
            if approval.approved
            else ToolDenied(approval.reason or "The tool call was denied.")
        )
    for call in requests.calls:
        question = call.args_as_dict().get("question") or f"{call.tool_name} {as_text(call.args_as_dict())}"
        results.calls[call.tool_call_id] = await ask_text(turn, question)
    return results
