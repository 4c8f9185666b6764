"""The vocabulary of the project: what an agent emits, every frame on the wire, and how frames become bytes.

A **frame** is one JSON object in one text message, ``{"event": <name>, "data": {...}}``; an **event** is what an agent
emits; a **task** is one ``agent_request`` in flight; a **session** one login; a **connection** one socket.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

T = TypeVar("T")
Name = TypeVar("Name", bound=str)

MAX_ID = 64  # characters of a request_id

Optional = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""A field that is left out of the frame where it does not apply, never sent as null."""


class ErrorCode(StrEnum):
    """The ``code`` of an ``error``: for programs, as its ``message`` is for people."""

    INVALID_JSON = "invalid_json"
    INVALID_FRAME = "invalid_frame"
    UNKNOWN_EVENT = "unknown_event"
    NOT_LOGGED_IN = "not_logged_in"
    ALREADY_LOGGED_IN = "already_logged_in"
    AUTHENTICATION_FAILED = "authentication_failed"
    SESSION_NOT_FOUND = "session_not_found"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_INPUT = "unknown_input"
    TOO_MANY_TASKS = "too_many_tasks"
    TOO_MANY_SESSIONS = "too_many_sessions"
    RATE_LIMITED = "rate_limited"
    AGENT_UNAVAILABLE = "agent_unavailable"
    AGENT_FAILED = "agent_failed"
    AGENT_TIMEOUT = "agent_timeout"
    CANCEL_FAILED = "cancel_failed"
    SHUTTING_DOWN = "shutting_down"


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


class InputRequired(Event):
    """A question to whoever sits behind the client. ``response_schema`` is JSON Schema, ``expires_in`` seconds."""

    prompt: str
    kind: Literal["approval", "text"] = "text"
    tool_name: Optional[str] = None
    tool_kwargs: Optional[dict[str, Any]] = None
    response_schema: Optional[dict[str, Any]] = None
    expires_in: Optional[float] = None


class AgentResponse(Event):
    """The final answer, whole, from an agent that has its ``usage`` to report."""

    response: str
    usage: Optional[dict[str, Any]] = None


# ---- Client → server -------------------------------------------------------------------------------------------------


class ClientFrame(BaseModel):
    """Each field is of exactly its type; unknown ones are ignored, so that a client may be newer than its server."""

    model_config = ConfigDict(strict=True, defer_build=True)
    event: ClassVar[str]


# Longer than any id that the server gives out, short enough to be sent back in an error.
KnownId = Annotated[str, Field(max_length=128)]


class Login(ClientFrame):
    """Open a session, or with ``session_id``, ``resume_token`` and ``last_seq`` take up an earlier one."""

    event = "login"
    token: Optional[str] = None
    resumable: Optional[bool] = None
    session_id: Optional[str] = None
    resume_token: Optional[str] = None
    last_seq: Optional[Annotated[int, Field(ge=0, lt=2**63)]] = None
    agent: Optional[str] = None


class AgentRequest(ClientFrame):
    """Start a task. ``request_id`` is the client's own; repeated, it does not run the agent twice."""

    event = "agent_request"
    message: str
    request_id: Optional[Annotated[str, Field(max_length=MAX_ID)]] = None


class CancelRequest(ClientFrame):
    """Stop that task, and no other."""

    event = "cancel_request"
    task_id: KnownId


class InputResponse(ClientFrame):
    """Answer an ``input_required``."""

    event = "input_response"
    task_id: KnownId
    input_id: KnownId
    response: JsonValue


class Logout(ClientFrame):
    """Stop every task of the session and end it. The connection stays open."""

    event = "logout"


# ---- Server → client -------------------------------------------------------------------------------------------------


class ServerFrame(Event):
    """``seq`` numbers the frames of a resumable session, and only of such a one."""

    event: ClassVar[str]
    seq: Optional[int] = None


class TaskFrame(ServerFrame):
    """A frame that belongs to one task."""

    task_id: str


class PendingInput(InputRequired):
    """A question that still waits for its answer."""

    input_id: str


class TaskSnapshot(Event):
    """How a task stands, for a client that has missed some of its frames."""

    task_id: str
    status: Literal["running", "completed", "cancelled", "failed"]
    output: str  # the text so far; of a long one the newest 256 KiB
    response: Optional[str] = None
    pending_inputs: list[PendingInput] = []
    code: Optional[str] = None
    message: Optional[str] = None
    error_id: Optional[str] = None


class LoginResponse(ServerFrame):
    """The session is open. Not numbered itself; live frames go on at ``last_seq + 1``."""

    event = "login_response"
    session_id: str
    status: Literal["success"] = "success"
    resumable: Optional[bool] = None
    resume_token: Optional[str] = None
    resumed: Optional[bool] = None
    lossless: Optional[bool] = None
    last_seq: Optional[int] = None
    tasks: Optional[list[TaskSnapshot]] = None


class AgentRequestReceived(TaskFrame):
    """The request is accepted. Comes before any other frame of its task."""

    event = "agent_request_received"
    request_id: Optional[str] = None


class ToolCallFrame(ToolCall, TaskFrame):
    """A tool of the task is about to run."""

    event = "tool_call"


class ToolResultFrame(ToolResult, TaskFrame):
    """A tool of the task has returned, or failed."""

    event = "tool_result"


class AgentOutputFrame(TaskFrame):
    """The next piece of the task's text."""

    event = "agent_output"
    output: str


class InputRequiredFrame(PendingInput, TaskFrame):
    """The task waits for an ``input_response``."""

    event = "input_required"


class AgentResponseFrame(AgentResponse, TaskFrame):
    """The task has ended well. Terminal."""

    event = "agent_response"


class TaskCancelled(TaskFrame):
    """The task has stopped: its coroutine has ended. Terminal."""

    event = "task_cancelled"


class ErrorFrame(ServerFrame):
    """Something was refused or has failed. With a ``task_id``: no such task is running any more."""

    event = "error"
    message: str
    code: ErrorCode | str = ""
    task_id: Optional[str] = None
    request_id: Optional[str] = None
    error_id: Optional[str] = None  # stands in the server's log, beside the details


class LogoutResponse(ServerFrame):
    """The session has ended. The connection may log in again."""

    event = "logout_response"
    status: Literal["success"] = "success"


AnyClientFrame = Login | AgentRequest | CancelRequest | InputResponse | Logout
AnyServerFrame = (
    LoginResponse
    | AgentRequestReceived
    | ToolCallFrame
    | ToolResultFrame
    | AgentOutputFrame
    | InputRequiredFrame
    | AgentResponseFrame
    | TaskCancelled
    | ErrorFrame
    | LogoutResponse
)


class Envelope(BaseModel, Generic[Name, T]):
    """What stands at the top level of a frame: this, and nothing else."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    event: Name
    data: T


def _adapter(union: Any) -> TypeAdapter[Any]:
    envelope: Any = Envelope  # at run time, where no type checker can follow, so that each name stands once
    envelopes: Any = reduce(or_, (envelope[Literal[frame.event], frame] for frame in get_args(union)))
    return TypeAdapter(Annotated[envelopes, Field(discriminator="event")], config=ConfigDict(defer_build=True))


CLIENT_FRAME: Final[TypeAdapter[Envelope[str, AnyClientFrame]]] = _adapter(AnyClientFrame)


@cache
def _server_frame() -> TypeAdapter[Envelope[str, AnyServerFrame]]:
    return _adapter(AnyServerFrame)  # not made by a server, which starts the sooner


class ProtocolError(Exception):
    """What is wrong with a frame, as the ``error`` to answer with, which repeats nothing of the peer's own."""

    def __init__(self, code: ErrorCode, message: str, **ids: str | None) -> None:
        super().__init__(message)
        self.frame = ErrorFrame.model_validate({"code": code, "message": message, **ids})


def decode_client_frame(text: str | bytes) -> AnyClientFrame:
    """Read what a client sent; raises ``ProtocolError`` (``invalid_json``, ``invalid_frame``, ``unknown_event``)."""
    try:
        return CLIENT_FRAME.validate_json(text).data
    except ValidationError as exc:
        raise _explain(exc, text) from None


def decode_server_frame(text: str | bytes) -> AnyServerFrame:
    """Read what a server sent; raises ``ProtocolError``, with ``unknown_event`` where the server is newer than this."""
    try:
        return _server_frame().validate_json(text).data
    except ValidationError as exc:
        raise _explain(exc, text) from None


def encode(frame: ClientFrame | ServerFrame) -> bytes:
    """Write a frame as JSON; raises ``PydanticSerializationError`` where a value in it has no form in JSON."""
    return to_json({"event": frame.event, "data": frame})


def _explain(exc: ValidationError, text: str | bytes) -> ProtocolError:
    # errors() would repeat the whole input, tokens included.
    error = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    if error["type"] == "json_invalid":
        return ProtocolError(ErrorCode.INVALID_JSON, "The message is not valid JSON.")
    given = from_json(text)
    if not isinstance(given, dict):
        return ProtocolError(ErrorCode.INVALID_FRAME, "A frame must be a JSON object with 'event' and 'data'.")
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        if not isinstance(name := given.get("event"), str):
            return ProtocolError(ErrorCode.INVALID_FRAME, "Field 'event' must be a string.")
        name = "".join(char if char.isprintable() else "?" for char in name[:MAX_ID])
        return ProtocolError(ErrorCode.UNKNOWN_EVENT, f"There is no event '{name}'.")
    request_id = data.get("request_id") if isinstance(data := given.get("data"), dict) else None
    request_id = request_id if isinstance(request_id, str) and len(request_id) <= MAX_ID else None
    if error["type"] == "extra_forbidden":
        return ProtocolError(
            ErrorCode.INVALID_FRAME, "A frame holds 'event' and 'data', and nothing else.", request_id=request_id
        )
    # The location is (event, "data", field, ...); what comes after the field may be a key of the peer's own.
    field = error["loc"][1:3][-1]
    return ProtocolError(ErrorCode.INVALID_FRAME, f"Field '{field}': {error['msg'].lower()}.", request_id=request_id)
