"""Finds the agent that blocks the event loop, and with it everybody else."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Self

logger = logging.getLogger("agentsocket.watchdog")


class Watchdog:
    """A thread that expects a sign of life from the loop, and where none comes logs what the loop stands in.

    It logs once for each time that the loop stands still for more than ``limit`` seconds, and afterwards for how long
    it did. Without a limit it does nothing.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit or 0.0
        self._beat = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True) if limit else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
            self._give_sign()
            self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._timer.cancel()
            self._thread.join()

    def _give_sign(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(self._limit / 4, self._give_sign)

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / 4):
            beat = self._beat
            if time.monotonic() - beat > self._limit:
                self._report()
                while self._beat == beat and not self._stopped.wait(0.01):
                    pass
                logger.warning("the event loop stood still for %.2f s", self._beat - beat)

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # the documented way to another thread's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        logger.warning("the event loop stands still, for more than %g s; it is here:\n%s", self._limit, stack)
