"""Files between a turn and a framework: what the client has attached, and what tools and models bring."""

import asyncio
import base64
import logging
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from agentsocket.agent.contract import AgentError, Turn

MOST: Final = 20 * 1024 * 1024
"""Bytes of all attachments together that a model gets: no provider takes much more in one request."""

MEDIA: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/", "application/pdf")
"""How the types of files begin that there are models for."""

MOST_TEXT: Final = 256 * 1024
"""Bytes of one text file that a model gets."""

SLICE: Final = 256 * 1024
"""Characters of base64, divisible by four, that are made or read at once: the interpreter does nothing else then."""

NOTE: Final = "[Attached file: "
"""How the note on an attached file begins."""

MOST_VALUES, DEPTH = 1000, 5
"""How many values of a tool's result are looked at for files, and how deep."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that the client has attached."""

    name: str
    media_type: str
    note: str
    """A line that tells a model of it. It stands for the file where the model cannot have it."""
    data: bytes | None
    """Its bytes; None where it is too large for a model. The tools find it in ``current_turn().attachments``."""
    text: str | None
    """What it says, under the note, where it is a text: every model can read that."""

    @property
    def media(self) -> bytes | None:
        """Its bytes, where it is a picture or document of a type that there are models for."""
        return self.data if self.text is None and self.media_type.startswith(MEDIA) else None


async def attached(turn: Turn) -> list[Attached]:
    """Return what a turn's client has attached.

    Raises:
        OSError: if a file is gone: its session has ended.
    """
    files, room = [], MOST
    for file in turn.attachments:
        note = f"{NOTE}{_description(file.name, file.media_type, file.size)}]"
        data = await file.read() if file.size <= room else None
        room -= len(data or b"")
        text = None if data is None else _as_text(data, file.media_type)
        files.append(Attached(file.name, file.media_type, note, data, None if text is None else f"{note}\n{text}"))
    return files


def weight(files: list[Attached]) -> int:
    """Return how many bytes of files these are, for the conversation's memory."""
    return sum(len(file.data or b"") for file in files)


async def data_url(data: bytes, media_type: str) -> str:
    """Return a file as a ``data:`` URL, made in a thread."""
    return await asyncio.to_thread(lambda: f"data:{media_type};base64,{as_base64(data)}")


def as_base64(data: bytes) -> str:
    """Return a file as base64, for a thread."""
    size = SLICE // 4 * 3  # a whole number of groups, so that the parts can be joined
    return "".join(base64.b64encode(data[start : start + size]).decode() for start in range(0, len(data), size))


class File(NamedTuple):
    """A file or picture that a framework has: its bytes, or text that is base64 or a ``data:`` URL."""

    data: bytes | str
    name: str | None = None
    media_type: str | None = None


async def send(file: File, turn: Turn, tool_call_id: str | None = None) -> str:
    """Send it to the client; return a note that stands where it stood. Where there is no room for it, the log says so.

    A turn goes on without its picture.
    """
    data, media_type = file.data, file.media_type
    try:
        if isinstance(data, str):
            data, media_type = await asyncio.to_thread(_decoded, data, media_type)
    except ValueError:
        logger.warning("A file of an agent's was not sent: it is no base64")
        return f"[{file.name or 'file'}: not sent]"
    name = file.name or _name(media_type)
    described = _description(name, media_type, len(data))
    try:
        await turn.send_file(data, name=name, media_type=media_type, tool_call_id=tool_call_id)
    except AgentError as exc:
        logger.warning("A file of an agent's was not sent: %s", exc)
        return f"[{described}: not sent. {exc}]"
    return f"[{described}]"


async def without_files(value: Any, turn: Turn, tool_call_id: str | None, file_in: Callable[[Any], File | None]) -> Any:
    """Return a tool's result with a note in place of each file, which is sent to the client.

    Lists and dicts are looked into; ``file_in`` says what is a file, in whichever form the framework has it. A client
    that does not understand files has it as it is.
    """
    if "files" not in turn.features:
        return value
    return await _Search(lambda file: send(file, turn, tool_call_id), file_in).through(value, DEPTH)


class _Search:
    def __init__(self, send_one: Callable[[File], Awaitable[str]], file_in: Callable[[Any], File | None]) -> None:
        self._send, self._file_in = send_one, file_in
        self._left = MOST_VALUES

    async def through(self, value: Any, depth: int) -> Any:
        """Return the value as it was where there is no file in it."""
        self._left -= 1
        if self._left < 0 or not depth or isinstance(value, str):
            return value
        if file := self._file_in(value):
            return await self._send(file)
        if isinstance(value, dict) and len(value) <= self._left:
            found = {key: await self.through(each, depth - 1) for key, each in value.items()}
            return value if all(found[key] is each for key, each in value.items()) else found
        if isinstance(value, list | tuple) and len(value) <= self._left:
            items = [await self.through(each, depth - 1) for each in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items
        return value


def _description(name: str, media_type: str | None, size: int) -> str:
    return ", ".join(filter(None, (name, media_type, f"{size:,} bytes")))


def _name(media_type: str | None) -> str:
    """Name a file that has no name by what it is: ``image.png``."""
    kind = (media_type or "").partition("/")[0]
    stem = kind if kind in {"image", "audio", "video"} else "file"
    return stem + (mimetypes.guess_extension(media_type or "") or "")


def _as_text(data: bytes, media_type: str) -> str | None:
    """Return a file's text, whatever it calls itself: browsers call CSV a spreadsheet, and most code nothing at all."""
    is_picture = media_type.startswith(("image/", "audio/", "video/")) and media_type != "image/svg+xml"
    if is_picture or media_type == "application/pdf" or len(data) > MOST_TEXT or b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _decoded(text: str, media_type: str | None) -> tuple[bytes, str | None]:
    """Return the bytes of base64 or a ``data:`` URL, with the type that this has.

    Raises:
        ValueError: for what is neither.
    """
    if text.startswith("data:"):
        head, _, text = text[5:].partition(",")
        media_type = head.partition(";")[0] or media_type
        if not head.endswith(";base64"):
            return unquote_to_bytes(text), media_type
    text = "".join(text.split())
    parts = [base64.b64decode(text[start : start + SLICE], validate=True) for start in range(0, len(text), SLICE)]
    return b"".join(parts), media_type
