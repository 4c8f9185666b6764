"""A server that says exactly what a test of the client wants, and cuts the line where it wants."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from agentsocket.client.client import WebSocketClient
from agentsocket.protocol.frames import InputRequiredFrame
from tests.support import PATIENCE


class Wire:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def send(self, event: str, **data: Any) -> None:
        await self.socket.send(json.dumps({"event": event, "data": data}))

    async def expect(self, event: str) -> dict[str, Any]:
        frame = json.loads(await self.socket.recv())
        assert frame["event"] == event, frame
        data: dict[str, Any] = frame["data"]
        return data

    async def accept(self, task_id: str, **data: Any) -> dict[str, Any]:
        """Confirm the next request."""
        request = await self.expect("agent_request")
        await self.send("agent_request_received", task_id=task_id, request_id=request["request_id"], **data)
        return request

    def drop(self) -> None:
        """Cut the line: no closing handshake."""
        self.socket.transport.abort()


class Line:
    """A server that accepts connections and says nothing by itself."""

    def __init__(self) -> None:
        self.uri = ""
        self.wires: asyncio.Queue[Wire] = asyncio.Queue()

    async def answer(self, socket: ServerConnection) -> None:
        await self.wires.put(Wire(socket))
        await socket.wait_closed()

    def client(self, **options: Any) -> WebSocketClient:
        return WebSocketClient(self.uri, backoff=lambda: itertools.repeat(0.0, 20), **options)

    async def log_in(self, client: WebSocketClient, **data: Any) -> Wire:
        await client.connect()
        login = asyncio.create_task(client.login())
        wire = await self.wires.get()
        await wire.expect("login")
        await wire.send("login_response", session_id="s", status="success", **data)
        assert await login == "s"
        return wire

    async def resumable(
        self, on_input: Callable[[InputRequiredFrame], Any] | None = None, **terms: Any
    ) -> tuple[WebSocketClient, Wire]:
        client = self.client(resumable=True, on_input=on_input)
        return client, await self.log_in(client, resumable=True, resume_token="secret", last_seq=0, **terms)

    async def resumed(self, *, lossless: bool = True, last_seq: int = 0, tasks: Any = ()) -> tuple[Wire, Any]:
        """Take the client's next connection and resume; return what it logged in with, too."""
        wire = await self.wires.get()
        login = await wire.expect("login")
        data = {"lossless": lossless, "last_seq": last_seq, "tasks": list(tasks), "resume_token": "secret"}
        await wire.send("login_response", session_id="s", status="success", resumable=True, resumed=True, **data)
        return wire, login


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Line]:
    line = Line()
    async with asyncio.timeout(PATIENCE), serve(line.answer, "127.0.0.1", 0, close_timeout=0.1) as server:
        line.uri = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield line
