"""What the tests of the client share: a client on the real server, and what it brings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.client.client import WebSocketClient
from agentsocket.protocol.events import AgentOutput, InputRequired
from tests.support import PATIENCE, Scripted, serving


async def collect(client: WebSocketClient, message: str = "hello") -> list[Any]:
    return [event async for event in client.stream(message)]


def spawn(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(coroutine)


def texts(events: list[Any]) -> list[str]:
    return [getattr(event, "output", None) or event.response for event in events]


@contextlib.asynccontextmanager
async def talking(
    agent: Scripted, settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[WebSocketClient]:
    """Log a client in to the real server."""
    async with asyncio.timeout(PATIENCE), serving(lambda: agent, **(settings or {})) as server:
        client = WebSocketClient(f"ws://127.0.0.1:{server.port}", **options)
        async with client:
            yield client


def talkative() -> Scripted:
    """An agent that says "one" to "talk", and then waits."""
    agent = Scripted()

    async def talk(_: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output="one"))
        return str(await agent.run("park", turn))

    agent.scripts["talk"] = talk
    return agent


async def asking(_: str, turn: Turn) -> str:
    return f"you said {await turn.ask(InputRequired(prompt='Well?'))}"
