"""Files in LlamaIndex's content blocks: those of the client going in, those of tools and models coming out."""

import asyncio
from typing import Any

from llama_index.core.llms import AudioBlock, ChatMessage, DocumentBlock, ImageBlock, TextBlock, VideoBlock

from agentsocket.agent.adapters.content import Attached, File, send
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData

AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "x-m4a": "m4a"}
"""Where the name of a format, as providers have it, is not that of its media type."""

MEDIA = (ImageBlock, AudioBlock, VideoBlock, DocumentBlock)


async def question(message: str, files: list[Attached]) -> str | ChatMessage:
    """Return what the person says, with the files that came with it: a text as text, which every model can read."""
    if not files:
        return message
    blocks: list[Any] = [TextBlock(text=message)]
    for file in files:
        blocks.append(TextBlock(text=file.text or file.note))
        if file.media is not None:
            blocks.append(await asyncio.to_thread(_block, file, file.media))  # it encodes them when it is made
    return ChatMessage(role="user", blocks=blocks)


def _block(file: Attached, data: bytes) -> ImageBlock | AudioBlock | VideoBlock | DocumentBlock:
    kind, _, subtype = file.media_type.partition("/")
    if kind == "image":
        return ImageBlock(image=data, image_mimetype=file.media_type)
    if kind == "audio":
        return AudioBlock(audio=data, format=AUDIO_FORMATS.get(subtype, subtype))
    if kind == "video":
        return VideoBlock(video=data, video_mimetype=file.media_type)
    return DocumentBlock(data=data, title=file.name, document_mimetype=file.media_type)


def file_in(value: Any) -> File | None:  # noqa: PLR0911  # one for each kind
    """Return the file that a value is: bytes, a block that has some, or a picture as MCP has it."""
    match value:
        case bytes():
            return File(value)
        case {"type": "image" | "audio", "data": str(data), "mimeType": str(media_type)}:
            return File(data, media_type=media_type)
        case ImageBlock(image=content, url=url, image_mimetype=media_type):
            return _file(content, url, media_type)
        case AudioBlock(audio=content, url=url, format=name):
            return _file(content, url, f"audio/{name}" if name else None)
        case VideoBlock(video=content, url=url, video_mimetype=media_type):
            return _file(content, url, media_type)
        case DocumentBlock(data=content, url=url, document_mimetype=media_type, title=title):
            return _file(content, url, media_type, title if title != "input_document" else None)
    return None


def _file(content: Any, url: object, media_type: str | None, name: str | None = None) -> File | None:
    if isinstance(content, bytes):
        return File(content.decode(), name, media_type)  # a block keeps them as base64
    if hasattr(content, "read"):
        content.seek(0)
        return File(content.read(), name, media_type)
    return File(str(url), name, media_type) if str(url).startswith("data:") else None


async def tell_files(blocks: list[Any], turn: Turn, tool_call_id: str | None = None) -> int:
    """Send the files that stand among blocks, and return their size; of one that lies elsewhere, tell where."""
    size = 0
    for block in blocks:
        if file := file_in(block):
            size += len(file.data)
            await send(file, turn, tool_call_id)
        elif isinstance(block, MEDIA) and block.url:
            kinds = ("image_mimetype", "video_mimetype", "document_mimetype")
            media_type = next((getattr(block, name) for name in kinds if hasattr(block, name)), None)
            await turn.emit(AgentData(name="link", data={"url": str(block.url), "media_type": media_type}))
    return size
