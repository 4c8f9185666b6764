"""The files of a conversation: those that go with the next message, and those that have come, by their numbers."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ClientError
from agentsocket.client.printing import amount, one_row
from agentsocket.client.saving import Savings
from agentsocket.protocol.events import AgentFile
from agentsocket.terminal.screen import Screen
from agentsocket.terminal.task_view import MAX_NAME, TaskView
from agentsocket.terminal.text import DIM, RED


class Files:
    """Keeps what the person attaches, and saves what the agent sends."""

    def __init__(self, client: WebSocketClient, screen: Screen, save_to: Path | None) -> None:
        """Save every file that comes into ``save_to``; with None, only those that are asked for."""
        self._client, self._screen, self._save_to = client, screen, save_to
        self.attached: list[Path] = []
        """What goes with the next message."""
        self.failed = False
        """Whether a file that was to be saved was not."""
        self._received: list[AgentFile] = []
        self._savings: dict[Path, Savings] = {}

    @property
    def names(self) -> list[str]:
        """The names of what is attached."""
        return [one_row(path.name, MAX_NAME) for path in self.attached]

    def attach(self, paths: Iterable[Path]) -> None:
        """Have files go with the next message."""
        self.attached.extend(paths)
        self._screen.change()

    def attach_typed(self, typed: str) -> None:
        """Attach what a person has typed, or dropped on the terminal: a path as it is, or several as a shell has them.

        With nothing typed, say what is attached.
        """
        paths = [_path(typed)] if typed else []
        if not all(map(os.path.isfile, paths)):
            paths = [_path(word) for word in _words(typed)]
        if not all(map(os.path.isfile, paths)):
            self._screen.note(f"There is no file {typed}.", RED)
            return
        self.attach(paths)
        there = filter(os.path.isfile, self.attached)
        names = ", ".join(f"{path.name} ({amount(path.stat().st_size)})" for path in there)
        self._screen.note(f"With the next message: {names}." if names else "Nothing is attached; /attach FILE does.")

    def detach(self) -> None:
        """Send none of them."""
        self.attached.clear()
        self._screen.note("Nothing is attached.")

    def hand_out(self) -> list[Path]:
        """Return what goes with this message, and not with the next."""
        attached, self.attached = self.attached, []
        return attached

    def receive(self, file: AgentFile, view: TaskView) -> None:
        """Tell of a file that has come, and save it where that is wanted."""
        view.note(f"▤ {self.mention(file, saved=self._save_to is not None)}")
        if self._save_to:
            self._save(file, self._save_to)

    def mention(self, file: AgentFile, *, saved: bool = False) -> str:
        """Return what is told of a file, with its number where it is not ``saved`` already."""
        self._received.append(file)
        told = f"{one_row(file.name, MAX_NAME)} · {one_row(file.media_type, MAX_NAME)} · {amount(file.size)}"
        return told if saved else f"{told} · /save {len(self._received)}"

    def save_typed(self, typed: str) -> None:
        """Save a file of this number, or the newest, into the folder that is named, or this one."""
        number, _, folder = typed.partition(" ")
        if not number.isdecimal():
            number, folder = str(len(self._received)), typed
        if not (number.isascii() and 0 < int(number[:9]) <= len(self._received)):
            self._screen.note("There is no such file." if self._received else "No file has come yet.")
            return
        words = _words(folder)  # of several, the spaces are its own
        into = _path(words[0] if len(words) == 1 else folder) if folder else self._save_to or Path()
        self._save(self._received[int(number) - 1], into)

    async def finish(self) -> None:
        """Wait until all that is being saved is there."""
        for savings in self._savings.values():
            await savings.finish()

    async def stop(self) -> None:
        """Save nothing more."""
        for savings in self._savings.values():
            await savings.stop()

    def _save(self, file: AgentFile, folder: Path) -> None:
        savings = self._savings.setdefault(folder, Savings(folder, self._tell_saved))
        savings.add(self._client, file)

    def _tell_saved(self, file: AgentFile, outcome: Path | ClientError) -> None:
        if isinstance(outcome, ClientError):
            self.failed = True
            self._screen.note(f"error: {one_row(file.name, MAX_NAME)}: {outcome}", RED)
        else:
            self._screen.note(f"Saved: {outcome}", DIM)


def _words(typed: str) -> list[str]:
    """Read what was typed as a shell would, or leave it as it is."""
    try:
        return shlex.split(typed)
    except ValueError:
        return [typed]


def _path(typed: str) -> Path:
    return Path(os.path.expanduser(typed))  # noqa: PTH111  # which takes it as it is where there is no such user
