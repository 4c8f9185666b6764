"""Files within what is remembered: they stand in it by their ids, and their bytes are read from the session's files."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from agentsocket.agent.adapters.content import NOTE, as_base64
from agentsocket.agent.contract import Attachment

BOM = 3
"""Bytes that a text may begin with and that are no part of it."""


class Place(BaseModel):
    """Where in a value of JSON a file belongs, and how it is written there."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    at: list[str | int]
    file_id: str
    form: Literal["base64", "base64url", "text"]
    before: str = ""
    """What stands before it in the same text: the beginning of a ``data:`` URL, or a note."""


class _Text(NamedTuple):
    """A text that may be a file's."""

    place: Place
    body: str
    sizes: tuple[int, ...]
    """Bytes that the file may have."""


async def take_out(value: Any, files: Mapping[str, Attachment]) -> tuple[Any, list[Place]]:
    """Return a value of JSON with nothing in the place of each of these files, and where they were."""
    by_size: dict[int, list[str]] = {}
    for file_id, file in files.items():
        if file.size:
            by_size.setdefault(file.size, []).append(file_id)
    places: list[Place] = []
    if by_size:
        for text in _texts(value, []):
            for file_id in (found for size in text.sizes for found in by_size.get(size, ())):
                if await _is_in(text, files[file_id]):
                    places.append(text.place.model_copy(update={"file_id": file_id}))
                    break
    for place in places:
        value = _with(value, place.at, "")
    return value, places


async def put_back(value: Any, places: list[Place], files: Mapping[str, Attachment]) -> Any:
    """Return a value of JSON with the files where they were; the value itself stays as it is.

    Raises:
        LookupError: if one of them is gone.
        OSError: if one cannot be read.
    """
    for place in places:
        data = await files[place.file_id].read()
        value = _with(value, place.at, place.before + await asyncio.to_thread(_written, data, place.form))
    return value


def _texts(value: Any, at: list[str | int]) -> Iterator[_Text]:
    if isinstance(value, str):
        yield _text(value, at)
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(each, [*at, key])


def _text(text: str, at: list[str | int]) -> _Text:
    if text.startswith(NOTE) and "\n" in text:
        head, _, body = text.partition("\n")
        size = len(body.encode(errors="surrogatepass"))
        return _Text(Place(at=at, file_id="", form="text", before=f"{head}\n"), body, (size, size + BOM))
    head, comma, body = text.partition(",") if text.startswith("data:") else ("", "", text)
    form: Literal["base64", "base64url"] = "base64url" if "-" in body or "_" in body else "base64"
    sizes = () if len(body) % 4 else (len(body) // 4 * 3 - body[-2:].count("="),)
    return _Text(Place(at=at, file_id="", form=form, before=head + comma), body, sizes)


async def _is_in(text: _Text, file: Attachment) -> bool:
    try:
        data = await file.read()
        return await asyncio.to_thread(lambda: _written(data, text.place.form) == text.body)
    except (OSError, UnicodeDecodeError):  # it is gone, or no text
        return False


def _written(data: bytes, form: str) -> str:
    if form == "text":
        return data.decode("utf-8-sig")
    coded = as_base64(data)
    return coded.replace("+", "-").replace("/", "_") if form == "base64url" else coded


def _with(value: Any, at: list[str | int], text: str) -> Any:
    """Return a value with a text in this place, and all that is not on the way there shared with the old one."""
    if not at:
        return text
    key, rest = at[0], at[1:]
    changed: Any = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = _with(value[key], rest, text)
    return changed
