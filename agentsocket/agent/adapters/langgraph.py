"""LangGraph graphs, which LangChain's agents are too."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from inspect import isclass
from typing import Any, Final
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import StateGraph
from langgraph.types import Command, Interrupt

from agentsocket.agent.adapters.conversation import Memory, RunOptions, Tokens, approve, ask_text
from agentsocket.agent.adapters.frameworks import UnsupportedAgent
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, ToolCall, ToolResult


class LangGraphAgent:
    """Serves one session of a graph; ``options`` go to its ``astream`` (``context=``, ``config=`` and so on)."""

    RESERVED: Final = frozenset({"input", "stream_mode", "subgraphs"})

    def __init__(self, graph: Any, options: RunOptions) -> None:
        graph = graph.compile() if isinstance(graph, StateGraph) else graph
        if "messages" not in graph.channels:
            raise UnsupportedAgent('The state of this graph has no "messages": serve an async function that calls it.')
        if graph.interrupt_before_nodes or graph.interrupt_after_nodes:
            raise UnsupportedAgent("interrupt_before and interrupt_after are for debugging: use interrupt() in a node.")
        self.memory: Memory[BaseMessage] = Memory()
        self._state: dict[str, Any] = {}
        self._graph = graph.with_config({"callbacks": [_HeedCancel()]})
        self._options = options
        if options.for_turn is None:
            self._context(options.given)  # so that a context that is missing is told now

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. An exception of a tool ends the run, unless the graph catches it."""
        history = self.memory.snapshot()
        known = {past.id for past in history}
        options = await self._options.of(turn)
        options |= self._context(options)
        config = options["config"] = self._config(options, turn)
        work: Any = {**self._state, "messages": [*history, HumanMessage(message, id=str(uuid4()))]}
        # A thread for this turn alone: on one that lives longer, a cancel leaves a call without its result for good.
        graph = self._graph.copy({"checkpointer": InMemorySaver()})
        while True:
            await _stream(graph, work, options, _Teller(turn, known))
            state = await graph.aget_state(config)
            if not state.interrupts:
                break
            work = Command(resume={interrupt.id: await _ask(interrupt, turn) for interrupt in state.interrupts})
        new = [past for past in state.values["messages"] if past.id not in known]
        self.memory.commit(new)
        # What else the graph remembers: who is active in a swarm, a plan, a list of things to do.
        self._state = {name: value for name, value in state.values.items() if name != "messages"}
        return _answer(new, state.values.get("structured_response"))

    def _context(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The option that is missing where a graph has a context, all of whose fields have defaults."""
        schema = self._graph.context_schema
        return {"context": _default_context(schema)} if isclass(schema) and "context" not in options else {}

    def _config(self, options: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        """The config of one run. What the operator has put into "configurable" goes over what is known of who asks."""
        config = options.get("config") or {}
        own = {**(self._graph.config or {}).get("configurable", {}), **config.get("configurable", {})}
        return {**config, "configurable": {**_who_asks(turn), **own}}


async def _stream(graph: Any, work: Any, options: dict[str, Any], teller: "_Teller") -> None:
    async with aclosing(graph.astream(work, **options, stream_mode=["messages", "updates"], subgraphs=True)) as parts:
        async for _, mode, part in parts:
            if mode == "messages":
                await teller.tell_text(part[0])
            else:
                for message in _messages(list(part.values())):
                    await teller.tell_tools(message)


def _who_asks(turn: Turn) -> dict[str, Any]:
    """What "configurable" says of a turn. A client's own words stand under one key, where they overwrite nothing."""
    context = turn.context
    user = {"user_id": context.user.id} if context.user else {}
    params = {**context.params, **turn.params}
    return {**user, "session_id": context.session_id, "thread_id": context.session_id, "params": params}


class _Teller:
    """Tells a message once: a graph sends those of its subgraphs, and of its past, again."""

    def __init__(self, turn: Turn, known: set[str | None]) -> None:
        self._turn = turn
        self._past = known
        self._told = set(known)

    async def tell_text(self, message: BaseMessage) -> None:
        fresh = isinstance(message, AIMessageChunk) or (isinstance(message, AIMessage) and message.id not in self._past)
        if fresh and (text := str(message.text)):
            await self._turn.emit(AgentOutput(output=text))

    async def tell_tools(self, message: BaseMessage) -> None:
        if message.id in self._told:
            return
        self._told.add(message.id)
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                await self._turn.emit(
                    ToolCall(tool_name=call["name"], tool_kwargs=call["args"], tool_call_id=call["id"])
                )
        elif isinstance(message, ToolMessage):
            await self._turn.emit(
                ToolResult(
                    tool_name=message.name or "",
                    tool_output=message.content,
                    tool_call_id=message.tool_call_id,
                    is_error=message.status == "error" or None,
                )
            )


class _HeedCancel(AsyncCallbackHandler):
    """Before Python 3.12, ``asyncio.wait_for`` loses a cancel that comes at the same moment as a model's next piece."""

    run_inline = True  # in the model's own task

    async def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError


def _messages(update: Any) -> Iterator[BaseMessage]:
    """All messages in what a node has returned: a message, a list, a state, or lists of them."""
    if isinstance(update, BaseMessage):
        yield update
    elif isinstance(update, dict):
        yield from _messages(update.get("messages"))
    elif isinstance(update, list | tuple):
        for part in update:
            yield from _messages(part)


async def _ask(interrupt: Interrupt, turn: Turn) -> Any:
    """The middleware for approvals asks about several calls in one interrupt; any other value is a plain question."""
    value = interrupt.value
    if not isinstance(value, dict) or "action_requests" not in value:
        return await ask_text(turn, value)
    decisions: list[dict[str, Any]] = []
    for action in value["action_requests"]:
        approval = await approve(turn, action["name"], action["args"])
        if not approval.approved:
            decisions.append({"type": "reject", **({"message": approval.reason} if approval.reason else {})})
        elif approval.tool_kwargs is None:
            decisions.append({"type": "approve"})
        else:
            edited = {"name": action["name"], "args": approval.tool_kwargs}
            decisions.append({"type": "edit", "edited_action": edited})
    return {"decisions": decisions}


def _answer(new: list[BaseMessage], structured: Any) -> AgentResponse:
    spoken = [message for message in new if isinstance(message, AIMessage)]
    tokens = Tokens()
    for message in spoken:
        used = message.usage_metadata
        tokens.add(used and used["input_tokens"], used and used["output_tokens"])
    return tokens.report(structured if structured is not None else str(spoken[-1].text) if spoken else "")


def _default_context(schema: type[Any]) -> Any:
    """LangGraph gives a graph no context where none is given, even if every field of it has a default."""
    try:
        return schema()
    except (TypeError, ValueError) as exc:
        raise UnsupportedAgent(
            f"This graph needs a context: serve a function that returns adapt(graph, context={schema.__name__}(...))."
        ) from exc
