"""What comes instead of a proper opening handshake, and what it gets for an answer."""

import pytest

from tests.support import serving
from tests.wire import KEY, Opcode, frame, handshake, undisturbed, wired

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(506)
LONG = "X" * 8000

NO_ANSWER = None
"""The connection is closed, or reset."""

ANSWERS: dict[str, tuple[bytes, int | None]] = {
    "garbage bytes": (bytes(range(256)) * 4, NO_ANSWER),
    "garbage lines": (b"\xff\xfe\r\n\r\n" * 20, NO_ANSWER),
    "a TLS hello on the plain port": (TLS_HELLO, NO_ANSWER),
    "20 kB without a newline": (b"G" * 20_000, 414),
    "a long path": (handshake(path="/" + "x" * 9000), 414),
    "a header of 9 kB": (handshake("X-Long: " + "x" * 9000), 431),
    "130 headers": (handshake(*(f"X-{n}: 1" for n in range(130))), 431),
    "a megabyte of valid headers": (handshake(*(f"X-{n}: {LONG}" for n in range(120))), NO_ANSWER),
    "control characters in the path": (handshake(path="/\x07\x1b[31m\x00"), 101),
    "control characters in a header": (handshake("X-A: \x00\x1b[31m"), NO_ANSWER),
    "a path that is not ASCII": (handshake(path="/ä"), NO_ANSWER),
    "no Host": (handshake(host=None), 400),
    "an empty Host": (handshake(host=""), 101),
    "two Hosts": (handshake("Host: localhost"), 400),
    "no key": (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "two keys": (handshake(f"Sec-WebSocket-Key: {KEY}"), 400),
    "a short key": (handshake().replace(KEY.encode(), b"AAAA"), 400),
    "a key that is not base64": (handshake().replace(KEY.encode(), b"!" * 24), 400),
    "a wrong version": (handshake().replace(b"Version: 13", b"Version: 12"), 400),
    "another protocol": (handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "two Origins": (handshake("Origin: http://localhost", "Origin: http://localhost"), 403),
    "a foreign Origin": (handshake("Origin: http://evil.example"), 403),
    "the Origin null": (handshake("Origin: null"), 403),
    "an Origin that is no URL": (handshake("Origin: http://[::1:99999"), 403),
    "an Origin full of control characters": (handshake("Origin: http://\xff\x80\x9b31m" + "x" * 500), 403),
    "a foreign Host with its own Origin": (handshake("Origin: http://evil.example", host="evil.example"), 403),
    "a foreign Host with a loopback Origin": (handshake("Origin: http://localhost", host="evil.example"), 403),
    "GET without upgrade": (handshake(path="/nowhere", upgrade=False), 404),
    "HEAD": (handshake(method="HEAD", upgrade=False), 405),
    "POST": (handshake(method="POST", upgrade=False), 405),
    "POST with a body": (handshake("Content-Length: 4", method="POST", upgrade=False) + b"body", NO_ANSWER),
    "a chunked body": (handshake("Transfer-Encoding: chunked", method="POST") + b"4\r\nbody\r\n0\r\n\r\n", NO_ANSWER),
    "silence": (b"", NO_ANSWER),
    "half a handshake": (handshake()[:60], NO_ANSWER),
}


@pytest.mark.parametrize(("request_bytes", "status"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_bad_handshake_gets_its_answer(
    request_bytes: bytes, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(handshake_timeout=0.2) as server, undisturbed(server, caplog), wired(server.port) as wire:
        wire.send(request_bytes)
        assert await wire.status() == status
        if status != 101:
            assert await wire.lost()


async def test_of_two_pipelined_requests_one_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), wired(server.port) as wire:
        wire.send(handshake(path="/nowhere", upgrade=False) * 2)
        assert await wire.status() == 404
        assert await wire.status() is None


EARLY = {
    "a ping": (frame(Opcode.PING, b"x"), (Opcode.PONG, b"x")),
    "a close": (frame(Opcode.CLOSE, b"\x03\xe8"), (Opcode.CLOSE, b"\x03\xe8")),
    "half a frame": (frame(Opcode.PING, b"x")[:3], None),
    "garbage": (b"\xff" * 100, (Opcode.CLOSE, b"\x03\xea" + b"invalid opcode")),
}


@pytest.mark.parametrize(("early", "answer"), EARLY.values(), ids=EARLY.keys())
async def test_what_comes_before_the_handshake_is_answered_waits_for_that(
    early: bytes, answer: tuple[int, bytes] | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(login_timeout=0.2) as server, undisturbed(server, caplog), wired(server.port) as wire:
        wire.send(handshake(), early)
        assert await wire.status() == 101
        received = await wire.receive()
        assert received == answer or (answer is None and received and received[1][:2] == b"\x11\x96")


async def test_a_handshake_that_drips_in_is_cut_at_the_time_for_handshakes(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(handshake_timeout=0.5) as server, undisturbed(server, caplog), wired(server.port) as wire:
        # Ten bytes a second: after five of them it is cut.
        for byte in handshake()[:10]:
            wire.send(bytes([byte]))
            if await wire.lost(within=0.1):
                return
        pytest.fail("it goes on")
