"""How a file is answered for: its headers, and which part of it was asked for (RFC 9110, section 14)."""

import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from websockets.datastructures import Headers
from websockets.http11 import Response

from agentsocket.connection.request import Request
from agentsocket.files.kinds import UNKNOWN_TYPE, is_shown
from agentsocket.files.store import StoredFile

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Accept-Ranges": "bytes",
    "Connection": "close",
}
"""Whatever is in a file, a page can neither be made of it nor learn where it came from."""

RANGE: Final = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*", re.ASCII | re.IGNORECASE)
"""One range. Of several, as of what is no range, all of the file may be answered."""


class FileResponse(Response):
    """The head of an answer; its body is read while it is sent."""

    def __init__(self, status: HTTPStatus, headers: Headers, file: StoredFile, part: range) -> None:
        super().__init__(status, status.phrase, headers, b"")
        self.file = file
        self.part = part
        """The bytes that are sent."""


def respond(file: StoredFile, request: Request) -> FileResponse:
    """Return the answer to a GET or HEAD request for a file."""
    shown = is_shown(file.media_type)
    headers = Headers(HEADERS)
    headers["Date"] = formatdate(usegmt=True)
    headers["Content-Type"] = file.media_type if shown else UNKNOWN_TYPE
    disposition = "inline" if shown else "attachment"
    headers["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{quote(file.name, safe='')}"
    part = _part(request, file.size)
    status = HTTPStatus.OK
    if part is None:
        status, part = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, range(0)
        headers["Content-Range"] = f"bytes */{file.size}"
    elif len(part) < file.size:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    headers["Content-Length"] = str(len(part))
    return FileResponse(status, headers, file, part)


def _part(request: Request, size: int) -> range | None:
    """Return which bytes are asked for; none where there are no such bytes."""
    ranges = request.headers.get_all("Range")
    # With If-Range, only of a version that nothing here has a name for.
    match = RANGE.fullmatch(ranges[0]) if len(ranges) == 1 and "If-Range" not in request.headers else None
    if match is None or request.method != "GET":
        return range(size)
    first, last, of_the_end = match.groups()
    if of_the_end is not None:
        part = range(max(0, size - int(of_the_end)), size)
    elif last and int(last) < int(first):
        return range(size)  # that is no range
    else:
        part = range(int(first), min(size, int(last) + 1) if last else size)
    return part or None
