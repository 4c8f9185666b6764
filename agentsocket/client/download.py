"""A file of an agent's, fetched by its path on the server; after a break the rest of it."""

import asyncio
import contextlib
import io
import os
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from itertools import islice
from pathlib import Path
from typing import Final

from websockets.headers import build_authorization_basic, build_host
from websockets.uri import parse_uri

from agentsocket.client.errors import ConnectionLost, FileError
from agentsocket.client.link import ANSWER_WITHIN, open_stream
from agentsocket.client.threads import made
from agentsocket.protocol.events import AgentFile

PIECE: Final = 64 * 1024
"""Bytes that are read and written at once."""

TRIES: Final = 6
"""Attempts in a row that may bring nothing."""

MAX_WAIT: Final = 30.0
"""Seconds that a server may ask to wait before the next attempt."""

LATER: Final = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Answers that may be another one soon."""

TARGET: Final = re.compile(r"/[!-~]*")
RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)


class Interrupted(Exception):  # noqa: N818  # no error yet: there is another attempt
    """The file did not come to its end. ``wait`` is the seconds that the server asks for."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


async def fetch(uri: str, file: AgentFile, delays: Callable[[], Iterable[float]]) -> bytes:
    """Return the bytes of a file of the server's at this address. Raises as the client's ``download``."""
    data = bytearray()

    async def add(piece: bytes) -> None:
        data.extend(piece)

    await _fetch(uri, file, delays, add)
    return bytes(data)


async def fetch_to(path: Path, uri: str, file: AgentFile, delays: Callable[[], Iterable[float]]) -> Path:
    """Write a file, which has its name only once it is whole. Raises as the client's ``download``."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")

    def undo(out: io.FileIO) -> None:
        out.close()
        part.unlink(missing_ok=True)

    async with made(lambda: part.open("xb", buffering=0), undo) as out:
        await _fetch(uri, file, delays, lambda piece: asyncio.to_thread(_write, out, piece))
        os.replace(part, path)  # noqa: PTH105  # at once, so that a cancel comes before it or after it
    return path


def _write(out: io.FileIO, data: bytes) -> None:
    while data:
        data = data[out.write(data) :]


async def _fetch(
    uri: str, file: AgentFile, delays: Callable[[], Iterable[float]], take: Callable[[bytes], Awaitable[None]]
) -> None:
    if not TARGET.fullmatch(file.url):
        raise FileError("The file has no path on the server.")
    done, waits = 0, islice(delays(), TRIES)
    while True:
        before = done
        try:
            async with contextlib.aclosing(_pieces(uri, file, done)) as pieces:
                async for piece in pieces:
                    await take(piece)
                    done += len(piece)
            if done == file.size:
                return
            raise Interrupted("The connection was lost.")  # noqa: TRY301  # as if it had been noticed while reading
        except Interrupted as exc:
            if done > before:
                waits = islice(delays(), TRIES)
            if (wait := next(waits, None)) is None:
                raise FileError(f"The file could not be fetched: {exc}") from exc
            await asyncio.sleep(wait + exc.wait)


async def _pieces(uri: str, file: AgentFile, start: int) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a file from ``start`` on.

    Raises:
        FileError: if it is not there, or not that file.
        Interrupted: if it may come at another attempt.
    """
    try:
        async with _answer(uri, file.url, start) as (reader, status, headers):
            skip = start - _first(status, headers, file, start)
            left = file.size - start
            async with contextlib.aclosing(_body(reader, headers)) as pieces:
                while left and (piece := await anext(pieces, b"")):
                    rest, skip = piece[skip:], max(0, skip - len(piece))
                    if len(rest) > left:
                        raise FileError("The file is longer than it was said to be.")
                    left -= len(rest)
                    yield rest
    except ConnectionLost as exc:
        raise Interrupted(str(exc)) from exc
    except (OSError, EOFError) as exc:
        raise Interrupted("The connection was lost.") from exc
    except (ValueError, HTTPException, asyncio.LimitOverrunError) as exc:
        raise FileError("The server's answer is no HTTP.") from exc


@contextlib.asynccontextmanager
async def _answer(uri: str, target: str, start: int) -> AsyncIterator[tuple[asyncio.StreamReader, int, Message]]:
    """Ask for a file, and have the head of the answer read."""
    reader, writer = await open_stream(uri)
    try:
        writer.write(_request(uri, target, start))
        status = 100
        async with asyncio.timeout(ANSWER_WITHIN):
            while status < HTTPStatus.OK:
                line, _, fields = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
                status = int(line.split()[1])
        yield reader, status, parse_headers(io.BytesIO(fields))
    except IndexError as exc:
        raise ValueError("no status line") from exc
    finally:
        writer.transport.abort()


def _request(uri: str, target: str, start: int) -> bytes:
    server = parse_uri(uri)
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {build_host(server.host, server.port, server.secure)}",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    if server.username is not None and server.password is not None:
        lines.append(f"Authorization: {build_authorization_basic(server.username, server.password)}")
    if start:
        lines.append(f"Range: bytes={start}-")
    return "\r\n".join([*lines, "", ""]).encode()


def _first(status: int, headers: Message, file: AgentFile, start: int) -> int:
    """Return the offset of the first byte that an answer brings."""
    if status in LATER:
        wait = headers.get("Retry-After", "")
        raise Interrupted(f"The server answers {status}.", min(float(wait), MAX_WAIT) if wait.isdigit() else 0.0)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise FileError("The server has no such file any more.")
    first, size = 0, headers.get("Content-Length")
    if status == HTTPStatus.PARTIAL_CONTENT and (told := RANGE.fullmatch(headers.get("Content-Range", ""))):
        first, size = int(told[1]), told[2]
    elif status != HTTPStatus.OK:
        raise FileError(f"The server answers {status}.")
    if first > start or (size is not None and int(size) != file.size):
        raise FileError("The server has another file than it has told of.")
    return first


async def _body(reader: asyncio.StreamReader, headers: Message) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an answer; they may end too early."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        async with contextlib.aclosing(_exactly(reader, None)) as pieces:
            async for piece in pieces:
                yield piece
        return
    while size := int((await _bounded(reader.readline())).split(b";")[0], 16):
        async with contextlib.aclosing(_exactly(reader, size)) as pieces:
            async for piece in pieces:
                yield piece
        await _bounded(reader.readline())


async def _exactly(reader: asyncio.StreamReader, size: int | None) -> AsyncGenerator[bytes, None]:
    """Yield so many bytes, or all up to the end."""
    while size is None or size > 0:
        piece = await _bounded(reader.read(PIECE if size is None else min(PIECE, size)))
        if not piece:
            if size is None:
                return
            raise EOFError
        size = None if size is None else size - len(piece)
        yield piece


async def _bounded(reading: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(ANSWER_WITHIN):
        return await reading
