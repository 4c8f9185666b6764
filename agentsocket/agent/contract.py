"""What an agent is to the server, and the server to an agent; what it emits stands in ``protocol``.

An agent never sees a task id, a socket or JSON.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from agentsocket.identity.user import User
from agentsocket.protocol.events import AgentFile, AgentResponse, Emitted, InputRequired


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a session is for. A resume or a refresh makes a new one; a turn keeps the one that it began with."""

    session_id: str
    user: User | None = None
    """Who is logged in; None where nobody is known by name."""
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    """``login.params``: what the client says, and nothing has proved."""
    agent: str = ""
    """The name under which the agent is served."""
    address: str = ""
    """The client's IP address."""


MEMORY_SIZE: Final = 1024 * 1024
"""Bytes of JSON that an agent may remember."""


class Attachment(Protocol):
    """A file that came with a request. Name and type are the client's word, without anything that could do harm."""

    @property
    def id(self) -> str:
        """By which ``Turn.session_files`` has it, in later turns too."""

    @property
    def name(self) -> str:
        """Its name, without folders."""

    @property
    def media_type(self) -> str:
        """Its media type, such as ``text/csv``."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def path(self) -> Path:
        """Where it lies, as long as its session is there. It is to be read, not written."""

    async def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: if it is gone: its session has ended.
        """


class Turn(Protocol):
    """What a running agent may do towards the client that asked, and what it may know of it."""

    @property
    def context(self) -> Context:
        """Whom it is for, as it was known when the request came."""

    @property
    def params(self) -> Mapping[str, JsonValue]:
        """``agent_request.params``, of this request: what the client says."""

    @property
    def features(self) -> Collection[str]:
        """What the client understands beyond the base, as it has last said: ``files``, say."""

    @property
    def ended(self) -> bool:
        """Whether its task is over: then nothing more can be said."""

    @property
    def attachments(self) -> Sequence[Attachment]:
        """The files that came with this request."""

    @property
    def session_files(self) -> Mapping[str, Attachment]:
        """The files of its session by their ids: what came with this request or an earlier one, and what was sent.

        Where conversations are kept, it is all that the conversation has: an agent need only remember a file's id.
        """

    async def emit(self, event: Emitted) -> None:
        """Send an event, if the client understands it. May wait: a slow client slows its own agent."""

    async def send_file(
        self,
        path_or_bytes: str | PathLike[str] | bytes,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Send a copy of a file or picture. Name and type are the path's own where they are not given.

        Raises:
            AgentError: where there is no room for it, in a sentence that the client may read.
            OSError: if there is no file to be read at that path.
        """

    async def ask(self, question: InputRequired) -> JsonValue:
        """Ask the client, and wait for its answer.

        Raises:
            TimeoutError: if there is none within the question's ``expires_in`` seconds.
        """

    def emit_blocking(self, event: Emitted) -> None:
        """Do what ``emit`` does, from a synchronous tool in a thread.

        Raises:
            asyncio.CancelledError: once the task is being stopped.
            RuntimeError: on the event loop, which it would block.
        """

    def ask_blocking(self, question: InputRequired) -> JsonValue:
        """Do what ``ask`` does, from a synchronous tool in a thread.

        Raises:
            asyncio.CancelledError: once the task is being stopped, while it waits too.
            RuntimeError: on the event loop, which it would block.
            TimeoutError: as ``ask``.
        """

    def send_file_blocking(
        self,
        path_or_bytes: str | PathLike[str] | bytes,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Do what ``send_file`` does, from a synchronous tool in a thread.

        Raises:
            AgentError: as ``send_file``.
            asyncio.CancelledError: once the task is being stopped.
            OSError: as ``send_file``.
            RuntimeError: on the event loop, which it would block.
        """


class AgentError(Exception):
    """An agent's own word on why it fails: a sentence for the person who asked, which the client gets as it is.

    It is found wherever it is the reason: within exception groups, as a cause, or as what another exception followed on
    (not ``from None``). Of several, the client gets the first. Of any other exception it learns only that there was
    one. The log has all of them.
    """


class Agent(Protocol):
    """A coroutine that gets a message and a place to speak.

    How ``run`` ends is how its task ends: it returns, and the client gets ``agent_response``; it raises, ``error``;
    it is cancelled, ``task_cancelled``. It is called concurrently on one instance. An agent may also have
    ``async def aclose(self) -> None``, called once when its session ends; and, as an attribute of its own, its class or
    its factory, what people are told of it before they ask: ``title: str``, ``description: str`` in a sentence, and
    ``starters: list[str]``, questions to begin with.

    Where conversations are kept, it may have ``async def save(self) -> JsonValue``, what it remembers, asked for after
    each turn that was completed (at most 1 MiB of JSON), and ``async def load(self, memory) -> None``, called once in a
    new instance, before its first run, with what the last ``save`` returned. Both may be plain methods, on
    the event loop.
    """

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        """Answer one message."""


AgentFactory = Callable[..., Agent | Awaitable[Agent]]
"""Makes the agent of one session: called once per login, with its ``Context`` where it has a parameter for that."""


class Approval(BaseModel):
    """A client's answer to a question of kind "approval"."""

    model_config = ConfigDict(defer_build=True)  # few agents ask, and none as the server starts
    approved: bool
    reason: str | None = None
    tool_kwargs: dict[str, Any] | None = None
    """The tool's arguments as the person edited them, where they did."""

    @classmethod
    def read(cls, response: JsonValue) -> "Approval":
        """Read ``true``, a word of consent, or an object with these fields. What is not clearly a yes is a no."""
        if isinstance(response, dict):
            try:
                return cls.model_validate(response, strict=True)
            except ValidationError:
                return cls(approved=False)
        if isinstance(response, str):
            return cls(approved=response.strip().lower() in {"y", "yes", "ok", "true", "approve", "approved"})
        return cls(approved=response is True)
