"""From what an agent says to what can stand in a frame: clean text, JSON values, and the bytes of its output."""

from typing import Any

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, from_json, to_json

OUTPUT_LIMIT = 256 * 1024
"""Bytes of text, as JSON, in one ``agent_output`` or ``agent_reasoning``; more goes out as several, so that none blocks
the line for long."""

UTF8_CONTINUATION = range(0x80, 0xC0)


def clean(text: str) -> str:
    """Join surrogates that make a pair, and replace those that stand alone: the wire is UTF-8, which has none."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def jsonable(value: Any) -> JsonValue:
    """Return the value as the other side will read it; as text where JSON has no form for it.

    Models, dataclasses, sets, bytes (base64) and NaN (null) have one. A cycle, nesting over 200, an integer of more
    than 4,300 digits or a lone surrogate has none.
    """
    if type(value) is str:
        return clean(value)
    try:
        # Read back, because what can be written is more than what a client can read.
        return from_json(to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=str))  # type: ignore[no-any-return]  # from_json is typed Any
    except (PydanticSerializationError, ValueError):
        return as_text(value)


def newest(text: bytes, size: int) -> str:
    """Return the newest part of a text that takes at most ``size`` bytes as JSON.

    The text is UTF-8 as far as it has any: its first character may be cut, and surrogates stand as they came.
    """
    data = text[len(text) - size :] if size < len(text) else text
    start = next((number for number, byte in enumerate(data[:4]) if byte not in UTF8_CONTINUATION), len(data))
    part = clean(data[start:].decode(errors="surrogatepass"))
    while part and len(to_json(part)) > size:
        part = part[len(part) // 8 + 1 :]
    return part


def oldest(text: str, size: int) -> str:
    """Return the beginning of a clean text, as much of it as takes at most ``size`` bytes as JSON."""
    part = text[: max(0, size)]
    while part and len(to_json(part)) > size:
        part = part[: -(len(part) // 8 + 1)]
    return part


def as_text(value: Any) -> str:
    """Return any value as clean text."""
    try:
        return clean(str(value))
    except Exception:  # noqa: BLE001  # what a tool returned may raise anything: a huge integer does, or one too deep
        return f"<{type(value).__name__} that has no text>"


def numbered(frame: bytes, seq: int) -> bytes:
    """Add the number that a frame has in its session; the frame ends with the braces of its data and of itself."""
    return b'%s,"seq":%d}}' % (frame[:-2], seq)


# The frames that every task has are made without their models, which would take a seventh of all the time that a small
# request takes. tests/test_golden.py holds them to what the models say.


def received_frame(task_id: str, request_id: str | None) -> bytes:
    """Return the ``agent_request_received`` of a task."""
    given = b"" if request_id is None else b',"request_id":' + to_json(request_id)
    return b'{"event":"agent_request_received","data":{"task_id":"%s"%s}}' % (task_id.encode(), given)


def response_frame(task_id: str, response: str) -> bytes:
    """Return the ``agent_response`` of a task that has no usage to report; the text is clean."""
    return b'{"event":"agent_response","data":{"task_id":"%s","response":%s}}' % (task_id.encode(), to_json(response))


class TextEncoder:
    """The frames of one streamed text of a task. The part that is the same in all of them is encoded once."""

    def __init__(self, event: str, field: str, task_id: str) -> None:
        self._head = f'{{"event":"{event}","data":{{"task_id":"{task_id}","{field}":'.encode()
        self._held = ""

    def encode(self, text: str) -> tuple[bytes, ...]:
        """Return the frames of the next piece: one, several of a very long piece, or none while half a pair is held.

        A model streams tokens, and an emoji may be cut between two of them: a high surrogate at the end of a piece
        waits for the next one.
        """
        if not isinstance(text, str):
            raise TypeError(f"a piece of text is a str, not {type(text).__name__}")
        if not self._held:
            try:
                encoded = to_json(text)
            except PydanticSerializationError:
                pass  # there are surrogates
            else:
                if len(encoded) <= OUTPUT_LIMIT:
                    return (self._head + encoded + b"}}",)
        text = self._held + text
        cut = len(text) - ("\ud800" <= text[-1:] <= "\udbff")
        text, self._held = clean(text[:cut]), text[cut:]
        return tuple(self._head + to_json(part) + b"}}" for part in _split(text))

    def end(self) -> tuple[bytes, ...]:
        """Return the frame of what is still held, if anything is."""
        held, self._held = self._held, ""
        return self.encode(clean(held)) if held else ()


def _split(text: str) -> list[str]:
    data, parts, start = text.encode(), [], 0
    while start < len(data):
        end = min(start + OUTPUT_LIMIT, len(data))
        while (encoded := len(to_json(_whole(data, start, end))) - 2) > OUTPUT_LIMIT:  # the quotes do not count
            end = start + (end - start) * OUTPUT_LIMIT // encoded  # where much of it is to be escaped
        parts.append(_whole(data, start, end))
        start += len(parts[-1].encode())
    return parts


def _whole(data: bytes, start: int, end: int) -> str:
    """Return a part of a text, which ends before a character that it would cut."""
    return data[start:end].decode(errors="ignore")
