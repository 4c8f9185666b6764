"""Where log lines go: to stderr, by a thread, so that nobody waits for a reader that stands still."""

import contextlib
import os
import select
import threading
from collections import deque

LIMIT = 1024 * 1024
"""Bytes of lines that wait to be written; what comes on top of that is lost, and counted."""

FLUSH = 0.5
"""Seconds that the end of the process waits for its last lines."""


class LogOutput:
    """Writes lines to a file descriptor. ``write`` never waits for whoever reads them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._size = 0
        """Bytes that wait, those that are being written included."""
        self._lost = 0
        self._changed = threading.Condition()
        self._forked = False
        threading.Thread(target=self._pump, name="log", daemon=True).start()
        os.register_at_fork(after_in_child=self._after_fork)

    def write(self, line: str) -> None:
        """Take a line."""
        data = f"{line}\n".encode(errors="backslashreplace")
        if self._forked:
            self._write(data)
            return
        with self._changed:
            if self._size + len(data) > LIMIT:
                self._lost += 1
                return
            self._lines.append(data)
            self._size += len(data)
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH) -> None:
        """Wait until all is written, but no longer than this."""
        with self._changed:
            self._changed.wait_for(lambda: not self._size, seconds)

    def _pump(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                data, lost = b"".join(self._lines), self._lost
                self._lines.clear()
            if lost:
                data += f"  … {lost} lines of the log are lost here: whoever reads it stood still\n".encode()
            self._write(data)
            with self._changed:
                self._size = sum(map(len, self._lines))
                self._lost -= lost
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):  # nobody reads it any more: there is nobody to tell either
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:  # somebody else has made it non-blocking
                    waiting = select.poll()
                    waiting.register(self._descriptor, select.POLLOUT)
                    waiting.poll()

    def _after_fork(self) -> None:
        """In a child that an agent has forked: it has no such thread, and what waits is its parent's to write."""
        self._forked = True
        self._changed = threading.Condition()
        self._lines.clear()
        self._size = 0
