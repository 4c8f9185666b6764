"""The browser console: the files of ``web/``, answered from memory to plain HTTP requests."""

from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

FOLDER: Final = Path(__file__).parent / "web"

CONTENT_TYPES: Final = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)

# The page loads its own files, talks to its own server, and that is all: whatever an agent says, nothing can be run,
# loaded or sent elsewhere. "self" covers the WebSocket of the same host and port.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)

HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-cache",
        "Connection": "close",
    }
)


class Console:
    """Answers a request for one of its files; they are read once, so that no path can ever lead out of the folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read the files.

        Raises:
            OSError: if the folder or a file in it cannot be read.
        """
        files = {f"/{path.name}": path for path in folder.iterdir() if path.suffix in CONTENT_TYPES}
        # Browsers ask for an icon by this name of whatever is no page.
        files |= {"/": folder / "index.html", "/favicon.ico": folder / "icon.svg"}
        self._files = MappingProxyType(
            {name: (CONTENT_TYPES[path.suffix], path.read_bytes()) for name, path in files.items()}
        )

    def respond(self, path: str) -> Response | None:
        """Return the answer to a GET request for ``path``, or None if there is no such file."""
        content_type, body = self._files.get(path.partition("?")[0], (None, b""))
        if content_type is None:
            return None
        headers = Headers(HEADERS)
        headers["Content-Type"] = content_type
        headers["Content-Length"] = str(len(body))
        headers["Date"] = formatdate(usegmt=True)
        return Response(HTTPStatus.OK, "OK", headers, body)
