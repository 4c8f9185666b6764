"""What an agent remembers of one session: whole turns, which may outlive it as JSON."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json, to_json

from agentsocket.agent.adapters.remembered_files import Place, put_back, take_out
from agentsocket.agent.contract import MEMORY_SIZE, Attachment, Turn

T = TypeVar("T")

HEAVY: Final = 256 * 1024
"""Bytes of files in a turn from which on it is made into JSON in a thread."""

logger = logging.getLogger(__name__)


class Form(NamedTuple, Generic[T]):
    """A framework's own form of its messages as JSON."""

    framework: str
    dump: Callable[[list[T]], Any]
    parse: Callable[[Any], list[T]]
    """Raises ``ValueError``, ``TypeError`` or ``LookupError`` for what it does not know."""


class _KeptTurn(BaseModel):
    """One turn, without its files."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    messages: Any
    files: list[Place] = []
    size: int = 0


class _Kept(BaseModel):
    """All that is remembered."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    framework: str
    version: Literal[1] = 1
    """Of this form, not of the framework's."""
    state: dict[str, Any]
    turns: list[_KeptTurn]


@dataclass(eq=False)
class _Turn(Generic[T]):
    messages: list[T]
    size: int
    kept: dict[str, Any] | None = None
    """As JSON; None where that is not made yet, or is too large to be kept."""
    length: int | None = None
    """Bytes of that; None where it is not made yet."""
    form: Form[T] | None = None
    """The form by which its files are still to be put into its messages; None where they are there."""


class Memory(Generic[T]):
    """The messages of one session, whole turns of them: a turn that was cancelled or failed never gets in.

    Every framework's own store is damaged by a cancel or by two turns at once, so no adapter keeps one. A turn works on
    a snapshot and is committed when it has gone well.
    """

    def __init__(self, turns: int = 100, size: int = 32 * 1024 * 1024) -> None:
        """Keep so many turns, with files of ``size`` bytes among them: each request to the model has them all again."""
        self._turns: deque[_Turn[T]] = deque(maxlen=turns)
        self._most = size
        self._files: Mapping[str, Attachment] = {}
        self._filling = asyncio.Lock()
        self._told: set[str] = set()

    def snapshot(self) -> list[T]:
        """All messages, oldest first, in a list of the caller's own."""
        return [message for turn in self._turns for message in turn.messages]

    async def recall(self, turn: Turn) -> list[T]:
        """Return a snapshot; what was loaded without its files has them first, from the session that ``turn`` is of.

        A turn whose files are gone is dropped whole, and the log says so.
        """
        async with self._filling:
            for each in [each for each in self._turns if each.form]:
                try:
                    await self._fill(each, turn.session_files)
                except (OSError, LookupError, ValueError) as exc:
                    logger.warning("A turn is not remembered any more, since a file of it cannot be read: %r", exc)
                    if each in self._turns:
                        self._turns.remove(each)
        return self.snapshot()

    def commit(self, messages: Iterable[T], size: int = 0, files: Mapping[str, Attachment] | None = None) -> None:
        """Add one turn, with files of ``size`` bytes; the oldest go where there is too much.

        ``files`` are the session's: what is of them is kept by its id.
        """
        self._files = files or self._files
        self._add(_Turn(list(messages), size))

    async def save(self, form: Form[T], state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is remembered as JSON, which takes 1 MiB at most: the oldest turns go first.

        Of the ``state``, what JSON cannot hold as it is, is left out, and the log says so.

        Raises:
            ValueError: if the newest turn alone is larger.
        """
        kept = _Kept(framework=form.framework, state=self._plain(state), turns=[]).model_dump()
        room = MEMORY_SIZE - len(to_json(kept))
        for turn in reversed(list(self._turns)):
            encoded, length = await self._encoded(turn, form)
            room -= length + 1
            if room < 0 and not kept["turns"]:
                raise ValueError(f"the last turn takes {length} bytes of JSON, which is too much")
            if room < 0:
                self._tell("turns", "What is remembered is too large to be kept whole: its oldest turns are left out")
                break
            kept["turns"].insert(0, encoded)
        return kept

    def load(self, form: Form[T], memory: object) -> dict[str, Any]:
        """Take up what ``save`` has returned, and return the state. Where that fails, nothing is taken up.

        Raises:
            ValueError: if it is of another framework, or of a form that is not known here; so do
                ``TypeError`` and ``LookupError``.
        """
        kept = _Kept.model_validate(memory)
        if kept.framework != form.framework:
            raise ValueError(f"what is remembered is of {kept.framework}, and the agent is of {form.framework}")
        turns = []
        for turn in kept.turns:
            encoded = turn.model_dump()
            messages = form.parse(turn.messages)  # without files too, so that it is known now whether that can be done
            pending = form if turn.files else None
            turns.append(_Turn(messages, turn.size, encoded, len(to_json(encoded)), pending))
        for loaded in turns:
            self._add(loaded)
        return kept.state

    def _add(self, turn: _Turn[T]) -> None:
        self._turns.append(turn)
        while len(self._turns) > 1 and sum(each.size for each in self._turns) > self._most:
            self._turns.popleft()

    async def _fill(self, turn: _Turn[T], files: Mapping[str, Attachment]) -> None:
        if turn.form is None or turn.kept is None:
            return
        kept = _KeptTurn.model_validate(turn.kept)
        value = await put_back(kept.messages, kept.files, files)
        turn.messages, turn.form = await asyncio.to_thread(turn.form.parse, value), None

    async def _encoded(self, turn: _Turn[T], form: Form[T]) -> tuple[dict[str, Any] | None, int]:
        """Return a turn as JSON, and how many bytes that takes. It is made once."""
        if turn.length is None:
            if turn.size > HEAVY:
                messages = await asyncio.to_thread(form.dump, turn.messages)
            else:
                messages = form.dump(turn.messages)
            messages, places = await take_out(messages, self._files)
            kept = _KeptTurn(messages=messages, files=places, size=turn.size).model_dump()
            turn.length = len(to_json(kept))
            turn.kept = kept if turn.length <= MEMORY_SIZE else None
        return turn.kept, turn.length

    def _plain(self, state: Mapping[str, Any]) -> dict[str, Any]:
        plain = {}
        for name, value in state.items():
            if is_plain(value):
                plain[name] = value
            else:
                self._tell(name, f"{name!r} of an agent's state is no plain JSON: a later session will miss it")
        return plain

    def _tell(self, what: str, text: str) -> None:
        """Warn, once for a session."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s", text)


def is_plain(value: object) -> bool:
    """Whether JSON can hold a value as it is, so that it comes back the same."""
    try:
        return bool(from_json(to_json(value)) == value)
    except (TypeError, ValueError):
        return False
