"""What a store of conversations is to the rest of the server, whatever engine is behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class StoreError(Exception):
    """The store cannot be used now; the message says why, for the operator."""


@dataclass(slots=True)
class Conversation:
    """What is known of a conversation without its turns. Times are milliseconds since 1970, UTC."""

    id: str
    owner: str | None
    """The id of the user whom it belongs to; None where nobody was known by name."""
    agent: str
    title: str
    created_at: int
    updated_at: int
    turns: int = 0


class KeptFile(NamedTuple):
    """A file that a conversation has."""

    id: str
    token: str
    """The secret part of its path."""
    size: int
    """Bytes."""


class TurnEnd(NamedTuple):
    """How a turn ended."""

    task_id: str
    status: str
    tail: bytes
    """As ``StoredTurn`` has it."""
    files: Sequence[KeptFile] = ()
    """Those that the agent has sent."""


class StoredTurn(NamedTuple):
    """One turn: what is known when it is accepted, and what its end adds."""

    number: int
    """Ascends within its conversation."""
    status: str
    head: bytes
    """A JSON object: ``task_id``, ``message``, ``attachments``, ``started_at``."""
    tail: bytes
    """A JSON object: ``ended_at``, ``events``, ``response`` and the like; empty until the turn has ended."""


class Store(Protocol):
    """Keeps conversations. What a method has returned from is on disk.

    Every method but ``open`` raises ``StoreError`` where the store cannot be used, and has changed nothing then.
    """

    async def open(self) -> None:
        """Make ready, and mark the turns that a crash has interrupted.

        Raises:
            StoreError: if the store cannot be used at all; the message is one line.
        """

    async def close(self) -> None:
        """Let go of it."""

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation."""

    async def memory(self, conversation_id: str) -> bytes | None:
        """Return what its agent remembers, as JSON."""

    async def files(self, conversation_id: str) -> Sequence[KeptFile]:
        """Return the files that it has."""

    async def begin(self, conversation: Conversation, task_id: str, head: bytes, files: Sequence[KeptFile]) -> None:
        """Add a turn that is about to run, and with the first one the conversation itself.

        A title is taken where it has none yet.
        """

    async def end(self, conversation_id: str, turn: TurnEnd, memory: bytes | None) -> None:
        """Say how a turn ended, and what the agent remembers now; with None it remembers what it did."""

    async def listed(self, owner: str, limit: int, before: tuple[int, str] | None) -> Sequence[Conversation]:
        """Return a user's conversations, newest first; those that come after this ``updated_at`` and id."""

    async def turns(
        self, conversation_id: str, limit: int, before: int | None, size: int | None = None
    ) -> Sequence[StoredTurn]:
        """Return the newest turns, newest first; of those before this number.

        No more are read once they have over ``size`` bytes.
        """

    async def count(self, owner: str) -> int:
        """Return how many conversations a user has."""

    async def rename(self, conversation_id: str, title: str) -> None:
        """Give a conversation another title."""

    async def delete(self, conversation_id: str) -> Sequence[KeptFile]:
        """Delete a conversation; return the files that it had."""

    async def untouched_since(self, time: int, limit: int) -> Sequence[str]:
        """Return the ids of conversations in which nothing has happened since, oldest first."""

    async def all_files(self) -> Sequence[tuple[str | None, KeptFile]]:
        """Return the files of all conversations, each with the owner of its conversation."""
