"""What the tests of files share: a peer's own way to send one, and an agent that reads and sends them."""

import base64
import http.client
from pathlib import Path
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.server import AgentServer
from tests.support import Peer

CHUNK = 128 * 1024
FEATURES = ["reasoning", "progress", "data", "files"]


async def start(peer: Peer, data: bytes, upload_id: str = "u", **fields: Any) -> tuple[str, dict[str, Any]]:
    """Begin an upload; return the answer."""
    given = {"name": "notes.txt", "media_type": "text/plain", "size": len(data), **fields}
    await peer.send("upload_start", upload_id=upload_id, **given)
    return await peer.receive()


async def chunk(peer: Peer, data: bytes, offset: int, upload_id: str = "u") -> tuple[str, dict[str, Any]]:
    """Send a piece; return the answer."""
    await peer.send("upload_chunk", upload_id=upload_id, offset=offset, data=base64.b64encode(data).decode())
    return await peer.receive()


async def upload(peer: Peer, data: bytes, upload_id: str = "u", **fields: Any) -> str:
    """Send a whole file, as far as the server has none of it; return its id."""
    event, answer = await start(peer, data, upload_id, **fields)
    while event == "upload_progress":
        at = answer["received"]
        event, answer = await chunk(peer, data[at : at + CHUNK], at, upload_id)
    assert event == "upload_complete", answer
    file_id: str = answer["file_id"]
    return file_id


def get(server: AgentServer, url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask for a path over HTTP; to be called in a thread. Headers are named with underscores."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, url, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def files_in(parent: Path) -> list[Path]:
    """Return the files that servers keep below this folder."""
    return sorted(parent.rglob("files-*/[!.]*"))


async def read(_: str, turn: Turn) -> str:
    """Tell of each attachment what it is."""
    told = []
    for file in turn.attachments:
        data = await file.read()
        assert data == file.path.read_bytes()  # a few bytes
        told.append(f"{file.name} {file.media_type} {file.size} {data[:6].decode()}")
    return "\n".join(told)
