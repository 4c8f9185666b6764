"""What the tests share: a real server on a free port, a peer that speaks raw frames, an agent that obeys."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from agentsocket.agent.contract import Agent, AgentFactory, Attachment, Context, Turn
from agentsocket.agent.loader import load_agents
from agentsocket.protocol.events import AgentOutput, AgentResponse
from agentsocket.server import AgentServer
from agentsocket.settings import Settings

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds: the one bound on every wait of a test. Nothing takes that long unless it is broken."""


class BareTurn:
    """What a turn of a test's own has beside ``emit`` and ``ask``: nobody in particular asks."""

    context = Context("a session")
    params: Mapping[str, Any] = MappingProxyType({})
    attachments: Sequence[Attachment] = ()
    session_files: Mapping[str, Attachment] = MappingProxyType({})
    features: Collection[str] = ("reasoning", "progress", "data", "files")
    ended = False

    def emit_blocking(self, event: Any) -> None:
        raise NotImplementedError

    def ask_blocking(self, question: Any) -> Any:
        raise NotImplementedError

    async def send_file(
        self, path_or_bytes: Any, name: Any = None, media_type: Any = None, tool_call_id: Any = None
    ) -> Any:
        raise NotImplementedError

    def send_file_blocking(
        self, path_or_bytes: Any, name: Any = None, media_type: Any = None, tool_call_id: Any = None
    ) -> Any:
        raise NotImplementedError


def load_agent(spec: str) -> AgentFactory:
    """Load one agent."""
    return load_agents([spec])["default"]


class Scripted:
    """An agent whose every run is a coroutine function of the test's, chosen by the message's first word."""

    def __init__(self, **scripts: Callable[[str, Turn], Any]) -> None:
        self.scripts = scripts
        self.parked = asyncio.Event()
        """Set when a run of "park" has begun to wait."""
        self.gate = asyncio.Event()
        """What "park" waits for."""
        self.cancelled = asyncio.Event()
        """Set when a run of "park" was cancelled."""
        self.runs: list[str] = []
        self.closed = 0

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        """Do what the message says: one of the scripts, or "park", "say <text>", or repeat the message."""
        self.runs.append(message)
        word, _, rest = message.partition(" ")
        if word in self.scripts:
            answer: str | AgentResponse = await self.scripts[word](rest, turn)
            return answer
        if word == "park":
            return await self._park()
        if word == "say":
            await turn.emit(AgentOutput(output=rest))
        return message

    async def _park(self) -> str:
        self.parked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "released"

    async def aclose(self) -> None:
        """Count that it was closed."""
        self.closed += 1


class Peer:
    """A client that sends and receives frames as they are. Every wait has one bound."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, event: str, **data: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"event": event, "data": data}))

    async def receive(self) -> tuple[str, dict[str, Any]]:
        """Return the next frame's event and data."""
        async with asyncio.timeout(PATIENCE):
            frame = json.loads(await self.socket.recv())
        assert set(frame) == {"event", "data"}
        return frame["event"], frame["data"]

    async def until(self, *events: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the next frames up to one of these events."""
        frames = [await self.receive()]
        while frames[-1][0] not in events:
            frames.append(await self.receive())
        return frames

    async def expect(self, event: str) -> dict[str, Any]:
        """Return the data of the next frame, which is to be of this event."""
        received, data = await self.receive()
        assert received == event, (received, data)
        return data

    async def login(self, **data: Any) -> dict[str, Any]:
        """Log in."""
        await self.send("login", **data)
        return await self.expect("login_response")

    async def request(self, message: str, **data: Any) -> str:
        """Start a task; return its id."""
        await self.send("agent_request", message=message, **data)
        task_id: str = (await self.expect("agent_request_received"))["task_id"]
        return task_id

    async def ask(self, message: str) -> str:
        """Run a request to its end; return the answer."""
        await self.request(message)
        answer: str = (await self.until("agent_response"))[-1][1]["response"]
        return answer

    async def closed(self) -> int:
        """Wait until the connection is closed; return the close code."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        return self.socket.close_code or 0


@contextlib.asynccontextmanager
async def serving(create_agent: AgentFactory = Scripted, **settings: Any) -> AsyncIterator[AgentServer]:
    """Run a server on a free port of the loopback address, and shut it down."""
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "shutdown_grace": 0, "cancel_timeout": 5}
    async with AgentServer(Settings(**{**defaults, **settings}), {"agent": create_agent}) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(server: AgentServer, **options: Any) -> AsyncIterator[Peer]:
    """Open a connection to the server."""
    async with connect(
        f"ws://127.0.0.1:{server.port}", compression=None, max_size=None, max_queue=None, **options
    ) as socket:
        yield Peer(socket)


@contextlib.asynccontextmanager
async def logged_in(server: AgentServer, **login: Any) -> AsyncIterator[Peer]:
    """Open a connection to the server and log in."""
    async with connected(server) as peer:
        await peer.login(**login)
        yield peer


async def made(create_agent: AgentFactory) -> Agent:
    """Return the agent that a factory makes, at once or in its time."""
    agent = create_agent()
    return await agent if isinstance(agent, Awaitable) else agent


async def eventually(condition: Callable[[], bool]) -> None:
    """Give the loop its turn until the condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # a condition of the server has no event of its own
            await asyncio.sleep(0)


async def side_by_side(check: Callable[[T], Awaitable[None]], cases: Iterable[T]) -> None:
    """Check a few cases at once, where that is mostly to wait for a process; a failure says of which case it is."""
    few = asyncio.Semaphore(3)  # a busy machine starts no more of them in time

    async def run(case: T) -> None:
        try:
            async with few:
                await check(case)
        except BaseException as failure:
            failure.add_note(f"The case: {case!r}")
            raise

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(run(case))
