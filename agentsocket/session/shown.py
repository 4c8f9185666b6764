"""What of a task stays to be seen, held for a client that has missed frames."""

from agentsocket.session.budget import ITEM, Account
from agentsocket.session.encoding import OUTPUT_LIMIT

SHOWN_SIZE = 128 * 1024
"""Bytes of files' and data's frames that a task keeps beside the newest one."""


class RecentText:
    """The newest part of a long text."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._data = bytearray()  # one buffer, where each of many small pieces would take 60 bytes beside its own

    def append(self, piece: str) -> None:
        """Add a piece."""
        before = len(self._data)
        self._data += piece.encode(errors="surrogatepass")
        if len(self._data) > 2 * OUTPUT_LIMIT:
            del self._data[:-OUTPUT_LIMIT]
        self._account.count(len(self._data) - before)

    @property
    def newest(self) -> bytes:
        """At most 256 KiB of it, as UTF-8; the first character may be cut."""
        return bytes(self._data[-OUTPUT_LIMIT:])

    def clear(self) -> None:
        """Forget it so far."""
        size = len(self._data)
        self._data.clear()
        self._account.count(-size)


class Shown:
    """The frames of a task's files, and of its data the newest of each id. Of too many the oldest go."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._frames: dict[tuple[str, str], bytes] = {}
        self._size = 0

    def keep(self, kind: str, name: str, frame: bytes) -> None:
        """Keep a frame, in place of an earlier one of the same kind and name."""
        before = self._size
        self._drop((kind, name))
        self._frames[kind, name] = frame
        self._size += len(frame) + ITEM
        while self._size > SHOWN_SIZE and len(self._frames) > 1:
            self._drop(next(iter(self._frames)))
        self._account.count(self._size - before)

    @property
    def frames(self) -> list[bytes]:
        """Those that are kept, oldest first."""
        return list(self._frames.values())

    def clear(self) -> None:
        """Forget them."""
        self._frames.clear()
        self._account.count(-self._size)
        self._size = 0

    def _drop(self, key: tuple[str, str]) -> None:
        if (frame := self._frames.pop(key, None)) is not None:
            self._size -= len(frame) + ITEM
