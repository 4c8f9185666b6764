"""What the tests of conversations share: a server that keeps them, and an agent that remembers."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agentsocket.agent.contract import Turn
from agentsocket.identity.user import LoginAttempt, User
from agentsocket.protocol.events import AgentOutput, AgentResponse
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.support import Peer, connected


class Rememberer:
    """Remembers what it was asked, and says so when it is asked to "recall"."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        if message == "recall":
            return " ".join(self.heard)
        await turn.emit(AgentOutput(output="a"))
        await turn.emit(AgentOutput(output="b"))
        self.heard.append(message)
        if message == "fail":
            raise ValueError(message)
        return AgentResponse(response=message.upper(), usage={"requests": 1})

    async def save(self) -> list[str]:
        return self.heard

    async def load(self, memory: list[str]) -> None:
        self.heard = memory


async def authenticate(login: LoginAttempt) -> User | None:
    """Let in whoever gives a name."""
    return User(id=login.token) if login.token else None


@contextlib.asynccontextmanager
async def keeping(
    folder: Path, agent: Any = Rememberer, *, users: bool = False, **settings: Any
) -> AsyncIterator[AgentServer]:
    """Run a server that keeps conversations in this folder."""
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "shutdown_grace": 0, "cancel_timeout": 5}
    defaults["store"] = f"sqlite:{folder / 'c.db'}"
    hook = authenticate if users else None
    async with AgentServer(Settings(**{**defaults, **settings}), {"agent": agent}, hook) as server:
        yield server


@contextlib.asynccontextmanager
async def entered(server: AgentServer, **login: Any) -> AsyncIterator[tuple[Peer, dict[str, Any]]]:
    """Log in; give the peer and the answer."""
    async with connected(server) as peer:
        yield peer, await peer.login(**login)


async def question(peer: Peer, event: str, **data: Any) -> tuple[str, dict[str, Any]]:
    """Ask something about conversations; return the answer."""
    await peer.send(event, **data)
    return await peer.receive()


async def history(peer: Peer, **data: Any) -> list[dict[str, Any]]:
    """Return the turns of a conversation."""
    event, answer = await question(peer, "get_conversation", **data)
    assert event == "conversation", answer
    turns: list[dict[str, Any]] = answer["turns"]
    return turns
