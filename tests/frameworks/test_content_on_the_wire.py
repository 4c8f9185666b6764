"""From a client's file to the model's request, and from a tool's picture to the client, through a real server."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from tests.frameworks.conftest import Make
from tests.frameworks.model_server import ModelServer
from tests.support import Peer, logged_in, serving

PNG = b"\x89PNG\r\n\x1a\n\0"
DRAWN = b"\x89PNG drawn"
NOTE = "[image.png, image/png, 10 bytes]"


def with_pydantic_ai() -> Any:
    from pydantic_ai import BinaryContent  # noqa: PLC0415  # where it is installed

    return BinaryContent(DRAWN, media_type="image/png")


def with_openai_agents() -> Any:
    return {"type": "image", "image_url": f"data:image/png;base64,{b64encode(DRAWN).decode()}"}


def with_langgraph() -> Any:
    return [{"type": "image", "base64": b64encode(DRAWN).decode(), "mime_type": "image/png"}]


def with_llamaindex() -> Any:
    from llama_index.core.llms import ImageBlock  # noqa: PLC0415

    return ImageBlock(image=DRAWN, image_mimetype="image/png")


def with_google_adk() -> Any:
    from google.genai.types import Blob, Part  # noqa: PLC0415

    return Part(inline_data=Blob(data=DRAWN, mime_type="image/png"))


PICTURES: dict[str, Callable[[], Any]] = {
    "pydantic_ai": with_pydantic_ai,
    "openai_agents": with_openai_agents,
    "langgraph": with_langgraph,
    "llamaindex": with_llamaindex,
    "google_adk": with_google_adk,
}

each = pytest.mark.parametrize("framework", PICTURES, indirect=True)


async def upload(peer: Peer) -> str:
    await peer.send("upload_start", upload_id="u", name="p.png", media_type="image/png", size=len(PNG))
    await peer.expect("upload_progress")
    await peer.send("upload_chunk", upload_id="u", offset=0, data=b64encode(PNG).decode())
    return str((await peer.expect("upload_complete"))["file_id"])


async def got(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def drawing(framework: str, make: Make) -> Any:
    async def draw() -> Any:
        """Draw."""
        return PICTURES[framework]()

    return lambda: make(draw)


@each
async def test_a_picture_goes_in_and_thoughts_and_pictures_come_out(
    framework: str, make: Make, models: ModelServer
) -> None:
    features = ["reasoning", "files"]
    async with serving(drawing(framework, make)) as server, logged_in(server, features=features) as peer:
        await peer.request("think draw() then say", attachments=[await upload(peer)])
        frames = await peer.until("agent_response", "error")
        (file,) = (data for event, data in frames if event == "agent_file")
        assert await got(server.port, file["url"]) == DRAWN
    assert b64encode(PNG).decode() in json.dumps(models.bodies[0])
    thoughts = [data["reasoning"] for event, data in frames if event == "agent_reasoning"][:2]
    # LangChain's model for chat completions drops them; for answers it does not: see test_langgraph_content.py.
    assert thoughts == ([] if framework == "langgraph" else ["Let me", " see."])
    (result,) = (data for event, data in frames if event == "tool_result")
    assert result["tool_output"] in (NOTE, [NOTE])
    assert file["tool_call_id"] == result["tool_call_id"]
    assert frames[-1][1]["usage"]["requests"] == 2


@each
async def test_a_client_that_has_named_no_features_gets_none_of_it(framework: str, make: Make) -> None:
    async with serving(drawing(framework, make)) as server, logged_in(server) as peer:
        await peer.request("think draw() then say")
        frames = [
            (event, data) for event, data in await peer.until("agent_response", "error") if event != "agent_output"
        ]
    assert [event for event, _ in frames] == ["tool_call", "tool_result", "agent_response"]
    assert NOTE not in json.dumps(frames[1][1])
