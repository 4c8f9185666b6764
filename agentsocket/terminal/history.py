"""What the person has asked before, kept in a file for the next time."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

MAX_LINES: Final = 1000


def history_file() -> Path:
    """Return where the history is kept: in the directory for such state, as the system defines it."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "agent-client" / "history"


class History:
    """The messages, oldest first. One that contains a secret is not among them."""

    def __init__(self, path: Path, secrets: Collection[str]) -> None:
        self._path, self._secrets = path, secrets
        self.lines: list[str] = []
        # A history is a comfort: without it, or without its file, everything else works.
        with contextlib.suppress(OSError):
            self.lines = path.read_text(errors="replace").splitlines()[-MAX_LINES:]

    def add(self, message: str) -> None:
        """Remember a message."""
        line = " ".join(message.splitlines())
        if any(secret in message for secret in self._secrets) or self.lines[-1:] == [line]:
            return
        self.lines.append(line)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "a", errors="replace") as out:
                out.write(f"{line}\n")
