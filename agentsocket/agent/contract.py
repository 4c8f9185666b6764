"""What an agent is to the server, and the server to an agent; what it emits stands in ``protocol``.

An agent never sees a task id, a socket or JSON.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from agentsocket.protocol.events import AgentOutput, AgentResponse, InputRequired, ToolCall, ToolResult


class Turn(Protocol):
    """What a running agent may do towards the client that asked."""

    async def emit(self, event: ToolCall | ToolResult | AgentOutput) -> None:
        """Send an event. May wait: a slow client slows its own agent."""

    async def ask(self, question: InputRequired) -> JsonValue:
        """Ask the client, and wait for its answer.

        Raises:
            TimeoutError: if there is none within the question's ``expires_in`` seconds.
        """


class AgentError(Exception):
    """An agent's own word on why it fails: a sentence for the person who asked, which the client gets as it is.

    It is found wherever it is the reason: within exception groups, as a cause, or as what another exception followed on
    (not ``from None``). Of several, the client gets the first. Of any other exception it learns only that there was
    one. The log has all of them.
    """


class Agent(Protocol):
    """A coroutine that gets a message and a place to speak.

    How ``run`` ends is how its task ends: it returns, and the client gets ``agent_response``; it raises, ``error``;
    it is cancelled, ``task_cancelled``. It is called concurrently on one instance. An agent may also have
    ``async def aclose(self) -> None``, called once when its session ends; and, as an attribute of its own, its class or
    its factory, what people are told of it before they ask: ``title: str``, ``description: str`` in a sentence, and
    ``starters: list[str]``, questions to begin with.
    """

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        """Answer one message."""


AgentFactory = Callable[[], Agent | Awaitable[Agent]]
"""Makes the agent of one session: called once per login."""


class Approval(BaseModel):
    """A client's answer to a question of kind "approval"."""

    model_config = ConfigDict(defer_build=True)  # few agents ask, and none as the server starts
    approved: bool
    reason: str | None = None
    tool_kwargs: dict[str, Any] | None = None
    """The tool's arguments as the person edited them, where they did."""

    @classmethod
    def read(cls, response: JsonValue) -> "Approval":
        """Read ``true``, a word of consent, or an object with these fields. What is not clearly a yes is a no."""
        if isinstance(response, dict):
            try:
                return cls.model_validate(response, strict=True)
            except ValidationError:
                return cls(approved=False)
        if isinstance(response, str):
            return cls(approved=response.strip().lower() in {"y", "yes", "ok", "true", "approve", "approved"})
        return cls(approved=response is True)
