"""What an agent emits: its text, its tools' calls and results, its questions, its answer, and what there is beside."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Optional = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""A field that is left out of the frame where it does not apply, never sent as null."""


class Event(BaseModel):
    """What an agent says. A number that JSON has no word for goes out as null, bytes as base64."""

    model_config = ConfigDict(ser_json_bytes="base64", ser_json_inf_nan="null", defer_build=True)


class ToolCall(Event):
    """A tool is about to run. The server gives it a ``tool_call_id`` where the agent has none."""

    tool_name: str
    tool_kwargs: dict[str, Any] = {}
    tool_call_id: Optional[str] = None


class ToolResult(Event):
    """What a tool returned, or how it failed. Of name and id one may be left out: the server finds the open call."""

    tool_name: str = ""
    tool_output: Any
    tool_call_id: Optional[str] = None
    is_error: Optional[bool] = None


@dataclass(slots=True)
class AgentOutput:
    """The next piece of intermediate text; pieces are concatenated as they are."""

    # No model as the others are: it comes by the thousand, and validating it would cost as much as sending it.
    output: str


@dataclass(slots=True)
class AgentReasoning:
    """The next piece of what the model thinks. Pieces are concatenated as they are; they are no part of the answer."""

    reasoning: str  # no model, as little as AgentOutput


class ToolProgress(Event):
    """How far a tool is, or without ``tool_call_id`` the task. The newest replaces the one before.

    ``progress`` counts towards ``total``, in whatever unit; without a total nobody knows how much there is to do.
    """

    tool_call_id: Optional[str] = None
    progress: Optional[int | float] = None
    total: Optional[int | float] = None
    message: Optional[str] = None


class AgentData(Event):
    """An application's own event: any JSON, under a name. The same ``id`` replaces the earlier one of the task.

    A ``transient`` one is for now: it is not kept in the conversation.
    """

    name: str
    data: Any
    id: Optional[str] = None
    transient: Optional[bool] = None


class AgentFile(Event):
    """A file or picture of the agent's.

    ``size`` is in bytes; ``url`` is a path on the server, by which anybody gets it as long as the session is there.
    """

    tool_call_id: Optional[str] = None
    file_id: str
    name: str
    media_type: str
    size: int
    url: str


class InputRequired(Event):
    """A question to whoever sits behind the client. ``response_schema`` is JSON Schema, ``expires_in`` seconds."""

    prompt: str
    kind: Literal["approval", "text"] = "text"
    tool_name: Optional[str] = None
    tool_kwargs: Optional[dict[str, Any]] = None
    response_schema: Optional[dict[str, Any]] = None
    expires_in: Optional[float] = None


class AgentResponse(Event):
    """The final answer, whole: its text, its structured ``result`` where it has one, and what it has used.

    ``usage`` has ``input_tokens``, ``output_tokens``, ``total_tokens``, and where they are known
    ``cached_input_tokens``, ``reasoning_tokens``, ``requests``.
    """

    response: str
    usage: Optional[dict[str, Any]] = None
    result: Optional[Any] = None


Emitted = ToolCall | ToolResult | AgentOutput | AgentReasoning | ToolProgress | AgentData
"""What a turn's ``emit`` takes, and a generator may yield."""
