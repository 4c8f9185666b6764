"""What a tool is: a plain function that answers in sentences, and the phrases that call for it."""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from agentsocket.agent.contract import Turn

MAX_QUOTE = 60
"""Characters of a person's own text that are repeated in a sentence about it."""


class ToolError(Exception):
    """A tool cannot do what was asked. Its text is a full sentence for the person who asked."""


@dataclass(frozen=True, eq=False)
class Tool:
    """A function and its phrases. The named groups of a phrase are the function's arguments."""

    function: Callable[..., Any]
    """Typed, with a docstring, so that a model can be given it as it is. Synchronous ones run in a thread."""
    doing: str
    """Goes on from "Let me"."""
    example: str
    asked: tuple[re.Pattern[str], ...]
    follow_up: tuple[re.Pattern[str], ...] = ()
    """Read only right after this tool was asked for; what such a phrase leaves out stays as it was."""
    arguments: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    """How to read a group that is not just text."""
    lane: str | None = None
    """Calls in one lane run one after another, as asked; all others run at once."""

    @property
    def name(self) -> str:
        """The function's own name."""
        return str(self.function.__name__)


@dataclass(frozen=True)
class ToolContext:
    """What a running tool can reach beyond its arguments, which a model may choose."""

    turn: Turn
    notes: list[str]
    tick: float
    """Seconds between two steps of a countdown."""
    call_id: str | None = None
    """The call that it runs for, where that is known."""


TOOL_CONTEXT: Final[ContextVar[ToolContext]] = ContextVar("tool_context")


def quoted(text: str) -> str:
    """Repeat a person's own words, cut where they are many."""
    return f'"{text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "…"}"'
