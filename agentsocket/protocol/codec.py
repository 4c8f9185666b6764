"""From bytes to frames and back; what is wrong with a frame is said without repeating the peer's own input."""

from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import MAX_ID, AnyClientFrame, AnyServerFrame, ClientFrame, ServerFrame

T = TypeVar("T")
Name = TypeVar("Name", bound=str)

NOTHING_ELSE: Final = "A frame holds 'event' and 'data', and nothing else."

MANY_ERRORS: Final = 100
"""More errors than the fields of a frame can have: its top level is full of what is not to be there. To have each of
them described would take longer than all the rest."""


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


def decode_client_frame(text: str | bytes) -> AnyClientFrame:
    """Read what a client sent; raises ``ProtocolError`` (``invalid_json``, ``invalid_frame``, ``unknown_event``)."""
    try:
        return CLIENT_FRAME.validate_json(text).data
    except ValidationError as exc:
        if exc.error_count() > MANY_ERRORS:
            raise ProtocolError(ErrorCode.INVALID_FRAME, NOTHING_ELSE) from None
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
    if error["type"] == "dict_type" and not error["loc"]:
        return ProtocolError(ErrorCode.INVALID_FRAME, "A frame must be a JSON object with 'event' and 'data'.")
    given = from_json(text)
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        if not isinstance(name := given.get("event"), str):
            return ProtocolError(ErrorCode.INVALID_FRAME, "Field 'event' must be a string.")
        name = "".join(char if char.isprintable() else "?" for char in name[:MAX_ID])
        return ProtocolError(ErrorCode.UNKNOWN_EVENT, f"There is no event '{name}'.")
    data = given.get("data")
    # The location is (event, "data", field, ...); what comes after the field may be a key of the peer's own.
    event, field = error["loc"][0], error["loc"][1:3][-1]
    name = "upload_id" if str(event).startswith("upload_") else "request_id"
    value = data.get(name) if isinstance(data, dict) else None
    ids = {name: value} if isinstance(value, str) and len(value) <= MAX_ID else {}
    text = NOTHING_ELSE if error["type"] == "extra_forbidden" else f"Field '{field}': {error['msg'].lower()}."
    wrong = ProtocolError(ErrorCode.INVALID_FRAME, text, **ids)
    wrong.event = str(event)
    return wrong
