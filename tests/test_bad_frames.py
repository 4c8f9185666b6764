"""Frames that break the WebSocket protocol or its limits, and the close codes that they get."""

import pytest

from agentsocket.server import AgentServer
from tests.support import eventually, serving
from tests.wire import ABNORMAL, Opcode, frame, head, text, undisturbed, upgraded

LIMIT = 16 * 1024
"""Bytes of one message before the login."""


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(Opcode.CLOSE, code.to_bytes(2) + reason)


def fragments(*payloads: bytes) -> bytes:
    """Return the first fragments of a text message; its last one is missing."""
    rest = (frame(Opcode.CONTINUATION, payload, fin=False) for payload in payloads[1:])
    return frame(Opcode.TEXT, payloads[0], fin=False) + b"".join(rest)


CLOSE_CODES: dict[str, tuple[bytes, int]] = {
    "unmasked": (frame(Opcode.TEXT, b"{}", masked=False), 1002),
    **{f"reserved bit {bit}": (frame(Opcode.TEXT, b"{}", reserved=bit), 1002) for bit in (1, 2, 4)},
    **{f"reserved opcode {opcode}": (frame(opcode), 1002) for opcode in (3, 7, 11, 15)},
    "a continuation without a start": (frame(Opcode.CONTINUATION, b"x"), 1002),
    "a start within a message": (fragments(b"{") + frame(Opcode.TEXT, b"}"), 1002),
    "an oversized ping": (frame(Opcode.PING, bytes(126)), 1002),
    "a fragmented ping": (frame(Opcode.PING, b"x", fin=False), 1002),
    "invalid UTF-8": (frame(Opcode.TEXT, b'{"event": "\xff"}'), 1007),
    "a surrogate in UTF-8": (frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    "half a character": (frame(Opcode.TEXT, b"\xe2\x82"), 1007),
    "a length of 2**63": (head(Opcode.TEXT, 2**63), 1009),
    "a length of 2**64 - 1": (head(Opcode.TEXT, 2**64 - 1), 1009),
    "a byte too big": (frame(Opcode.TEXT, b" " * (LIMIT + 1)), 1009),
    "a byte too big, in fragments": (fragments(b" " * LIMIT, b" "), 1009),
    "endless empty fragments": (fragments(*[b""] * 5000), 1009),
    "a binary message": (frame(Opcode.BINARY, b"{}"), 1003),
    "a close frame of one byte": (frame(Opcode.CLOSE, b"\x03"), 1002),
    "a close frame with a code of nobody's": (close(999), 1002),
    "a close frame with a code that is never sent": (close(1006), 1002),
    "a close frame with a reason that is not UTF-8": (close(1000, b"\xff"), 1007),
    "an oversized close frame": (close(1000, b"x" * 124), 1002),
    "an empty close frame": (frame(Opcode.CLOSE), 1005),
    "a close within a message": (fragments(b"{") + close(1000), 1000),
    "data after a close": (close(1000) + text("login") * 10 + b"\xff" * 1000, 1000),
    "garbage": (b"\xff" * 1000, 1002),
}


@pytest.mark.parametrize(("sent", "code"), CLOSE_CODES.values(), ids=CLOSE_CODES.keys())
async def test_a_bad_frame_closes_its_own_connection(sent: bytes, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(max_login_size=LIMIT, close_timeout=0.2) as server,
        undisturbed(server, caplog),
        upgraded(server.port) as wire,
    ):
        wire.send(sent)
        assert await wire.close_code() == code


async def test_a_message_of_just_the_size_that_is_allowed_is_read() -> None:
    async with serving(max_login_size=LIMIT) as server, upgraded(server.port) as wire:
        wire.send(frame(Opcode.TEXT, b" " * LIMIT), fragments(b" " * LIMIT, b""), frame(Opcode.CONTINUATION))
        for _ in range(2):
            event, data = await wire.receive_event()
            assert (event, data["code"]) == ("error", "invalid_json")


async def test_the_limit_of_a_message_is_a_larger_one_after_the_login(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(max_login_size=LIMIT, max_message_size=4 * LIMIT) as server,
        undisturbed(server, caplog),
        upgraded(server.port, resumable=False) as wire,
    ):
        wire.send(frame(Opcode.TEXT, b" " * 4 * LIMIT))
        assert (await wire.receive_event())[1]["code"] == "invalid_json"
        wire.send(frame(Opcode.TEXT, b" " * (4 * LIMIT + 1)))
        assert await wire.close_code() == 1009


async def test_unsolicited_pongs_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), upgraded(server.port) as wire:
        wire.send(frame(Opcode.PONG, b"unasked") * 1000, frame(Opcode.PONG))
        assert await wire.login()


async def test_pings_within_a_fragmented_message_are_answered() -> None:
    async with serving() as server, upgraded(server.port) as wire:
        wire.send(
            fragments(b'{"event": "login", '), frame(Opcode.PING, b"x"), frame(Opcode.CONTINUATION, b'"data": {}}')
        )
        assert await wire.receive() == (Opcode.PONG, b"x")
        assert (await wire.receive_event())[0] == "login_response"


async def test_whoever_pings_and_never_reads_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), upgraded(server.port, receive_buffer=4096) as wire:
        flood = frame(Opcode.PING, bytes(125)) * 1000
        while await wire.push(flood):
            pass
        assert await wire.close_code() == ABNORMAL
        await _alone(server)


async def test_whoever_stops_within_a_frame_is_closed_for_its_silence(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(login_timeout=0.2) as server, undisturbed(server, caplog), upgraded(server.port) as wire:
        wire.send(text("login")[:10])
        assert await wire.close_code() == 4502


async def test_whoever_leaves_within_a_message_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog):
        async with upgraded(server.port) as wire:
            wire.send(fragments(b'{"event": '))
        await _alone(server)


async def _alone(server: AgentServer) -> None:
    """Wait until the neighbour's connection is the only one."""
    await eventually(lambda: len(server.connections) == 1)
