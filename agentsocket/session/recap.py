"""What a client that takes a session up again is told of what it has missed."""

from collections.abc import Collection, Mapping

from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import ErrorFrame, TaskSnapshot
from agentsocket.session.agent_task import AgentTask
from agentsocket.session.allowance import EVERY, Allowance
from agentsocket.session.ends import End
from agentsocket.session.frame_log import FrameLog
from agentsocket.session.snapshots import Standing, Summary


class Recap:
    """Knows of one session what its client has not seen and never will, and how to make up for it."""

    def __init__(self, log: FrameLog, tasks: Mapping[str, AgentTask], log_size: int) -> None:
        self._log, self._tasks = log, tasks
        self._missed = range(0)
        """Numbers of frames that the client has not seen and that are not repeated."""
        self._owed: list[tuple[str, bytes]] = []
        self._repeats = Allowance(log_size)

    def tell(self, last_seq: int | None, features: Collection[str]) -> tuple[bool, list[TaskSnapshot]]:
        """Return whether every frame after this number can be said again, and how the tasks stand.

        With none nothing is said again. Both for a client that understands these features.

        Raises:
            ProtocolError: ``rate_limited`` where too much was said again already.
        """
        if self._repeats.spent:
            text = "This session was taken up too often: wait a while."
            raise ProtocolError(ErrorCode.RATE_LIMITED, text, retry_after=EVERY, scope="session")
        lossless = last_seq is not None and last_seq >= self._log.first_seq - 1
        last_seq = last_seq or 0
        standings = [*self._ended(in_full=not lossless), *self._running(in_full=not lossless)]
        summary = Summary(standings, features)
        self._repeats.take(summary.size + (self._log.size_after(last_seq) if lossless else 0))
        self._owed = summary.owed
        if not lossless:
            self._missed = range(min(last_seq + 1, self._missed.start or last_seq + 1), self._log.last_seq + 1)
        return lossless, summary.tasks

    def complete(self) -> None:
        """Say what had no room in that answer, once the frames that are repeated are on their way."""
        owed, self._owed = self._owed, []
        for task_id, frame in owed:
            self._say_again(task_id, frame)

    def tell_end(self, task_id: str) -> None:
        """Say how a task ended to a client that did not hear it, and has only now learnt the task's id."""
        end = self._end_of(task_id)
        if end is not None and end.frame and end.seq in self._missed:
            self._say_again(task_id, end.frame)
        elif self._missed and (end is None or end.seq in self._missed):
            text = "The task has ended, and how is no longer known."
            self._log.append(encode(ErrorFrame(message=text, code=ErrorCode.UNKNOWN_TASK, task_id=task_id)))

    def _ended(self, *, in_full: bool) -> list[Standing]:
        """Return how tasks ended; to a client that gets every frame no more than that they did."""
        known = self._log.ends.known() if self._log.ends is not None else []
        return [
            Standing(task_id, end.status, [end.frame], end.text, end.shown)
            if in_full
            else Standing(task_id, end.status, [])
            for task_id, end in known
        ]

    def _running(self, *, in_full: bool) -> list[Standing]:
        return [
            Standing(task.id, "running", task.turn.questions, task.turn.speech.text, task.turn.speech.shown)
            if in_full
            else Standing(task.id, "running", task.turn.questions)
            for task in self._tasks.values()
            if task.started
        ]

    def _say_again(self, task_id: str, frame: bytes) -> None:
        self._log.append(frame)
        if (end := self._end_of(task_id)) is not None:
            end.seq = self._log.last_seq

    def _end_of(self, task_id: str) -> End | None:
        return self._log.ends.get(task_id) if self._log.ends is not None else None
