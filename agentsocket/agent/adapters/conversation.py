"""What a conversation needs whatever the framework: its options, its memory, its questions, its answer."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from agentsocket.agent.contract import Approval, Turn
from agentsocket.protocol.events import AgentResponse, InputRequired

T = TypeVar("T")

ForTurn = Callable[[Turn], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""Makes the run options of one turn. A plain function is called on the event loop."""


class RunOptions:
    """What an operator gives to a framework's runs: options for all of them, and over those what each turn brings."""

    def __init__(self, given: Mapping[str, Any], for_turn: ForTurn | None, reserved: frozenset[str]) -> None:
        """Take them.

        Raises:
            TypeError: if one of them is ``reserved``, for the adapter itself.
        """
        self.given, self.for_turn, self._reserved = given, for_turn, reserved
        self._check(given)

    async def of(self, turn: Turn) -> dict[str, Any]:
        """Return the options of one run, in a dict of the caller's own. Raises what ``for_turn`` raises."""
        made = self.for_turn(turn) if self.for_turn else {}
        if isawaitable(made):
            made = await made
        self._check(made)
        return {**self.given, **made}

    def _check(self, options: Mapping[str, Any]) -> None:
        if taken := sorted(self._reserved & options.keys()):
            raise TypeError(f"{taken[0]}= cannot be given: it is a part of each run that the server has itself")


class Memory(Generic[T]):
    """The messages of one session, whole turns of them: a turn that was cancelled or failed never gets in.

    Every framework's own store is damaged by a cancel or by two turns at once, so no adapter keeps one. A turn works on
    a snapshot and is committed when it has gone well.
    """

    def __init__(self, turns: int = 100) -> None:
        self._turns: deque[list[T]] = deque(maxlen=turns)

    def snapshot(self) -> list[T]:
        """All messages, oldest first, in a list of the caller's own."""
        return [message for turn in self._turns for message in turn]

    def commit(self, messages: Iterable[T]) -> None:
        """Add one turn; the oldest goes where there are too many."""
        self._turns.append(list(messages))


async def approve(turn: Turn, tool_name: str, tool_kwargs: dict[str, Any], prompt: str | None = None) -> Approval:
    """Ask whether a tool may run."""
    question = InputRequired(
        kind="approval", prompt=prompt or f"May {tool_name} run?", tool_name=tool_name, tool_kwargs=tool_kwargs
    )
    return Approval.read(await turn.ask(question))


async def ask_text(turn: Turn, question: object) -> JsonValue:
    """Ask a question in whatever form a framework has it, and return the answer as the client gave it."""
    return await turn.ask(InputRequired(prompt=as_text(question)))


def as_text(value: object) -> str:
    """A string as it is; nothing as no text; anything else, structured output for one, as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else to_json(value, fallback=str, inf_nan_mode="null", bytes_mode="base64").decode()


class Tokens(BaseModel):
    """What a turn has used, all of its model requests together."""

    model_config = ConfigDict(defer_build=True)  # few servers have a framework's agent, and all the sooner start

    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, input_tokens: object, output_tokens: object) -> None:
        """Count one model request; what the framework does not know it gives as None."""
        self.input_tokens += input_tokens if isinstance(input_tokens, int) else 0
        self.output_tokens += output_tokens if isinstance(output_tokens, int) else 0

    def report(self, output: object) -> AgentResponse:
        """The answer of a turn, with its usage where that is known."""
        total = self.input_tokens + self.output_tokens
        usage = {**self.model_dump(), "total_tokens": total} if total else None
        return AgentResponse(response=as_text(output), usage=usage)
