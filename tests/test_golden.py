"""Every frame of the contract, as it stands on the wire."""

import json
from pathlib import Path
from typing import get_args

import pytest

from protocol import AnyClientFrame, AnyServerFrame, decode_client_frame, decode_server_frame, encode

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


def test_there_is_a_golden_frame_for_every_event() -> None:
    assert {path.stem.partition(".")[0] for path in GOLDEN} == CLIENT_EVENTS | SERVER_EVENTS
