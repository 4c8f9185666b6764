"""What a conversation needs whatever the framework: its options, its questions, its answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json

from agentsocket.agent.contract import Approval, Turn
from agentsocket.protocol.events import AgentResponse, InputRequired

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


@dataclass
class Tokens:
    """What a turn has used, all of its model requests together. What is 0 is not known, or there was none."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    requests: int = 0

    def add(
        self,
        input_tokens: object,
        output_tokens: object,
        *,
        cached_input_tokens: object = None,
        reasoning_tokens: object = None,
        requests: int = 1,
    ) -> None:
        """Count one model request, or several that were counted together; what is not known is None.

        Of the input, ``cached_input_tokens`` are a part, and ``reasoning_tokens`` of the output. A request of which
        neither input nor output is known is not counted.
        """
        if not (_number(input_tokens) or _number(output_tokens)):
            return
        self.input_tokens += _number(input_tokens)
        self.output_tokens += _number(output_tokens)
        self.cached_input_tokens += _number(cached_input_tokens)
        self.reasoning_tokens += _number(reasoning_tokens)
        self.requests += requests

    def report(self, output: object) -> AgentResponse:
        """The answer of a turn, with its usage where that is known; what is no text is its structured result too."""
        total = self.input_tokens + self.output_tokens
        known = {name: number for name, number in vars(self).items() if number}
        own = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "total_tokens": total}
        return AgentResponse(
            response=as_text(output),
            usage={**own, **known} if total else None,
            result=None if isinstance(output, str) else output,
        )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
