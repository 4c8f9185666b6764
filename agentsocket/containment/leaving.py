"""The end of the process: what agents have started gets its chance to end, and then there is an end."""

import _thread
import atexit
import contextlib
import faulthandler
import itertools
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

logger = logging.getLogger("agentsocket.containment")

CHANCE = 1.7
"""Seconds, beyond the grace, that all of the end takes at most."""

HASTE = 0.7
"""Seconds that the end takes at most after a second signal."""

LAST_CHANCE = 0.5
"""Seconds before that in which processes are asked to end, and exit functions run though threads do not end."""

KILLED_AFTER = 0.2
"""Seconds that a child process has to end once all else has."""

SAID_IN = 0.1
"""Seconds in which the last line of the log is written."""

LOCKED_OUT = 0.2
"""Seconds beyond the last moment: who has had no turn until then will get none, as something keeps Python's lock."""

STDERR = 2

TICK = 0.02
"""Seconds between two looks at what has ended."""


class Departure:
    """Ends the process in time, whatever agents have started: threads, processes, exit functions, a blocked loop."""

    def __init__(self) -> None:
        self._code: int | None = None
        # One handler may interrupt another: what they do is a single step of Python's each.
        self._deadlines: list[float] = []
        self._signals, self._begun = itertools.count(), itertools.count()
        self._finishing = threading.Lock()

    def signal(self, grace: float) -> None:
        """A signal asks for the end: after the grace, or if it is not the first one, now. For its handler to call."""
        self.begin(HASTE if next(self._signals) else grace + CHANCE)

    def begin(self, seconds: float) -> None:
        """End within so many seconds from now, or earlier if this was said before."""
        self._deadlines.append(time.monotonic() + seconds)
        if not next(self._begun):
            _thread.start_new_thread(self._watch, ())  # threading's own takes locks that the interrupted may hold
        # A single call of C, a regular expression or 9**9**9, may let no thread of Python run. This one needs no turn.
        left = max(min(self._deadlines) - time.monotonic(), 0)
        faulthandler.dump_traceback_later(left + SAID_IN + LOCKED_OUT, exit=True, file=STDERR)

    def leave(self, code: int) -> NoReturn:
        """End now, as Python does it: wait for threads, call the exit functions; but for nothing beyond the time."""
        self._code = code
        self.begin(CHANCE)
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing ends its children
        self._finish()

    def _finish(self) -> NoReturn:
        """Call the exit functions, and end. Only once, by whoever comes first."""
        self._finishing.acquire()
        atexit._run_exitfuncs()  # noqa: SLF001  # as in leave()
        _end_children()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # an agent may have closed it, or put anything in its place
                stream.flush()
        os._exit(self._code or 0)

    def _watch(self) -> None:
        asked = False
        while (left := min(self._deadlines) - time.monotonic()) > 0:
            if left < LAST_CHANCE and self._code is not None and not asked:
                asked = True
                _signal(signal.SIGTERM)
                _thread.start_new_thread(self._finish, ())  # where the main thread still waits for others
            time.sleep(min(left, TICK))
        _thread.start_new_thread(_say_what_is_left, (self._code is None,))  # in a thread: the log may be what hangs
        time.sleep(SAID_IN)
        _signal(signal.SIGKILL)
        os._exit(self._code or 0)


def _say_what_is_left(runs: bool) -> None:  # noqa: FBT001  # _thread passes no names
    what = "the event loop is blocked" if runs else "exit functions of agents do not end"
    logger.warning("%s: ending without waiting for that", what)


def _end_children() -> None:
    """End the processes that agents have left behind."""
    deadline = time.monotonic() + KILLED_AFTER
    _signal(signal.SIGTERM)
    while _children() and time.monotonic() < deadline:
        time.sleep(TICK)
    _signal(signal.SIGKILL)


def _signal(number: int) -> None:
    for child in _children():
        try:
            os.kill(child, number)
        except OSError:  # it is gone
            continue


def _children() -> set[int]:
    """Return the processes that this one has started and that still run. One that cleans up after them is let be."""
    found: set[int] = set()
    if sys.platform == "linux":
        for path in Path("/proc/self/task").glob("*/children"):
            try:
                found |= {int(child) for child in path.read_text().split()}
            except OSError:  # a thread that has ended meanwhile
                continue
    elif "multiprocessing" in sys.modules:
        found = {child.pid for child in sys.modules["multiprocessing"].active_children()}
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    found.discard(tracker._resource_tracker._pid if tracker else 0)  # noqa: SLF001  # its name in all of Python's releases
    return {child for child in found if _runs(child)}


def _runs(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG) == (0, 0)
    except OSError:  # somebody else has waited for it
        return False
