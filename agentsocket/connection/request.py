"""The head of an HTTP request, gathered from what comes and read once: strictly, and for little (RFC 9112).

The library's own reader takes GET alone in its older releases, reads a request with a body as none, and goes over what
has come again with each piece of it. What is not to its liking it closes without a word.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request as LibraryRequest

MAX_HEAD: Final = 32 * 1024
MAX_LINE: Final = 8192
MAX_HEADERS: Final = 128

MAX_PIECES: Final = 1000
"""Reads that a head may come in: each costs as much as all that is done with one of a kilobyte."""

MAX_EXTENSIONS: Final = 1024
"""Bytes of offered extensions that are looked at; a longer offer is declined."""

END: Final = b"\r\n\r\n"

CLEAN: Final = re.compile(rb"(?:(?<=\r)\n)?(?:[\t\x20-\x7e\x80-\xff]++|\r\n)*+\r?")
"""What may stand in a head: no control characters, and no half of a line's end but at the end of what has come."""

TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
LINE: Final = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(\d\.\d)")
TARGET: Final = re.compile(r"(?:(?:http|ws)s?://([^/?#]*))?([/?][^#]*)?", re.IGNORECASE)
HOST: Final = re.compile(r"(?:\[[-0-9A-Za-z:.%_~]+\]|[-.~!$&'()*+,;=%\w]*)(?::\d*)?", re.ASCII)

WEBSOCKET: Final = re.compile(r"(?:^|,)[ \t]*websocket[ \t]*(?:,|$)", re.IGNORECASE)
UPGRADE: Final = re.compile(r"(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)", re.IGNORECASE)
"""The items of a list that make a handshake."""


class BadRequest(Exception):  # noqa: N818  # so it is called wherever HTTP is spoken
    """No request that could be answered otherwise: the status, and a sentence."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    """Without its query: ``/healthz``; ``*`` where the whole server is meant."""
    query: str
    host: str
    """As the client calls the server, with the port where it names one; empty where it says nothing."""
    headers: Headers
    version: str = "1.1"

    @property
    def upgrades(self) -> bool:
        """Whether it is a WebSocket's handshake: every other protocol that it offers may be ignored (RFC 9110)."""
        return self.method == "GET" and self._lists("Upgrade", WEBSOCKET) and self._lists("Connection", UPGRADE)

    @property
    def has_body(self) -> bool:
        """Whether something comes behind the head that belongs to it."""
        lengths = self.headers.get_all("Content-Length")
        return "Transfer-Encoding" in self.headers or (bool(lengths) and int(lengths[0]) > 0)

    def _lists(self, name: str, item: re.Pattern[str]) -> bool:
        return item.search(",".join(self.headers.get_all(name))) is not None

    def for_library(self) -> LibraryRequest:
        """Return what the library has to see of a handshake.

        It checks what makes a WebSocket. What it would only look through stays away: that takes its time.
        """
        headers = Headers({"Upgrade": "websocket", "Connection": "Upgrade"})
        for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version"):
            for value in self.headers.get_all(name)[:2]:
                headers[name] = value[:64]
        offers = ", ".join(self.headers.get_all("Sec-WebSocket-Extensions"))
        if 0 < len(offers) <= MAX_EXTENSIONS:
            headers["Sec-WebSocket-Extensions"] = offers
        return LibraryRequest(self.path, headers)


class RequestReader:
    """Gathers the head of one request."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._pieces = 0
        self._knows_line = False

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._pieces > 0

    @property
    def early(self) -> bytes:
        """What came behind the head."""
        return bytes(self._data)

    def feed(self, data: bytes) -> Request | None:
        """Take what came; return the request once its head is whole.

        Raises:
            BadRequest: as soon as it cannot become one.
        """
        known = max(0, len(self._data) - len(END) + 1)
        self._data += data
        self._pieces += 1
        if known == 0 and self._data.startswith(b"\r\n"):
            del self._data[:2]  # an empty line in front is overlooked (RFC 9112, section 2.2)
        end = self._data.find(END, known, MAX_HEAD)
        if not CLEAN.fullmatch(self._data, known, len(self._data) if end < 0 else end + len(END)):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
        if end < 0:
            if len(self._data) > MAX_HEAD or self._pieces >= MAX_PIECES:
                raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.")
            if not self._knows_line:
                self._look_at_line()
            return None
        head = bytes(self._data[:end])
        del self._data[: end + len(END)]
        return _read(head)

    def _look_at_line(self) -> None:
        """Have a bad request answered although its head never ends."""
        line = self._data.find(b"\r\n", 0, MAX_LINE + 2)
        if line >= 0:
            _read_line(bytes(self._data[:line]))
            self._knows_line = True
        elif len(self._data) > MAX_LINE:
            raise BadRequest(HTTPStatus.REQUEST_URI_TOO_LONG, "The request line is too long.")


def _read(head: bytes) -> Request:
    lines = head.split(b"\r\n", MAX_HEADERS + 1)
    if len(lines[0]) > MAX_LINE:
        raise BadRequest(HTTPStatus.REQUEST_URI_TOO_LONG, "The request line is too long.")
    if len(lines) > MAX_HEADERS + 1 or any(len(line) > MAX_LINE for line in lines):
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.")
    method, target, version = _read_line(lines[0])
    headers = Headers()
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or TOKEN.fullmatch(name) is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "A header is malformed.")
        headers[name.decode("ascii")] = value.strip(b" \t").decode("latin-1")
    _check_body(headers)
    path, query, authority = _split_target(target, method)
    host = _host(headers, version)
    return Request(method, path, query, host if authority is None else authority, headers, version)


def _read_line(line: bytes) -> tuple[str, str, str]:
    match = LINE.fullmatch(line)
    if match is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "This is no HTTP request.")
    method, target, version = (part.decode("ascii") for part in match.groups())
    if not version.startswith("1."):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "This server speaks HTTP/1.1.")
    return method, target, version


def _split_target(target: str, method: str) -> tuple[str, str, str | None]:
    """Return path, query, and the host where the target names one, as it does to a proxy."""
    if method in {"OPTIONS", "CONNECT"} and not target.startswith("/"):
        return "*", "", None
    match = TARGET.fullmatch(target)
    if match is None or (match[1] is not None and HOST.fullmatch(match[1]) is None):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The request's target is malformed.")
    path, _, query = (match[2] or "").partition("?")
    return path or "/", query, match[1]


def _host(headers: Headers, version: str) -> str:
    hosts = headers.get_all("Host")
    if len(hosts) != 1 and (hosts or version != "1.0"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "A request has one Host.")
    host = hosts[0] if hosts else ""
    if HOST.fullmatch(host) is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The Host is malformed.")
    return host


def _check_body(headers: Headers) -> None:
    """Hold that a body's length can be meant in one way only (RFC 9112, section 6.3)."""
    lengths = set(headers.get_all("Content-Length"))
    if len(lengths) > 1 or (lengths and "Transfer-Encoding" in headers):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The body has more than one length.")
    if not all(length.isascii() and length.isdigit() and len(length) < 16 for length in lengths):  # noqa: PLR2004
        raise BadRequest(HTTPStatus.BAD_REQUEST, "The Content-Length is no number.")
