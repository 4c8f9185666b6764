"""The contract for machines: checked in, up to date, whole, and served."""

import asyncio
import json
from typing import get_args

import pytest

from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import AnyClientFrame, AnyServerFrame
from docs.asyncapi import DESCRIPTION, ONLY_REPLIES, REPLIES, describe
from tests.support import PATIENCE, serving
from tests.wire import handshake, wired

CHECKED_IN = json.loads(DESCRIPTION.read_text())
COMPONENTS = CHECKED_IN["components"]
CLIENT_EVENTS = {frame.event for frame in get_args(AnyClientFrame)}
SERVER_EVENTS = {frame.event for frame in get_args(AnyServerFrame)}


def events(action: str) -> set[str]:
    operations = CHECKED_IN["operations"].values()
    return {
        message["$ref"].rpartition("/")[2]
        for operation in operations
        if operation["action"] == action
        for message in operation["messages"]
    }


def test_the_description_is_up_to_date() -> None:
    assert describe() == CHECKED_IN, "run: python -m docs.asyncapi"


def test_the_server_receives_what_clients_say_and_sends_the_rest() -> None:
    assert events("receive") == CLIENT_EVENTS == set(REPLIES)
    assert events("send") == SERVER_EVENTS - ONLY_REPLIES
    assert {reply for replies in REPLIES.values() for reply in replies} >= ONLY_REPLIES


@pytest.mark.parametrize("event", sorted(CLIENT_EVENTS | SERVER_EVENTS))
def test_every_frame_has_a_message_with_examples_and_a_schema_with_words(event: str) -> None:
    message, schema = COMPONENTS["messages"][event], COMPONENTS["schemas"][event]
    assert message["payload"] == {"$ref": f"#/components/schemas/{event}"}
    assert message["examples"]
    assert schema["title"]
    assert schema["description"]
    assert schema["properties"]["event"] == {"const": event}
    assert all(field["description"] for field in schema["properties"]["data"]["properties"].values())


def test_an_optional_field_may_be_missing_but_is_never_null() -> None:
    login = COMPONENTS["schemas"]["login"]["properties"]["data"]
    assert login["properties"]["token"]["type"] == "string"
    assert "required" not in login
    assert '"null"' not in json.dumps(COMPONENTS["schemas"])


def test_what_the_server_always_writes_is_required() -> None:
    response = COMPONENTS["schemas"]["login_response"]["properties"]["data"]
    assert response["required"] == ["session_id", "status"]
    assert COMPONENTS["schemas"]["error"]["properties"]["data"]["required"] == ["message", "code"]


def test_every_error_code_is_explained() -> None:
    assert COMPONENTS["schemas"]["ErrorCode"]["enum"] == list(ErrorCode)
    explained = COMPONENTS["schemas"]["ErrorCode"]["description"]
    assert [line.split("`")[1] for line in explained.splitlines()] == list(ErrorCode)


@pytest.mark.parametrize("console", [True, False], ids=["with the console", "without it"])
async def test_a_running_server_gives_the_description_out(console: bool) -> None:  # noqa: FBT001  # a parameter of the test
    async with serving(console=console) as server, wired(server.port) as wire:
        wire.send(handshake(path="/asyncapi.json", upgrade=False))
        async with asyncio.timeout(PATIENCE):
            head, _, body = (await wire.reader.read(-1)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: application/json" in head
    assert body == DESCRIPTION.read_bytes()
