"""LlamaIndex agents: FunctionAgent and its kin, and AgentWorkflow."""

import logging
from contextlib import aclosing
from typing import Any, Final

from llama_index.core.agent.workflow import AgentOutput as StepOutput
from llama_index.core.llms import ChatMessage
from llama_index.core.workflow import Context, JsonSerializer
from pydantic import JsonValue

from agentsocket.agent.adapters.content import attached, weight
from agentsocket.agent.adapters.conversation import RunOptions, Tokens
from agentsocket.agent.adapters.llamaindex_content import question
from agentsocket.agent.adapters.llamaindex_telling import Teller
from agentsocket.agent.adapters.llamaindex_usage import count
from agentsocket.agent.adapters.memory import Form, Memory
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentResponse

logger = logging.getLogger(__name__)


SPEAKER: Final = "current_agent_name"

OF_A_RUN: Final = frozenset(
    {
        *("agents", "can_handoff_to", "handoff_output_prompt", "max_iterations", "early_stopping_method"),
        *("num_iterations", "num_tool_calls", "current_tool_calls", "formatted_input_with_state", "user_msg_str"),
        *("next_agent", "scratchpad"),
    }
)
"""What LlamaIndex itself puts into the store of a context, from the agent as it is made and for the run alone."""

FORM: Final = Form[ChatMessage](
    "llama-index",
    dump=lambda messages: [message.model_dump(mode="json", fallback=str) for message in messages],
    parse=lambda value: [ChatMessage.model_validate(message) for message in value],
)


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
        history = await self.memory.recall(turn)
        options, context = await self._options.of(turn), await self._context()
        files = await attached(turn)
        asked = await question(message, files)
        run = self._agent.run(user_msg=asked, chat_history=history, ctx=context, **options)
        teller, tokens = Teller(run, turn), Tokens()
        try:
            async with aclosing(run.stream_events()) as events:
                async for event in events:
                    await teller.tell(event)
                    if isinstance(event, StepOutput):
                        count(event.raw, tokens)
            output = await run
        finally:
            # The run has tasks of its own: nothing else stops them, nor its next request to the model.
            if not run.is_done():
                await run.cancel_run()
        # Read back from the context: a tool that edits its store puts another memory there.
        state = await run.ctx.store.get_state()
        new = state["memory"].get_all()[len(history) :]
        self.memory.commit(new, weight(files) + teller.size, turn.session_files)
        self._store = {name: value for name, value in state.items() if name != "memory" and _can_be_kept(name, value)}
        structured = getattr(output, "structured_response", None)
        return tokens.report(str(output) if structured is None else structured)

    async def save(self) -> JsonValue:
        """Return what is remembered of the session.

        Raises:
            ValueError: if it is too large.
        """
        own = {name: value for name, value in self._store.items() if name not in OF_A_RUN}
        return await self.memory.save(FORM, own)

    async def load(self, memory: JsonValue) -> None:
        """Take up what ``save`` of an earlier instance has returned; where that fails, nothing of it.

        Raises:
            ValueError: if it is of another framework or form; so do ``TypeError`` and ``LookupError``.
        """
        store = self.memory.load(FORM, memory)
        if store.get(SPEAKER) not in getattr(self._agent, "agents", ()):
            store.pop(SPEAKER, None)  # there is no agent of this name any more
        self._store = store

    async def _context(self) -> Any:
        """A context for one turn, since two turns cannot share one, with all that the last one had but its memory."""
        context = Context(self._agent)
        for name, value in self._store.items():
            await context.store.set(name, value)
        return context


def _can_be_kept(name: str, value: object) -> bool:
    try:
        JsonSerializer().serialize(value)
    except (TypeError, ValueError):
        logger.warning("%r in the store of a LlamaIndex context has no form in JSON: the next turn will miss it", name)
        return False
    return True
