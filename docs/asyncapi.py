"""The wire contract for machines (AsyncAPI 3.0), which ``python -m docs.asyncapi`` writes.

Shapes come from the models of ``agentsocket.protocol``, meanings of fields and codes from the tables of
``docs/protocol.md``, examples from the golden frames of the tests: each is said in one place.
"""

import json
import re
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from agentsocket import __version__
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import AnyClientFrame, AnyServerFrame, ClientFrame, ServerFrame

DOCS = Path(__file__).parent
DESCRIPTION = DOCS.parent / "agentsocket" / "protocol" / "asyncapi.json"
"""Part of the package, since the server shows it; ``docs/asyncapi.json`` is a link to it."""
GOLDEN = DOCS.parent / "tests" / "golden"

REPLIES = {
    "login": ["login_response", "error"],
    "agent_request": ["agent_request_received", "error"],
    "cancel_request": ["task_cancelled", "error"],
    "input_response": ["error"],
    "upload_start": ["upload_progress", "upload_complete", "error"],
    "upload_chunk": ["upload_progress", "upload_complete", "error"],
    "upload_cancel": ["error"],
    "list_conversations": ["conversations", "error"],
    "get_conversation": ["conversation", "error"],
    "rename_conversation": ["conversation_updated", "error"],
    "delete_conversation": ["conversation_deleted", "error"],
    "refresh": ["refresh_response", "error"],
    "heartbeat": ["heartbeat", "error"],
    "logout": ["logout_response", "error"],
}
"""What answers the frame of a client."""

ONLY_REPLIES = {
    *("login_response", "refresh_response", "agent_request_received", "logout_response"),
    *("upload_progress", "upload_complete"),
    *("conversations", "conversation", "conversation_updated", "conversation_deleted"),
}
"""What the server never sends unasked."""

TOLD_AS = {"PendingInput": "input_required", "AgentFile": "agent_file", "AgentData": "agent_data"}
"""Under which heading the fields are told of what stands within other frames too."""

CORRELATION = {
    "request_id": "Pairs a request with its confirmation or refusal.",
    "upload_id": "Pairs an upload with its answers.",
    "task_id": "Every frame of a task carries the id of the task.",
}

INTRODUCTION = """\
An AI agent behind a WebSocket. One JSON object per text message, `{"event": <name>, "data": {...}}`, and nothing else \
at the top level. Unknown fields in `data` are ignored by both sides; a field that does not apply is left out, never \
null. This document describes the server: it *receives* what clients say, and *sends* what they get."""

CHANNEL = """\
One connection. Its first frame is `login`. Frames of one session arrive in order, and every task that is confirmed \
ends in exactly one of `agent_response`, `task_cancelled`, or an `error` with its `task_id`."""

BEARER = "The server's token in the handshake. A server without a token takes any login."
LOGIN_TOKEN = "The server's token as `token` in the data of `login`, which goes before the handshake's header."  # noqa: S105  # a sentence


class WireSchema(GenerateJsonSchema):
    """JSON Schema of what stands on the wire: an optional field may be missing, and is never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Describe what it is where it is there."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave the default out: it is what the code does, and not what can be read."""
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001  # as it is in the base class
        """Tell whether it always stands in the frame. A server writes its defaults, a client need not."""
        if self.mode == "serialization":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # as it is in the base class
        """Leave titles of fields out: they would say the name once more."""
        return False


class Prose:
    """The tables of ``docs/protocol.md``, by the heading they stand under: a row's name, and its other cells."""

    ROW = re.compile(r"^\| `?(\w+)`? \| (.+) \|$")

    def __init__(self, text: str) -> None:
        self._tables: dict[str, dict[str, list[str]]] = {}
        for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
            heading, *lines = section.splitlines()
            rows = [match for line in lines if (match := self.ROW.match(line))]
            # Without the first row, which names the columns.
            self._tables[heading.strip("`")] = {row[1]: row[2].split(" | ") for row in rows[1:]}

    def table(self, heading: str) -> dict[str, list[str]]:
        """Return a table; raises ``KeyError`` where there is no such heading."""
        return self._tables[heading]

    def meanings(self, heading: str) -> dict[str, str]:
        """Return what the last cell of each row says."""
        return {name: cells[-1] for name, cells in self.table(heading).items()}


def describe() -> dict[str, Any]:
    """Return the whole description.

    Raises:
        KeyError: if ``docs/protocol.md`` does not explain a field.
    """
    prose = Prose((DOCS / "protocol.md").read_text())
    frames: list[type[ClientFrame | ServerFrame]] = [*get_args(AnyClientFrame), *get_args(AnyServerFrame)]
    events = list(dict.fromkeys(frame.event for frame in frames))
    unasked = [frame.event for frame in get_args(AnyServerFrame) if frame.event not in ONLY_REPLIES]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Agent server", "version": __version__, "description": INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {"connection": _channel(events, prose)},
        "operations": {
            **{event: _receive(event, replies) for event, replies in REPLIES.items()},
            # One event goes both ways.
            **{f"send_{event}" if event in REPLIES else event: _operation("send", event) for event in unasked},
        },
        "components": {
            "messages": {frame.event: _message(frame) for frame in frames},
            "schemas": _schemas(frames, prose),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": BEARER},
                "login": {"type": "apiKey", "in": "password", "description": LOGIN_TOKEN},
            },
        },
    }


def write() -> str:
    """Return the description as it stands in the file."""
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"


def _servers() -> dict[str, Any]:
    security = [_ref("components", "securitySchemes", name) for name in ("bearer", "login")]
    name = {"default": "agent.example.com", "description": "The public name."}
    return {
        "local": {
            "host": "localhost:8765",
            "protocol": "ws",
            "description": "As `python websocket_server.py` starts it.",
            "security": security,
        },
        "public": {
            "host": "{name}",
            "protocol": "wss",
            "description": "With TLS of its own, or behind a proxy that has it.",
            "variables": {"name": name},
            "security": security,
        },
    }


def _channel(events: list[str], prose: Prose) -> dict[str, Any]:
    closes = {
        code: {"reconnect": reconnect == "yes", "description": meaning}
        for code, (reconnect, meaning) in prose.table("Close codes").items()
    }
    return {
        "address": "/",
        "title": "Connection",
        "description": CHANNEL,
        "servers": [_ref("servers", "local"), _ref("servers", "public")],
        "messages": {event: _ref("components", "messages", event) for event in events},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-close-codes": closes,
    }


def _receive(event: str, replies: list[str]) -> dict[str, Any]:
    reply = {"channel": _ref("channels", "connection"), "messages": [_in_channel(name) for name in replies]}
    return {**_operation("receive", event), "reply": reply}


def _operation(action: str, event: str) -> dict[str, Any]:
    return {"action": action, "channel": _ref("channels", "connection"), "messages": [_in_channel(event)]}


def _message(frame: type[ClientFrame | ServerFrame]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": frame.event,
        "title": frame.__name__.removesuffix("Frame"),
        "summary": _markdown(frame.__doc__),
        "contentType": "application/json",
        "payload": _ref("components", "schemas", frame.event),
        "examples": [
            {"name": path.stem, "payload": json.loads(path.read_text())}
            for path in sorted(GOLDEN.glob("*.json"), key=lambda path: path.stem)
            if path.stem.partition(".")[0] == frame.event
        ],
    }
    if field := next((field for field in CORRELATION if field in frame.model_fields), None):
        message["correlationId"] = {
            "description": CORRELATION[field],
            "location": f"$message.payload#/data/{field}",
        }
    return message


def _schemas(frames: list[type[ClientFrame | ServerFrame]], prose: Prose) -> dict[str, Any]:
    """Return a schema for each frame, whole as it stands on the wire, then those of what several of them hold."""
    _, definitions = models_json_schema(
        [(frame, "validation" if issubclass(frame, ClientFrame) else "serialization") for frame in frames],
        ref_template="#/components/schemas/{model}",
        schema_generator=WireSchema,
    )
    shared: dict[str, Any] = definitions["$defs"]
    data = {frame.event: shared.pop(frame.__name__) for frame in frames}
    common = prose.meanings("Server → client")
    for name, schema in {**data, **shared}.items():
        if "properties" in schema:
            _explain(schema, common | prose.meanings(TOLD_AS.get(name, name)))
    codes = prose.meanings("Error codes")
    shared["ErrorCode"]["description"] = "\n".join(f"- `{code}`: {codes[code]}" for code in ErrorCode)
    return {frame.event: _envelope(frame, data[frame.event]) for frame in frames} | shared


def _explain(schema: dict[str, Any], meanings: dict[str, str]) -> None:
    if "description" in schema:
        schema["description"] = _markdown(schema["description"])
    for name, field in schema["properties"].items():
        # What stands beside a $ref would be ignored.
        shape = {"allOf": [field]} if "$ref" in field else field
        schema["properties"][name] = {**shape, "description": meanings[name]}


def _envelope(frame: type[ClientFrame | ServerFrame], data: dict[str, Any]) -> dict[str, Any]:
    inner = {name: data[name] for name in ("type", "properties", "required") if name in data}
    return {
        "title": frame.__name__,
        "description": _markdown(frame.__doc__),
        "type": "object",
        "properties": {"event": {"const": frame.event}, "data": inner},
        "required": ["event", "data"],
        "additionalProperties": False,
    }


def _markdown(docstring: str | None) -> str:
    return (docstring or "").replace("``", "`")


def _in_channel(event: str) -> dict[str, str]:
    return _ref("channels", "connection", "messages", event)


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "/".join(("#", *path))}


if __name__ == "__main__":
    DESCRIPTION.write_text(write())
