"""Which conversation was the last one with a server: kept in a file, for ``--continue``."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from agentsocket.client.address import shown

MAX_ADDRESSES: Final = 100


def state_file() -> Path:
    """Return where it is kept: in the directory for such state, as the system defines it."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "agentsocket" / "conversations.json"


class LastConversation:
    """The last conversation with the server of one address. The file is its user's alone: an id may be a secret."""

    def __init__(self, path: Path, uri: str) -> None:
        """Look into this file, for this address."""
        self._path, self._address = path, shown(uri)
        self._known = self._read().get(self._address)

    @property
    def id(self) -> str | None:
        """Its id, where one is known."""
        return self._known

    def note(self, conversation_id: str | None) -> None:
        """Something was said in this conversation; with None in one that is not kept, or it was deleted."""
        if conversation_id == self._known:
            return
        self._known = conversation_id
        others = {address: known for address, known in self._read().items() if address != self._address}
        mine = {} if conversation_id is None else {self._address: conversation_id}
        kept = dict([*others.items(), *mine.items()][-MAX_ADDRESSES:])
        # It is a comfort: where it cannot be kept, everything else works.
        with contextlib.suppress(OSError):
            self._write(json.dumps(kept, indent=1))

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(known, dict):
            return {}
        return {address: each for address, each in known.items() if isinstance(each, str)}

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Such a file is readable by its user alone from the start, and whole whenever it is looked at.
        number, name = tempfile.mkstemp(dir=self._path.parent)
        try:
            with os.fdopen(number, "w") as file:
                file.write(text)
            os.replace(name, self._path)  # noqa: PTH105  # a name, and no Path
        except OSError:
            os.unlink(name)  # noqa: PTH108
            raise
