"""The same tools under a language model, which ``AGENT_MODEL`` names. Imported only where it does."""

import dataclasses
import functools
import inspect
import logging
import os
import re
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Final, cast

import pydantic_ai
from pydantic import JsonValue
from pydantic_ai.exceptions import AgentRunError, ToolFailed
from pydantic_ai.models import Model, infer_model
from pydantic_ai.tools import RunContext

from agentsocket.agent.adapters.frameworks import adapt
from agentsocket.agent.adapters.pydantic_ai import FORM, PydanticAIAgent
from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import AgentError, Turn
from agentsocket.offline_agent.attached import READ_ATTACHMENT
from agentsocket.offline_agent.model_errors import advice
from agentsocket.offline_agent.tool import TOOL_CONTEXT, Tool, ToolContext, ToolError
from agentsocket.offline_agent.toolbox import TOOLS
from agentsocket.protocol.events import AgentResponse

INSTRUCTIONS: Final = (
    "You are a helpful assistant. Answer briefly, in the language of the person who asks, and in plain text. "
    "Use your tools for whatever they can do rather than working it out yourself, several of them at once where "
    "they do not depend on one another. What a countdown says while it runs, and the charts of a file, the person "
    "sees by themselves. Of a file that is attached and not shown to you whole, read_attachment tells what is in it. "
    "Of each file that you could not read, say so."
)
OLLAMA: Final = "http://localhost:11434/v1"
"""Where Ollama listens unless it is told otherwise."""

NOTES: Final = "notes"
"""What they are called beside the conversation."""

logger = logging.getLogger(__name__)


class ModelAgent:
    """A conversation with a model that has the offline agent's tools."""

    def __init__(self, name: str, *, tick: float = 1.0) -> None:
        """Start a conversation.

        Args:
            name: A provider and its model, "openai:gpt-5-mini" for one.
            tick: Seconds that a step of a countdown takes.

        Raises:
            AgentError: if there is no such provider, or its key or its package is missing.
        """
        self._name = name
        self._tick = tick
        self._notes: list[str] = []
        self._conversation = cast("PydanticAIAgent", adapt(_agent(name)))

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        """Answer one message. Only a run that gets to its end is remembered.

        Raises:
            AgentError: if the model, its provider or the network fails.
        """
        TOOL_CONTEXT.set(ToolContext(turn, self._notes, self._tick))
        try:
            return await self._conversation.run(message, turn)
        except AgentRunError as exc:
            raise AgentError(advice(self._name, exc, [file.name for file in turn.attachments])) from exc

    async def save(self) -> JsonValue:
        """Return what is remembered: the conversation in the framework's own form, and the notes.

        Raises:
            ValueError: if it is too large.
        """
        return await self._conversation.memory.save(FORM, {NOTES: list(self._notes)})

    def load(self, memory: JsonValue) -> None:
        """Remember what an earlier instance did, whatever its model was.

        Raises:
            ValueError: if it is no memory of this agent's; so do ``TypeError`` and ``LookupError``.
        """
        self._notes = self._conversation.memory.load(FORM, memory)[NOTES]


@functools.cache
def _agent(name: str) -> pydantic_ai.Agent[None, str]:
    """One for all sessions, which share its connections to the provider; it knows nothing of their conversations."""
    tools = [pydantic_ai.Tool(_for_model(tool), sequential=tool.lane is not None) for tool in (*TOOLS, READ_ATTACHMENT)]
    return pydantic_ai.Agent(_model(name), instructions=INSTRUCTIONS, tools=tools, retries=3)


def _model(name: str) -> Model:
    provider, _, model = name.partition(":")
    if provider == "ollama":
        os.environ.setdefault("OLLAMA_BASE_URL", OLLAMA)
    if provider == "openai" and os.environ.get("OPENAI_BASE_URL"):
        name = f"openai-chat:{model}"  # the dialect that everything speaks which calls itself compatible with OpenAI
    try:
        return infer_model(name)
    except Exception as exc:  # a provider's package may raise anything of its own about a key or an address
        raise AgentError(f"AGENT_MODEL={name}: {_missing(exc)}") from exc


def _missing(failure: Exception) -> str:
    variable = re.search(r"`([A-Z]+(?:_[A-Z]+)+)`", str(failure))
    if variable and not os.environ.get(variable[1]):
        return f"{variable[1]} has no value, neither in the environment nor in .env"
    return " ".join(str(failure).split())


def _for_model(tool: Tool) -> Callable[..., Any]:
    """The tool's function as a model is to have it: what it cannot do is told to the model, and the run goes on."""

    @functools.wraps(tool.function)
    async def run(context: RunContext[None], /, **arguments: Any) -> Any:
        TOOL_CONTEXT.set(dataclasses.replace(TOOL_CONTEXT.get(), call_id=context.tool_call_id))
        try:
            if inspect.iscoroutinefunction(tool.function):
                return await tool.function(**arguments)
            return await in_thread(tool.function, **arguments)
        except ToolError as exc:
            raise ToolFailed(str(exc)) from exc
        except Exception as exc:
            # A tool may be anyone's: the model is told that it failed, and the log why.
            logger.exception("The tool %s has failed", tool.name)
            raise ToolFailed(f"The tool {tool.name} has failed.") from exc

    # The framework looks at it to know what the model is to give, and that it is to be told of the call itself.
    own = inspect.signature(tool.function)
    first = Parameter("context", Parameter.POSITIONAL_ONLY, annotation=RunContext[None])
    run.__signature__ = own.replace(parameters=[first, *own.parameters.values()])  # type: ignore[attr-defined]  # any function has one
    run.__annotations__ = {"context": RunContext[None], **tool.function.__annotations__}
    return run
