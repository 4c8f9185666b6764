"""The client, against a server that says exactly what a test wants, and against the real one."""

import asyncio
import contextlib
import gc
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import protocol
from agent_contract import Turn
from protocol import AgentOutput, InputRequired, InputRequiredFrame
from tests.support import PATIENCE, Scripted, eventually, serving
from websocket_client_example import (
    ConnectionLost,
    ServerError,
    SnapshotOutput,
    TaskCancelled,
    WebSocketClient,
    full_jitter,
    one_line,
)


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

    async def resumable(self, **options: Any) -> tuple[WebSocketClient, Wire]:
        client = self.client(resumable=True, **options)
        return client, await self.log_in(client, resumable=True, resume_token="secret", last_seq=0)

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


async def collect(client: WebSocketClient, message: str = "hello") -> list[Any]:
    return [event async for event in client.stream(message)]


def spawn(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(coroutine)


def texts(events: list[Any]) -> list[str]:
    return [getattr(event, "output", None) or event.response for event in events]


@contextlib.asynccontextmanager
async def talking(agent: Scripted, **options: Any) -> AsyncIterator[WebSocketClient]:
    """Log a client in to the real server."""
    async with asyncio.timeout(PATIENCE), serving(lambda: agent) as server:
        async with WebSocketClient(f"ws://127.0.0.1:{server.port}", **options) as client:
            yield client


# ---- Against the real server -----------------------------------------------------------------------------------------


async def test_ask_returns_the_answer() -> None:
    async with talking(Scripted()) as client:
        assert await client.ask("hello") == "hello"


async def test_a_stream_yields_the_typed_events_of_its_task_and_the_answer_last() -> None:
    async def tool(_: str, turn: Turn) -> str:
        await turn.emit(protocol.ToolCall(tool_name="time", tool_kwargs={"city": "Tokyo"}))
        await turn.emit(protocol.ToolResult(tool_name="time", tool_output={"hour": 8}))
        await turn.emit(AgentOutput(output="Eight."))
        return "Eight."

    async with talking(Scripted(tool=tool)) as client:
        call, result, output, answer = await collect(client, "tool")
    assert isinstance(call, protocol.ToolCallFrame)
    assert isinstance(result, protocol.ToolResultFrame)
    assert call.tool_call_id == result.tool_call_id
    assert isinstance(output, protocol.AgentOutputFrame)
    assert isinstance(answer, protocol.AgentResponseFrame)
    assert (result.tool_output, output.output, answer.response) == ({"hour": 8}, "Eight.", "Eight.")


async def test_many_streams_run_at_once_on_one_client_and_never_mix() -> None:
    async with talking(Scripted()) as client:
        answers = await asyncio.gather(*(collect(client, f"say {number}") for number in range(16)))
    assert [texts(events) for events in answers] == [[str(number), f"say {number}"] for number in range(16)]


async def test_a_burst_of_outputs_arrives_whole_and_in_order() -> None:
    async def burst(_: str, turn: Turn) -> str:
        for number in range(5000):
            await turn.emit(AgentOutput(output=f"{number} "))
        return "done"

    async with talking(Scripted(burst=burst)) as client:
        first, second = await asyncio.gather(collect(client, "burst"), collect(client, "burst"))
    assert texts(first) == texts(second) == [*(f"{number} " for number in range(5000)), "done"]


async def test_a_plain_break_out_of_a_stream_cancels_the_task_on_the_server() -> None:
    agent = Scripted(talk=talk_and_park)
    async with talking(agent) as client:
        async for _ in client.stream("talk"):
            break
        await agent.cancelled.wait()


async def talk_and_park(_: str, turn: Turn) -> str:
    await turn.emit(AgentOutput(output="one"))
    return await Scripted.current._park()


async def test_aclosing_a_stream_cancels_the_task_on_the_server() -> None: ...
