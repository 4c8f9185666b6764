"""LlamaIndex agents: FunctionAgent and its kin, and AgentWorkflow."""

import logging
from contextlib import aclosing
from typing import Any, Final

from llama_index.core.agent.workflow import AgentOutput as StepOutput
from llama_index.core.agent.workflow import AgentStream, ToolCallResult
from llama_index.core.agent.workflow import ToolCall as ToolCallEvent
from llama_index.core.llms import ChatMessage
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent, JsonSerializer

from agentsocket.agent.adapters.conversation import Memory, RunOptions, Tokens, as_text, ask_text
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, ToolCall, ToolResult

logger = logging.getLogger(__name__)


class LlamaIndexAgent:
    """Serves one session of an agent; ``options`` go to its ``run`` (``max_iterations=`` and so on)."""

    RESERVED: Final = frozenset({"user_msg", "chat_history", "memory", "ctx"})

    def __init__(self, agent: Any, options: RunOptions) -> None:
        self.memory: Memory[ChatMessage] = Memory()
        self._agent = agent
        self._options = options
        self._store: dict[str, Any] = {}

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. LlamaIndex tells the model of a tool's exception, and goes on."""
        history = self.memory.snapshot()
        options, context = await self._options.of(turn), await self._context()
        run = self._agent.run(user_msg=message, chat_history=history, ctx=context, **options)
        teller, tokens = _Teller(run, turn), Tokens()
        try:
            async with aclosing(run.stream_events()) as events:
                async for event in events:
                    await teller.tell(event)
                    tokens.add(*_usage(event))
            output = await run
        finally:
            # The run has tasks of its own: nothing else stops them, nor its next request to the model.
            if not run.is_done():
                await run.cancel_run()
        # Read back from the context: a tool that edits its store puts another memory there.
        state = await run.ctx.store.get_state()
        self.memory.commit(state["memory"].get_all()[len(history) :])
        self._store = {name: value for name, value in state.items() if name != "memory" and _can_be_kept(name, value)}
        structured = getattr(output, "structured_response", None)
        return tokens.report(str(output) if structured is None else structured)

    async def _context(self) -> Any:
        """A context for one turn, since two turns cannot share one, with all that the last one had but its memory."""
        context = Context(self._agent)
        for name, value in self._store.items():
            await context.store.set(name, value)
        return context


class _Teller:
    """Tells the events of one run.

    LlamaIndex runs a tool that has asked again from its start once the answer is there. What it asked before is not
    asked again then; that its call is told again, the server puts right for every agent.
    """

    def __init__(self, run: Any, turn: Turn) -> None:
        self._run, self._turn = run, turn
        self._asked: dict[str, list[dict[str, Any]]] = {}
        """By open call: the questions whose answer it has been run again for."""
        self._answered: list[dict[str, Any]] = []

    async def tell(self, event: Any) -> None:
        match event:
            case AgentStream(delta=text) if text:
                await self._turn.emit(AgentOutput(output=text))
            case ToolCallEvent():
                if event.tool_id in self._asked and self._answered:
                    self._asked[event.tool_id].append(self._answered.pop(0))
                self._asked.setdefault(event.tool_id, [])
                await self._turn.emit(
                    ToolCall(tool_name=event.tool_name, tool_kwargs=event.tool_kwargs, tool_call_id=event.tool_id)
                )
            case ToolCallResult():
                self._asked.pop(event.tool_id, None)
                await self._turn.emit(_result(event))
            case InputRequiredEvent():
                question = dict(event.items())
                if not any(question in asked for asked in self._asked.values()):
                    await self._ask(question)

    async def _ask(self, question: dict[str, Any]) -> None:
        fields = {name: value for name, value in question.items() if name != "prefix"}
        answer = await ask_text(self._turn, question.get("prefix") or fields)
        self._answered.append(question)
        # By the same fields a tool may have said which answer is its own.
        self._run.ctx.send_event(HumanResponseEvent(response=as_text(answer), **fields))


def _result(event: Any) -> ToolResult:
    output = event.tool_output
    return ToolResult(
        tool_name=event.tool_name,
        tool_output=output.content if output.raw_output is None else output.raw_output,
        tool_call_id=event.tool_id,
        is_error=output.is_error or None,
    )


def _usage(event: Any) -> tuple[object, object]:
    """What the provider has counted, as it came: LlamaIndex has no form of its own for it."""
    raw = event.raw if isinstance(event, StepOutput) else None
    used = (raw.get("usage") if isinstance(raw, dict) else None) or {}
    return used.get("prompt_tokens", used.get("input_tokens")), used.get("completion_tokens", used.get("output_tokens"))


def _can_be_kept(name: str, value: object) -> bool:
    try:
        JsonSerializer().serialize(value)
    except (TypeError, ValueError):
        logger.warning("%r in the store of a LlamaIndex context has no form in JSON: the next turn will miss it", name)
        return False
    return True
