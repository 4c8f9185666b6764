"""Files in the parts of Google ADK's contents and artifacts, going in and coming out."""

from typing import Any

from google.genai.types import Blob, Part

from agentsocket.agent.adapters.content import Attached, File


def question(message: str, files: list[Attached]) -> list[Part]:
    """Return what the person says, with the files that came with it: a text as text, which every model can read."""
    parts = [Part(text=message)]
    for file in files:
        parts.append(Part(text=file.text or file.note))
        if file.media is not None:
            blob = Blob(data=file.media, mime_type=file.media_type, display_name=file.name)
            parts.append(Part(inline_data=blob))
    return parts


def file_in(value: Any, name: str | None = None) -> File | None:
    """Return the file that a value is: bytes, or something with a blob in it, such as a part."""
    if isinstance(value, bytes):
        return File(value)
    blob = getattr(value, "inline_data", None)
    if blob is None or blob.data is None:
        return None
    return File(blob.data, name or blob.display_name, blob.mime_type)


def artifact_file(part: Part, name: str) -> File | None:
    """Return the file that an artifact is, under its own name; one that is a text is kept as such."""
    name = name.removeprefix("user:")
    return File(part.text.encode(), name, "text/plain") if part.text is not None else file_in(part, name)


def link_in(value: Any) -> dict[str, Any] | None:
    """Return where a file lies that is not here."""
    file = getattr(value, "file_data", None)
    return {"url": file.file_uri, "media_type": file.mime_type} if file and file.file_uri else None
