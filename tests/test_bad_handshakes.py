"""What comes instead of a proper opening handshake, and what it gets for an answer."""

import time

import pytest

from agentsocket.connection.request import MAX_HEAD, BadRequest, RequestReader
from tests.support import serving
from tests.wire import KEY, Opcode, frame, handshake, undisturbed, wired

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(506)
LONG = "X" * 8000

NO_ANSWER = None
"""The connection is closed, or reset."""

ANSWERS: dict[str, tuple[bytes, int | None]] = {
    "garbage bytes": (bytes(range(256)) * 4, 400),
    "garbage lines": (b"\xff\xfe\r\n\r\n" * 20, 400),
    "a TLS hello on the plain port": (TLS_HELLO, 400),
    "20 kB without a newline": (b"G" * 20_000, 414),
    "a long path": (handshake(path="/" + "x" * 9000), 414),
    "a header of 9 kB": (handshake("X-Long: " + "x" * 9000), 431),
    "130 headers": (handshake(*(f"X-{n}: 1" for n in range(130))), 431),
    "a megabyte of valid headers": (handshake(*(f"X-{n}: {LONG}" for n in range(120))), 431),
    "control characters in the path": (handshake(path="/\x07\x1b[31m\x00"), 400),
    "control characters in a header": (handshake("X-A: \x00\x1b[31m"), 400),
    "a path that is not ASCII": (handshake(path="/ä"), 400),
    "a space in the path": (handshake(path="/a b"), 400),
    "a path without its slash": (handshake(path="healthz"), 400),
    "two spaces in the request line": (handshake().replace(b"GET ", b"GET  "), 400),
    "a tab in the request line": (handshake().replace(b"GET ", b"GET\t"), 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "lines that end in LF alone": (handshake().replace(b"\r\n", b"\n"), 400),
    "one line that ends in LF alone": (handshake("X-A: 1").replace(b"X-A: 1\r\n", b"X-A: 1\n"), 400),
    "a CR within a header": (handshake("X-A: 1\rX-B: 2"), 400),
    "a folded header": (handshake("X-A: 1", " 2"), 400),
    "a space before the colon": (handshake("X-A : 1"), 400),
    "a header without a name": (handshake(": 1"), 400),
    "a header without a colon": (handshake("X-A"), 400),
    "a header's name in brackets": (handshake("X(A): 1"), 400),
    "a Host that is none": (handshake(host="a b"), 400),
    "a Host with a user": (handshake(host="me@localhost"), 400),
    "two lengths": (handshake("Content-Length: 1", "Content-Length: 2"), 400),
    "a length and chunks": (handshake("Content-Length: 1", "Transfer-Encoding: chunked"), 400),
    "a length with a sign": (handshake("Content-Length: +1"), 400),
    "a handshake with a body": (handshake("Content-Length: 4") + b"body", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no Host": (handshake(host=None), 400),
    "an empty Host": (handshake(host=""), 101),
    "two Hosts": (handshake("Host: localhost"), 400),
    "no key": (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "two keys": (handshake(f"Sec-WebSocket-Key: {KEY}"), 400),
    "a short key": (handshake().replace(KEY.encode(), b"AAAA"), 400),
    "a key that is not base64": (handshake().replace(KEY.encode(), b"!" * 24), 400),
    "a wrong version": (handshake().replace(b"Version: 13", b"Version: 12"), 400),
    "Upgrade without Connection": (handshake().replace(b"Connection: Upgrade", b"Connection: close"), 200),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "two Origins": (handshake("Origin: http://localhost", "Origin: http://localhost"), 403),
    "a foreign Origin": (handshake("Origin: http://evil.example"), 403),
    "the Origin null": (handshake("Origin: null"), 403),
    "an Origin that is no URL": (handshake("Origin: http://[::1:99999"), 403),
    "an Origin full of control characters": (handshake("Origin: http://\xff\x80\x9b31m" + "x" * 500), 403),
    "a foreign Host with its own Origin": (handshake("Origin: http://evil.example", host="evil.example"), 403),
    "a foreign Host with a loopback Origin": (handshake("Origin: http://localhost", host="evil.example"), 403),
    "GET without upgrade": (handshake(path="/nowhere", upgrade=False), 404),
    "POST": (handshake(method="POST", upgrade=False), 405),
    "POST with a body": (handshake("Content-Length: 4", method="POST", upgrade=False) + b"body", 405),
    "a chunked body": (handshake("Transfer-Encoding: chunked", method="POST") + b"4\r\nbody\r\n0\r\n\r\n", 405),
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


async def test_half_a_request_and_then_the_end_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), wired(server.port) as wire:
        wire.send(handshake()[:60])
        wire.writer.write_eof()
        assert await wire.status() == 400
        assert await wire.lost()


async def test_a_handshake_may_come_byte_by_byte() -> None:
    reader = RequestReader()
    *pieces, last = (bytes([byte]) for byte in b"\r\n" + handshake("Origin: http://localhost"))
    assert [reader.feed(piece) for piece in pieces if piece] == [None] * len(pieces)
    request = reader.feed(last)
    assert request is not None
    assert request.upgrades
    assert reader.early == b""


SHAPES = {
    "many headers": "".join(f"x{n}:1\r\n" for n in range(4000)),
    "long headers": "".join(f"X-{n}: {'x' * 8000}\r\n" for n in range(3)),
    "spaces": "".join(f"X-{n}: {' ' * 8000}\r\n" for n in range(3)),
    "a Connection of many items": f"Connection: {'a,' * 3500}\r\n" * 4,
    "an Upgrade of many items": f"Upgrade: {'a,' * 3500}\r\n" * 4,
    "extensions": f"Sec-WebSocket-Extensions: {'a;b=c,' * 1200}\r\n" * 4,
    "subprotocols": f"Sec-WebSocket-Protocol: {'a,' * 3500}\r\n" * 4,
    "many subprotocols": "Sec-WebSocket-Protocol: a\r\n" * 120,
    "addresses": f"X-Forwarded-For: {'1.2.3.4,' * 1000}\r\n" * 3,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("size", [1, 16, 1460, MAX_HEAD])
def test_thirty_kilobytes_of_headers_are_read_for_little_however_they_come(shape: str, size: int) -> None:
    request = handshake(shape.removesuffix("\r\n"))
    best = min(_seconds(request, size) for _ in range(3))
    assert best < 0.003


def _seconds(data: bytes, size: int) -> float:
    """Return the CPU time that the request takes until the library has it."""
    reader, pieces = RequestReader(), [data[at : at + size] for at in range(0, len(data), size)]
    started = time.process_time()
    try:
        for piece in pieces:
            if (request := reader.feed(piece)) is not None:
                assert request.upgrades
                request.for_library()
                break
    except BadRequest:
        pass
    return time.process_time() - started
