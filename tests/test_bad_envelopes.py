"""Messages that are no frame of the protocol: each gets its error, repeats nothing, and changes nothing."""

import json
import time

import pytest
from pydantic_core import from_json

from agentsocket.protocol.codec import decode_client_frame
from agentsocket.protocol.errors import ProtocolError
from tests.support import logged_in, serving
from tests.wire import Opcode, Wire, frame, undisturbed, upgraded

ROOM = 2 * 1024 * 1024
LONG = "x" * 1024 * 1024
ZEROS = ",".join("0" * 500_000)


def envelope(event: str, data: str) -> str:
    return f'{{"event": {event}, "data": {data}}}'


def request(data: str) -> str:
    return envelope('"agent_request"', data)


def request_of(message: str) -> str:
    return request(f'{{"message": {message}}}')


def beside(extra: str) -> str:
    """Return the ``data`` of a request with a field that nobody knows."""
    return f'{{"message": "x", "extra": {extra}}}'


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "invalid_json"),
    "blank": (" \t\r\n ", "invalid_json"),
    "not JSON": ("hello", "invalid_json"),
    "cut short": ('{"event": "login", "data": {', "invalid_json"),
    "trailing data": ('{"event": "login", "data": {}} {}', "invalid_json"),
    "a byte order mark": ('\ufeff{"event": "login", "data": {}}', "invalid_json"),
    **{word: (word, "invalid_frame") for word in ("null", "[]", "5", '"x"', "true", "NaN", "{}", "[[]]")},
    "no event": ('{"data": {}}', "invalid_frame"),
    "an event that is no string": ('{"event": 5, "data": {}}', "invalid_frame"),
    "an event that is null": ('{"event": null, "data": {}}', "invalid_frame"),
    "an event that is an object": ('{"event": {"login": 1}, "data": {}}', "invalid_frame"),
    "an empty event": ('{"event": "", "data": {}}', "unknown_event"),
    "an event of a megabyte": (envelope(f'"{LONG}"', "{}"), "unknown_event"),
    "an unknown event": ('{"event": "reboot", "data": {}}', "unknown_event"),
    "an event of the server's": ('{"event": "login_response", "data": {}}', "unknown_event"),
    "an event in other letters": ('{"event": "Login", "data": {}}', "unknown_event"),
    "no data": ('{"event": "login"}', "invalid_frame"),
    **{f"data that is {data}": (request(data), "invalid_frame") for data in ("null", "[]", '"x"', "5", "{}")},
    **{
        f"a message that is {message}": (request_of(message), "invalid_frame")
        for message in ("null", "[]", "{}", "5", "true", "NaN", "1e400", "-Infinity")
    },
    "nesting of 201": (request(beside(nested(201))), "invalid_json"),
    "nesting of 100,000": (nested(100_000), "invalid_json"),
    "nesting that never ends": ("[" * 100_000, "invalid_json"),
    "an integer of 4,301 digits": (request(beside("9" * 4301)), "invalid_json"),
    "a lone surrogate escape": (request(r'{"message": "\ud800"}'), "invalid_json"),
    "a lone low surrogate escape": (request(r'{"message": "\udc00x"}'), "invalid_json"),
    "a lone surrogate in a key": (request(r'{"message": "x", "\ud800": 1}'), "invalid_json"),
    "a raw control character": (request('{"message": "\x01"}'), "invalid_json"),
    "a raw newline": (request('{"message": "a\nb"}'), "invalid_json"),
    "an array of 500,000 elements": (f"[{ZEROS}]", "invalid_frame"),
    "data of 500,000 elements": (request(f"[{ZEROS}]"), "invalid_frame"),
    "a top level with more": ('{"event": "login", "data": {}, "id": 1}', "invalid_frame"),
    "a top level with __proto__": ('{"event": "login", "data": {}, "__proto__": {}}', "invalid_frame"),
    "a last_seq of 2**63": (envelope('"login"', f'{{"last_seq": {2**63}}}'), "invalid_frame"),
    "a last_seq that is negative": ('{"event": "login", "data": {"last_seq": -1}}', "invalid_frame"),
    "a request_id of 65 characters": (
        request(f'{{"message": "x", "request_id": "{LONG[:65]}"}}'),
        "invalid_frame",
    ),
    "a task_id of a megabyte": (
        envelope('"cancel_request"', f'{{"task_id": "{LONG}"}}'),
        "invalid_frame",
    ),
}


async def refused(wire: Wire, message: str) -> str:
    """Send a message; return the code of the error that it gets, which repeats nothing of it."""
    wire.send(frame(Opcode.TEXT, message.encode()))
    event, data = await wire.receive_event()
    assert event == "error"
    assert set(data) == {"code", "message"}
    assert len(data["message"]) < 200
    assert data["message"].isprintable()
    return str(data["code"])


@pytest.mark.parametrize(("message", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_frame_is_refused_before_and_after_the_login(
    message: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(max_login_size=ROOM, max_message_size=ROOM) as server,
        undisturbed(server, caplog),
        upgraded(server.port) as wire,
    ):
        assert await refused(wire, message) == code
        await wire.login()
        assert await refused(wire, message) == code


ACCEPTED = {
    "a null character": r'{"message": "a\u0000b"}',
    "a pair of surrogate escapes": r'{"message": "\ud83d\ude00"}',
    "other numbers": beside("[NaN, Infinity, -Infinity, 1e400]"),
    "a key twice, of which the last counts": '{"message": 5, "message": "x"}',
    "fields of Python's own": '{"message": "x", "__class__": "y", "__proto__": {"z": 1}, "model_config": {}}',
    "fields that nobody knows": '{"message": "x", "user": {"name": "y"}, "": null}',
    "nesting of 190": beside(nested(190)),
    "an empty message": '{"message": ""}',
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_what_is_only_strange_is_accepted(data: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), logged_in(server) as peer:
        await peer.socket.send(request(data))
        await peer.expect("agent_request_received")
        assert (await peer.expect("agent_response"))["response"] == json.loads(data)["message"]


async def test_the_name_of_an_unknown_event_is_repeated_cleaned_and_cut_at_64_characters() -> None:
    async with serving() as server, logged_in(server) as peer:
        await peer.send("\x1b[31m\u202e" + "x" * 200)
        message = (await peer.expect("error"))["message"]
        assert "?[31m?" + "x" * 58 + "'" in message


async def test_a_wrong_value_is_never_repeated_and_its_field_is_named() -> None:
    async with serving() as server, upgraded(server.port) as wire:
        wire.send(frame(Opcode.TEXT, b'{"event": "login", "data": {"token": ["secret"]}}'))
        message = (await wire.receive_event())[1]["message"]
        assert "'token'" in message
        assert "secret" not in message


async def test_an_error_about_a_request_carries_its_request_id() -> None:
    async with serving() as server, logged_in(server) as peer:
        await peer.send("agent_request", message=5, request_id="mine")
        assert (await peer.expect("error"))["request_id"] == "mine"


async def test_twenty_errors_within_a_minute_are_too_many(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), upgraded(server.port) as wire:
        for _ in range(20):
            assert await refused(wire, "") == "invalid_json"
        assert await wire.close_code() == 4509


def test_a_message_full_of_what_is_not_to_be_there_is_refused_for_little() -> None:
    wrong = ",".join(f'"{number}":0' for number in range(25_000))
    message = '{"event":"agent_request","data":{"message":"x"},' + wrong + "}"

    def refuse() -> None:
        with pytest.raises(ProtocolError, match="nothing else"):
            decode_client_frame(message)

    def read() -> None:
        from_json(message)

    took = {}
    for work in (refuse, read):
        started = time.thread_time()
        for _ in range(5):
            work()
        took[work] = time.thread_time() - started
    assert took[refuse] < 4 * took[read]
