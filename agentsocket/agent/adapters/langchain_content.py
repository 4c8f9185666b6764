"""Files in LangChain's content blocks: those of the client going in, those of tools and models coming out."""

from typing import Any
from uuid import uuid4

from langchain_core.messages import HumanMessage

from agentsocket.agent.adapters.content import Attached, File, data_url


async def question(message: str, files: list[Attached]) -> HumanMessage:
    """Return what the person says, with the files that came with it: a text as text, which every model can read."""
    blocks: list[str | dict[Any, Any]] = [{"type": "text", "text": message}]
    for file in files:
        blocks.append({"type": "text", "text": file.text or file.note})
        if file.media is not None:
            blocks.append(await _block(file, file.media))
    return HumanMessage(blocks if files else message, id=str(uuid4()))


async def _block(file: Attached, data: bytes) -> dict[str, Any]:
    kind = file.media_type.partition("/")[0]
    coded = (await data_url(data, file.media_type)).partition(",")[2]
    content = {"base64": coded, "mime_type": file.media_type}
    if kind in {"image", "audio", "video"}:
        return {"type": kind, **content}
    return {"type": "file", **content, "extras": {"filename": file.name}}


def file_in(value: Any) -> File | None:  # noqa: PLR0911  # as many forms as there are
    """Return the file that a value is: bytes, or a block as LangChain, OpenAI, Anthropic or MCP has it."""
    match value:
        case bytes():
            return File(value)
        case {"type": "image" | "audio" | "video" | "file", "base64": str(data)} | {
            "type": "image" | "audio" | "video" | "file",
            "source_type": "base64",
            "data": str(data),
        }:
            return File(data, _name(value), value.get("mime_type"))
        case {"type": "image" | "audio", "data": str(data), "mimeType": str(media_type)}:
            return File(data, media_type=media_type)
        case {"type": "image" | "document", "source": {"type": "base64", "data": str(data), "media_type": media_type}}:
            return File(data, _name(value), media_type)
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} if url.startswith("data:"):
            return File(url)
        case {"type": "input_image", "image_url": str(url)} if url.startswith("data:"):
            return File(url)
        case {"type": "file", "file": {"file_data": str(url)} as file}:
            return File(url, file.get("filename"))
        case {"type": "input_file", "file_data": str(url)}:
            return File(url, value.get("filename"))
    return None


def _name(block: dict[str, Any]) -> str | None:
    """A name stands in one of three places, or nowhere."""
    around = (block, block.get("extras"), block.get("metadata"))
    names = (place.get(key) for place in around if isinstance(place, dict) for key in ("filename", "name", "title"))
    return next((name for name in names if isinstance(name, str) and name), None)
