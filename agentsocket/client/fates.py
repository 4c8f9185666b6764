"""What became of what was under way in a session that is gone: its conversation tells."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final

from pydantic import ValidationError

from agentsocket.client.errors import ClientError, ConnectionLost, ServerError, TaskCancelled, TaskInterrupted
from agentsocket.client.exchange import Exchange, Request, SnapshotOutput, TaskEvent
from agentsocket.protocol.frames import (
    AgentDataFrame,
    AgentFileFrame,
    AgentRequest,
    AgentRequestReceived,
    AgentResponseFrame,
    CancelRequest,
    ConversationFrame,
    ConversationTurn,
    GetConversation,
    InputResponse,
)

PAGE: Final = 100
"""Turns that are asked for at once."""

MAX_PAGES: Final = 50
"""Answers that are looked through; what is not found then is not known."""

LOST: Final = "The connection was lost for so long that the server forgot the task."
UNTOLD: Final = "The session was lost, and its conversation does not tell what became of the request."

EVENTS: Final[Mapping[str, tuple[str, type[AgentFileFrame | AgentDataFrame]]]] = {
    "file": ("files", AgentFileFrame),
    "data": ("data", AgentDataFrame),
}
"""What of a turn's events is told again beside its text, by kind: which feature that needs, and in which frame."""


class Fates:
    """Keeps apart what belongs to a session that is gone, until it is known what became of it."""

    def __init__(self, exchange: Exchange, features: Collection[str]) -> None:
        """Start with nothing; ``features`` are what may be told of a task beyond the base."""
        self._exchange, self._features = exchange, features
        self._tasks: set[str] = set()
        self._requests: set[str] = set()

    @property
    def unknown(self) -> bool:
        """Whether there is something whose fate is to be found out."""
        return bool(self._tasks or self._requests)

    def concerns(self, task_id: str) -> bool:
        """Whether it is to be found out what became of a task."""
        return task_id in self._tasks

    def waits_for(self, key: str, request: Request) -> bool:
        """Whether a request is not to be sent again yet: it may have been accepted already, or its task be over."""
        about = isinstance(request.frame, CancelRequest | InputResponse) and request.frame.task_id in self._tasks
        return about or key in self._requests

    def lose_session(self) -> None:
        """Another session goes on with the conversation: nothing that is under way is known to it."""
        asked = self._exchange.requests.items()
        self._tasks |= self._exchange.tasks
        self._requests |= {key for key, request in asked if isinstance(request.frame, AgentRequest)}

    def lose(self, tasks: Collection[str]) -> None:
        """The session itself does not know any more how these tasks have ended."""
        self._tasks |= set(tasks)

    def clear(self) -> None:
        """There is nobody left who waits."""
        self._tasks.clear()
        self._requests.clear()

    async def settle(self, look_up: Callable[[GetConversation], Awaitable[ConversationFrame]]) -> None:
        """Find out what became of everything, and tell whoever waits; what was never accepted may be sent again.

        Raises what ``look_up`` raises, and may then be called again.
        """
        newest = self._exchange.newest
        before: str | None = None
        for _ in range(MAX_PAGES):
            question = GetConversation(limit=PAGE, before=before, request_id=uuid.uuid4().hex)
            page = await look_up(question)
            for turn in page.turns:
                await self._take(turn)
            # What is not confirmed comes after all that is.
            before, all_seen = page.next, newest in {turn.task_id for turn in page.turns}
            if before is None or not (self._tasks or (self._requests and not all_seen)):
                for task_id in self._tasks:
                    self._exchange.end(task_id, ConnectionLost(LOST))
                self._forget_abandoned()
                self.clear()
                return
        self.give_up()

    def give_up(self) -> None:
        """Nothing can be found out: tell whoever waits."""
        for task_id in self._tasks:
            self._exchange.end(task_id, ConnectionLost(LOST))
        for key in self._requests:
            if request := self._exchange.requests.pop(key, None):
                request.fail(ConnectionLost(UNTOLD))
        self.clear()

    def _forget_abandoned(self) -> None:
        """Do not send again what nobody waits for any more."""
        for key in self._requests:
            request = self._exchange.requests.get(key)
            if request is not None and request.answer.cancelled():
                del self._exchange.requests[key]

    async def _take(self, turn: ConversationTurn) -> None:
        if turn.request_id in self._requests:
            self._requests.discard(turn.request_id)
            if self._exchange.requests[turn.request_id].answer.cancelled():
                del self._exchange.requests[turn.request_id]  # it is over, whatever it was
                return
            await self._exchange.confirm(AgentRequestReceived(task_id=turn.task_id, request_id=turn.request_id))
        elif turn.task_id not in self._tasks:
            return
        self._tasks.discard(turn.task_id)
        for event in self._retold(turn):
            await self._exchange.pass_on(event)
        if turn.status == "completed":
            fields = {"response": turn.response or "", "result": turn.result, "usage": turn.usage}
            self._exchange.conclude(AgentResponseFrame(task_id=turn.task_id, **fields))
        else:
            self._exchange.end(turn.task_id, fate(turn))

    def _retold(self, turn: ConversationTurn) -> Iterator[TaskEvent]:
        text = "".join(str(event.get("output", "")) for event in turn.events if event.get("kind") == "output")
        if text:
            yield SnapshotOutput(task_id=turn.task_id, output=text)
        for event in turn.events:
            kind = str(event.get("kind"))
            if kind in EVENTS and EVENTS[kind][0] in self._features:
                with contextlib.suppress(ValidationError):  # of a newer server
                    yield EVENTS[kind][1].model_validate({**event, "task_id": turn.task_id})


def fate(turn: ConversationTurn) -> ClientError:
    """Return how a turn that was not completed is told to whoever waits for its answer."""
    if turn.status == "cancelled":
        return TaskCancelled("The task was cancelled.")
    if turn.status == "failed":
        error = turn.error or {}
        error_id = error.get("error_id")
        return ServerError(
            str(error.get("code", "")),
            str(error.get("message", "The task has failed.")),
            error_id if isinstance(error_id, str) else None,
        )
    return TaskInterrupted("The server ended while the task ran; it was not finished, and is not run again by itself.")
