"""Threads for the synchronous code of agents. They are the agents' own: who logs in or looks up a name needs none."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from agentsocket.containment.exits import end_child

logger = logging.getLogger("agentsocket.threads")

P = ParamSpec("P")
T = TypeVar("T")

THREADS: ContextVar["Threads | None"] = ContextVar("threads", default=None)
"""Where synchronous code of this context runs; outside of a server, in the loop's own pool."""


QUIET = 60.0
"""Seconds between two log lines of one pool: a few who write files at once fill one many times a second."""


class Threads(ThreadPoolExecutor):
    """A pool of threads that says when it is full: once, and again when it has been half empty in between."""

    def __init__(self, limit: int, name: str) -> None:
        super().__init__(limit, name)
        self._limit, self._name = limit, name
        self._lock = threading.Lock()
        self._warned = False
        self._quiet_until = 0.0
        self.pending = 0
        """Calls that run or wait for a thread."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a thread."""
        future = super().submit(functools.partial(_unforked, function), *args, **kwargs)
        with self._lock:
            self.pending += 1
            full = self.pending > self._limit and not self._warned
            self._warned = self._warned or full
            told = full and time.monotonic() >= self._quiet_until
            if told:
                self._quiet_until = time.monotonic() + QUIET
        if told:
            logger.warning("all %d threads of '%s' are busy: what comes now waits", self._limit, self._name)
        future.add_done_callback(self._ended)
        return future

    @property
    def busy(self) -> int:
        """Threads that are at work."""
        return min(self.pending, self._limit)

    def _ended(self, _: object) -> None:
        with self._lock:
            self.pending -= 1
            self._warned = self._warned and self.pending > self._limit // 2


def _unforked(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function; if it forks, and returns in the child too, end that: it would wait for work without end."""
    home, failure = os.getpid(), None
    try:
        return function(*args, **kwargs)
    except BaseException as exc:
        failure = exc
        raise
    finally:
        if os.getpid() != home:
            end_child(failure)
