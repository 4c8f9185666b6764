"""How the tasks of a session stand, told in one frame of bounded size to a client that comes back."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from pydantic_core import from_json, to_json

from agentsocket.protocol.frames import PendingInput, TaskSnapshot
from agentsocket.session.encoding import newest

ROOM = 240 * 1024
"""Bytes that all tasks take in a ``login_response``; the rest of the 256 KiB that it may have is for its own fields."""

ENVELOPE = 96
"""Bytes of a snapshot that says nothing but how its task stands."""


SAID_AT_THE_END = ("response", "result", "code", "message", "error_id")
"""Fields of terminal frames that a snapshot has too."""

SHOWN = {"agent_file": "files", "agent_data": "data"}
"""Fields of a snapshot, and likewise features, by the event of what they tell."""


class Standing(NamedTuple):
    """How one task stands."""

    task_id: str
    status: str
    frames: Sequence[bytes]
    """What a client has to know: the questions of one that runs, the terminal frame of one that has ended."""
    text: bytes = b""
    """The newest of what it has said, as UTF-8."""
    shown: Sequence[bytes] = ()
    """The frames of its files, and of its data the newest of each id."""


class Summary:
    """The snapshots of all tasks. What does not fit into them is to be said once more in frames of its own.

    A question that does not fit is not among the pending ones; a task whose terminal frame does not fit stands there
    as running. So both come like news, and so do files and data. Of the texts the newest parts are told, in what room
    is left.
    """

    def __init__(self, standings: Sequence[Standing], features: Collection[str]) -> None:
        """Tell how these tasks stand, to a client that understands these features."""
        self._features = features
        self.owed: list[tuple[str, bytes]] = []
        """Frames that did not fit, each with its task's id, oldest first."""
        self._room = ROOM - ENVELOPE * len(standings)
        newest_first = [(self._told(standing), standing) for standing in reversed(standings)]
        self.tasks = [snapshot for snapshot, _ in reversed(newest_first)]
        self.owed.reverse()
        # The text of a task that runs is not repeated by an answer.
        self._share((snapshot, task) for snapshot, task in newest_first if task.status == "running")
        self._share((snapshot, task) for snapshot, task in newest_first if task.status != "running")

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return ROOM - self._room + sum(len(frame) for _, frame in self.owed)

    def _told(self, task: Standing) -> TaskSnapshot:
        """Return the snapshot of a task, without its text."""
        fields: dict[str, object] = {"status": task.status}
        questions = []
        for frame in task.frames:
            if len(frame) > self._room:
                self.owed.append((task.task_id, frame))
                fields["status"] = "running"
                continue
            self._room -= len(frame)
            data = from_json(frame)["data"]
            if task.status == "running":
                questions.append(PendingInput.model_validate(data))
            else:
                fields |= {name: data[name] for name in SAID_AT_THE_END if name in data}
        return TaskSnapshot.model_validate(
            {"task_id": task.task_id, "output": "", "pending_inputs": questions, **fields, **self._shown(task)}
        )

    def _shown(self, task: Standing) -> dict[str, list[object]]:
        """Return the files and data that a snapshot tells of."""
        told: dict[str, list[object]] = {}
        for frame in task.shown:
            said = from_json(frame)
            field = SHOWN[said["event"]]
            if field not in self._features:
                continue
            if len(frame) <= self._room:
                self._room -= len(frame)
                told.setdefault(field, []).append(said["data"])
            elif task.status == "running":  # after its end a task says nothing more
                self.owed.append((task.task_id, frame))
        return told

    def _share(self, tasks: Iterable[tuple[TaskSnapshot, Standing]]) -> None:
        """Give each text its share of the room; what the shorter ones leave is for the longer ones."""
        shortest_first = sorted(tasks, key=lambda each: len(each[1].text))
        for left, (snapshot, task) in zip(range(len(shortest_first), 0, -1), shortest_first, strict=True):
            snapshot.output = newest(task.text, max(0, self._room) // left)
            self._room -= len(to_json(snapshot.output))
