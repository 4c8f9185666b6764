"""Pydantic AI agents."""

import asyncio
import traceback
from collections.abc import AsyncIterable
from typing import Any, Final

from pydantic import JsonValue
from pydantic_ai.agent import AbstractAgent, Agent
from pydantic_ai.capabilities import (
    AbstractCapability,
    HandleDeferredToolCalls,
    WrapModelRequestHandler,
    WrapRunHandler,
)
from pydantic_ai.messages import (
    AgentStreamEvent,
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    UserContent,
)
from pydantic_ai.models import ModelRequestContext, infer_model
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied
from pydantic_ai.usage import RunUsage
from pydantic_core import to_json

from agentsocket.agent.adapters.content import Attached, attached, weight
from agentsocket.agent.adapters.conversation import RunOptions, Tokens, approve, as_text, ask_text
from agentsocket.agent.adapters.memory import Form, Memory
from agentsocket.agent.adapters.pydantic_ai_events import Teller
from agentsocket.agent.contract import AgentError, Turn
from agentsocket.protocol.events import AgentResponse

FORM: Final = Form[ModelMessage](
    "pydantic-ai",
    dump=lambda messages: ModelMessagesTypeAdapter.dump_python(messages, mode="json", fallback=str),
    parse=lambda value: ModelMessagesTypeAdapter.validate_json(to_json(value)),  # else base64 is taken for the bytes
)


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
        """Answer one message. An exception of a tool ends the run, as Pydantic AI has it; ``ModelRetry`` does not.

        Raises:
            AgentError: if the model takes no such files as are attached.
        """
        teller = Teller(turn)

        # Called within the run and awaited by it, so that a cancel here stops the run, and a slow client slows it.
        async def forward(_: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
            await teller.tell_all(events)

        async def answer(_: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
            return await _ask(requests, turn)

        own = _OwnTasks()
        options = await self._options.of(turn)
        options["capabilities"] = [*(options.get("capabilities") or ()), HandleDeferredToolCalls(answer), own]
        history, files = await self.memory.recall(turn), await attached(turn)
        prompt = _prompt(message, files)
        try:
            result = await self._agent.run(prompt, message_history=history, event_stream_handler=forward, **options)
        except NotImplementedError as exc:
            if files and _is_of_a_model(exc):
                raise AgentError("The model takes no files of this kind.") from exc
            raise
        finally:
            await own.stop()
        output = await teller.answer(result.output)
        self.memory.commit(result.new_messages(), weight(files) + teller.size, turn.session_files)
        return _tokens(result.usage).report(output)

    async def save(self) -> JsonValue:
        """Return what is remembered of the session.

        Raises:
            ValueError: if it is too large.
        """
        return await self.memory.save(FORM, {})

    async def load(self, memory: JsonValue) -> None:
        """Take up what ``save`` of an earlier instance has returned; where that fails, nothing of it.

        Raises:
            ValueError: if it is of another framework or form; so do ``TypeError`` and ``LookupError``.
        """
        self.memory.load(FORM, memory)


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


def _prompt(message: str, files: list[Attached]) -> str | list[UserContent]:
    """The message, with each file as the model takes it: its text, or its bytes, or else a word of it."""
    parts: list[UserContent] = [message]
    for file in files:
        parts.append(file.text or file.note)
        if file.media is not None:
            parts.append(BinaryContent(file.media, media_type=file.media_type))
    return parts if files else message


def _is_of_a_model(failure: NotImplementedError) -> bool:
    """Whether a model's class has raised it: that is what they do with files for which they have no form."""
    frames = traceback.walk_tb(failure.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith("pydantic_ai.models") for frame, _ in frames)


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
