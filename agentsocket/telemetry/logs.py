"""Logging: every line carries the ids of the connection, the session and the task it belongs to, and no payload.

The server's own lines go their own way: whatever an agent does to Python's logging, they are still written. Only the
process asks for that; where the server is a part of another program, that program's logging is left alone.
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from contextvars import ContextVar
from typing import Any

from agentsocket.telemetry.log_lines import LineFormatter, one_line
from agentsocket.telemetry.log_output import LogOutput

logger = logging.getLogger("agentsocket")

IDS: ContextVar[str] = ContextVar("ids", default="")
"""What the running task works for, as it stands in each of its log lines; a task sets it in its own context."""

LEVELS = ("debug", "info", "warning", "error")

LIBRARIES = ("asyncio", "websockets.server")
"""What these say of the server is the server's own. What a stranger's handshake looks like is no news."""


def configure(level: str) -> None:
    """Log to stderr, from this level on: the server's own lines, and what agents log."""
    sink = _Sink(LogOutput(_stderr()))
    for_agents = _ForAgents(sink)
    logging.basicConfig(level=level.upper(), handlers=[for_agents], force=True)
    logging.lastResort = for_agents
    logging.captureWarnings(True)  # noqa: FBT003  # Python's own
    threading.excepthook, sys.unraisablehook = _of_a_thread, _of_nobody
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logger.__class__ = _OwnLogger
    logger.sink, logger.least = sink, logging.getLevelNamesMapping()[level.upper()]  # type: ignore[attr-defined]  # it is one now
    hold()
    atexit.register(flush)


def hold() -> None:
    """Take in the loggers of modules that were imported since ``configure``."""
    if not isinstance(logger, _OwnLogger):
        return
    for name, each in list(logging.root.manager.loggerDict.items()):
        if type(each) is logging.Logger and (name in LIBRARIES or name.startswith(f"{logger.name}.")):
            each.__class__ = _OwnLogger
            each.sink = logger.sink  # type: ignore[attr-defined]
            each.least = max(logger.least, logging.WARNING if name in LIBRARIES else 0)  # type: ignore[attr-defined]


def flush() -> None:
    """Wait a moment for the last lines to be written: before the process ends."""
    if isinstance(logger, _OwnLogger):
        logger.sink.flush()


def _of_a_thread(failure: threading.ExceptHookArgs) -> None:
    """Log what ended a thread. Python would write it as it is, and what it repeats could pass for a line of the log."""
    if failure.exc_type is not SystemExit:
        name = "" if failure.thread is None else failure.thread.name
        logger.error("a thread of an agent failed: %s", name, exc_info=failure.exc_value)


def _of_nobody(failure: "sys.UnraisableHookArgs") -> None:
    """Log what was raised where nobody can catch it, in ``__del__`` say."""
    logger.error("%s", failure.err_msg or "an exception was ignored", exc_info=failure.exc_value)


def _stderr() -> int:
    try:
        return os.dup(2)  # of our own: an agent may close what is called stderr
    except OSError:  # the process was started without one
        return os.open(os.devnull, os.O_WRONLY)


class _Sink:
    """Takes records, with the ids of whatever runs."""

    def __init__(self, output: LogOutput) -> None:
        self._output = output
        self._formatter = LineFormatter()
        self.flush = output.flush

    def take(self, record: logging.LogRecord) -> None:
        """Write a record; never raises, never waits."""
        record.ids = IDS.get()
        try:
            text = self._formatter.format(record)
        except Exception as exc:  # noqa: BLE001  # what is logged may raise anything when its text is made
            text = one_line(f"{record.levelname} {record.name}: {record.msg!r:.200} cannot be logged: {exc!r}")
        self._output.write(text)


class _OwnLogger(logging.Logger):
    """A logger of the server's own. Nothing that is set for loggers, levels, handlers or records reaches it."""

    sink: _Sink
    least: int

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # Python's own name
        """Whether such a line is wanted."""
        return level >= self.least

    def makeRecord(self, *given: Any) -> logging.LogRecord:  # noqa: N802  # likewise
        """Make a record by Python's own class: an agent may have set another one."""
        extra = given[-2]
        record = logging.LogRecord(*given[:-2], *given[-1:])
        record.__dict__.update(extra or {})
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Write it."""
        self.sink.take(record)


class _ForAgents(logging.Handler):
    """What agents and their libraries log, unless they set something else."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        self._sink.take(record)

    def flush(self) -> None:
        """Wait a moment until it is written, as ``logging.shutdown`` wants it."""
        self._sink.flush()


class LoopErrors:
    """Logs what the event loop reports: that it has no descriptor left once, and not a thousand times in a row."""

    PAUSE = 10.0

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take a report, as ``loop.set_exception_handler`` wants it."""
        if not context["message"].startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + self.PAUSE
            logger.warning("no more connections can be accepted for now: %s", context["exception"])
