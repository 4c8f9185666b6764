"""LangGraph graphs, which LangChain's agents are too."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from inspect import isclass
from itertools import chain
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import StateGraph
from langgraph.types import Command, Interrupt
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from agentsocket.agent.adapters.content import attached, weight
from agentsocket.agent.adapters.conversation import RunOptions, Tokens, approve, ask_text
from agentsocket.agent.adapters.frameworks import UnsupportedAgent
from agentsocket.agent.adapters.langchain_content import question
from agentsocket.agent.adapters.langgraph_telling import Teller
from agentsocket.agent.adapters.memory import Form, Memory, is_plain
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentResponse

STRUCTURED: Final = "structured_response"
"""The channel in which an agent has its answer, where that has a schema."""

FORM: Final = Form[BaseMessage](
    "langgraph",
    dump=lambda messages: [_dumped(message) for message in messages],
    parse=messages_from_dict,
)


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
        self._graph = graph
        self._options = options
        if options.for_turn is None:
            self._context(options.given)  # so that a context that is missing is told now

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. An exception of a tool ends the run, unless the graph catches it."""
        history = await self.memory.recall(turn)
        known = {past.id for past in history}
        options = await self._options.of(turn)
        options |= self._context(options)
        config = options["config"] = self._config(options, turn)
        files = await attached(turn)
        work: Any = {**self._state, "messages": [*history, await question(message, files)]}
        # A thread for this turn alone: on one that lives longer, a cancel leaves a call without its result for good.
        usage = _Usage()
        graph = self._graph.with_config({"callbacks": [usage]}).copy({"checkpointer": InMemorySaver()})
        teller = Teller(turn, graph.get_name(), known)
        while True:
            await _stream(graph, work, options, teller)
            state = await graph.aget_state(config)
            if not state.interrupts:
                break
            work = Command(resume={interrupt.id: await _ask(interrupt, turn) for interrupt in state.interrupts})
        new = [past for past in state.values["messages"] if past.id not in known]
        self.memory.commit(new, weight(files) + teller.size, turn.session_files)
        # What else the graph remembers: who is active in a swarm, a plan, a list of things to do.
        self._state = {name: value for name, value in state.values.items() if name != "messages"}
        return _answer(new, state.values.get(STRUCTURED), usage)

    async def save(self) -> JsonValue:
        """Return what is remembered of the session.

        Raises:
            ValueError: if it is too large.
        """
        return await self.memory.save(FORM, {name: value for name, value in self._state.items() if name != STRUCTURED})

    async def load(self, memory: JsonValue) -> None:
        """Take up what ``save`` of an earlier instance has returned; where that fails, nothing of it.

        Raises:
            ValueError: if it is of another framework or form; so do ``TypeError`` and ``LookupError``.
        """
        self._state = self.memory.load(FORM, memory)

    def _context(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The option that is missing where a graph has a context, all of whose fields have defaults."""
        schema = self._graph.context_schema
        return {"context": _default_context(schema)} if isclass(schema) and "context" not in options else {}

    def _config(self, options: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        """The config of one run. What the operator has put into "configurable" goes over what is known of who asks."""
        config = options.get("config") or {}
        own = {**(self._graph.config or {}).get("configurable", {}), **config.get("configurable", {})}
        return {**config, "configurable": {**_who_asks(turn), **own}}


async def _stream(graph: Any, work: Any, options: dict[str, Any], teller: Teller) -> None:
    modes = ["messages", "updates", "custom"]
    async with aclosing(graph.astream(work, **options, stream_mode=modes, subgraphs=True)) as parts:
        async for place, mode, part in parts:
            await teller.tell(place, mode, part)


def _who_asks(turn: Turn) -> dict[str, Any]:
    """What "configurable" says of a turn. A client's own words stand under one key, where they overwrite nothing."""
    context = turn.context
    user = {"user_id": context.user.id} if context.user else {}
    params = {**context.params, **turn.params}
    return {**user, "session_id": context.session_id, "thread_id": context.session_id, "params": params}


class _Usage(AsyncCallbackHandler):
    """Counts what all models of a turn use, those of inner graphs and of tools too, whose messages are in no state.

    It also heeds a cancel: before Python 3.12, ``asyncio.wait_for`` loses one that comes at the same moment as a
    model's next piece.
    """

    run_inline = True  # in the model's own task

    def __init__(self) -> None:
        self.tokens = Tokens()
        self._counted: set[str | None] = set()

    async def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError

    async def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        for generation in chain(*response.generations):
            if isinstance(generation, ChatGeneration):
                self.count(generation.message)

    def count(self, message: BaseMessage) -> None:
        """Count a message, unless that was done when its model ended."""
        used = message.usage_metadata if isinstance(message, AIMessage) else None
        if used and message.id not in self._counted:
            self._counted.add(message.id)
            self.tokens.add(
                used["input_tokens"],
                used["output_tokens"],
                cached_input_tokens=used.get("input_token_details", {}).get("cache_read"),
                reasoning_tokens=used.get("output_token_details", {}).get("reasoning"),
            )


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


def _answer(new: list[BaseMessage], structured: Any, usage: _Usage) -> AgentResponse:
    spoken = [message for message in new if isinstance(message, AIMessage)]
    for message in spoken:
        usage.count(message)  # a node may have made one without a model of LangChain's
    return usage.tokens.report(structured if structured is not None else str(spoken[-1].text) if spoken else "")


def _dumped(message: BaseMessage) -> dict[str, Any]:
    """A message as LangChain has it in JSON; an artifact is the application's own, and may be anything."""
    if isinstance(message, ToolMessage) and not is_plain(message.artifact):
        message = message.model_copy(update={"artifact": None})
    dumped: dict[str, Any] = to_jsonable_python(message_to_dict(message), bytes_mode="base64", fallback=str)
    return dumped


def _default_context(schema: type[Any]) -> Any:
    """LangGraph gives a graph no context where none is given, even if every field of it has a default."""
    try:
        return schema()
    except (TypeError, ValueError) as exc:
        raise UnsupportedAgent(
            f"This graph needs a context: serve a function that returns adapt(graph, context={schema.__name__}(...))."
        ) from exc
