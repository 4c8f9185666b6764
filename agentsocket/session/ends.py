"""How the last tasks of a session ended, for a client that has missed it."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from agentsocket.session.budget import ITEM, Account

Ending = Literal["completed", "cancelled", "failed"]

ENDS_SIZE = 256 * 1024
"""Bytes of terminal frames, texts, files and data that are kept beside the newest frame, which always stays."""

MOST_ENDS = 256
"""Ends of which at least the number of their terminal frame is known: as many as request ids are remembered."""


@dataclass(slots=True)
class End:
    """How one task ended."""

    status: Ending
    seq: int
    """The number that its terminal frame was last said with."""
    frame: bytes
    """That frame, without a number; empty where it is forgotten."""
    text: bytes
    """The newest of what the task said, as UTF-8."""
    shown: list[bytes] = field(default_factory=list)
    """The frames of its files and data."""

    @property
    def size(self) -> int:
        """Bytes of all that."""
        return len(self.frame) + len(self.text) + sum(map(len, self.shown))

    def forget_rest(self) -> None:
        """Forget all but the terminal frame."""
        self.text, self.shown = b"", []


class Ends:
    """The last ends, oldest first. What was said is forgotten before how it ended, and the oldest first."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._ends: OrderedDict[str, End] = OrderedDict()
        self._size = 0

    def add(self, task_id: str, end: End) -> None:
        """Keep one."""
        before = self._counted()
        self._ends[task_id] = end
        self._size += end.size
        if len(self._ends) > MOST_ENDS:
            _, oldest = self._ends.popitem(last=False)
            self._size -= oldest.size
        if self._size - len(end.frame) > ENDS_SIZE:
            self._trim(ENDS_SIZE + len(end.frame))
        self._account.count(self._counted() - before)

    def get(self, task_id: str) -> End | None:
        """Return how a task ended; nothing where not even that is known."""
        return self._ends.get(task_id)

    def known(self) -> list[tuple[str, End]]:
        """Return those of which the terminal frame is still there, by their tasks' ids, oldest first."""
        return [(task_id, end) for task_id, end in self._ends.items() if end.frame]

    def clear(self) -> None:
        """Forget how they ended, but not that they did."""
        before = self._counted()
        for end in self._ends.values():
            end.forget_rest()
            end.frame = b""
        self._size = 0
        self._account.count(self._counted() - before)

    def _trim(self, most: int) -> None:
        for end in self._ends.values():
            if self._size <= most:
                return
            self._size -= end.size - len(end.frame)
            end.forget_rest()
        *older, _ = self._ends.values()
        for end in older:
            if self._size <= most:
                return
            self._size -= len(end.frame)
            end.frame = b""

    def _counted(self) -> int:
        return self._size + len(self._ends) * 4 * ITEM
