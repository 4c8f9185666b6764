"""What the agent remembers, as it is written down for the next session of a conversation."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from agentsocket.offline_agent.attached import READ_ATTACHMENT
from agentsocket.offline_agent.conversation import Past
from agentsocket.offline_agent.tool import Tool
from agentsocket.offline_agent.understanding import Call


class _Call(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)

    tool: str
    arguments: dict[str, JsonValue]


class _Memory(BaseModel):
    # What another agent remembered is told from this, and not taken for half of it.
    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)

    notes: list[str]
    messages: list[str]
    answer: str
    call: _Call | None


def written(notes: Sequence[str], past: Past) -> JsonValue:
    """Write down what is remembered."""
    return {
        "notes": list(notes),
        "messages": list(past.messages),
        "answer": past.answer,
        "call": None if past.call is None else {"tool": past.call.tool.name, "arguments": past.call.arguments},
    }


def read(memory: JsonValue, tools: Sequence[Tool]) -> tuple[list[str], Past]:
    """Read it again. A call that cannot be gone on from any more is forgotten.

    Raises:
        ValueError: if it is nothing that ``written`` has written.
    """
    kept = _Memory.model_validate(memory)
    return kept.notes, Past(kept.messages, kept.answer, _call(kept.call, tools))


def _call(kept: _Call | None, tools: Sequence[Tool]) -> Call | None:
    if kept is None:
        return None
    tool = next((tool for tool in (*tools, READ_ATTACHMENT) if tool.name == kept.tool), None)
    if tool is None or None in kept.arguments.values():  # what JSON has no number for, infinity say
        return None
    return Call(tool, kept.arguments)
