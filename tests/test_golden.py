"""Every frame of the contract, as it stands on the wire."""

import json
from pathlib import Path
from typing import get_args

import pytest

from agentsocket.protocol.codec import decode_client_frame, decode_server_frame, encode
from agentsocket.protocol.frames import (
    AgentOutputFrame,
    AgentRequestReceived,
    AgentResponseFrame,
    AnyClientFrame,
    AnyServerFrame,
)
from agentsocket.session.encoding import TextEncoder, received_frame, response_frame

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"), key=lambda path: path.stem)
CLIENT_EVENTS = {frame.event for frame in get_args(AnyClientFrame)}
SERVER_EVENTS = {frame.event for frame in get_args(AnyServerFrame)}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_frame_is_read_and_written_without_a_difference(path: Path) -> None:
    golden = json.loads(path.read_text())
    decode = decode_client_frame if golden["event"] in CLIENT_EVENTS else decode_server_frame
    frame = decode(path.read_text())
    assert frame.event == golden["event"]
    assert json.loads(encode(frame)) == golden


TEXTS = ["", "plain", 'a "quote", a \\ and </script>', "\x00\x1f\x7f\n\u2028", "ä 漢 😀"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_made_without_a_model_is_what_the_model_says(text: str) -> None:
    task_id = "024af43e41a61678"
    assert received_frame(task_id, text) == encode(AgentRequestReceived(task_id=task_id, request_id=text))
    assert received_frame(task_id, None) == encode(AgentRequestReceived(task_id=task_id))
    assert response_frame(task_id, text) == encode(AgentResponseFrame(task_id=task_id, response=text))
    assert TextEncoder("agent_output", "output", task_id).encode(text) == (
        encode(AgentOutputFrame(task_id=task_id, output=text)),
    )


def test_there_is_a_golden_frame_for_every_event() -> None:
    assert {path.stem.partition(".")[0] for path in GOLDEN} == CLIENT_EVENTS | SERVER_EVENTS
