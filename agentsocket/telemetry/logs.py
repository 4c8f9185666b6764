"""Logging: every line carries the ids of the connection, the session and the task it belongs to, and no payload."""

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger("agentsocket")

IDS: ContextVar[str] = ContextVar("ids", default="")
"""What the running task works for, as it stands in each of its log lines; a task sets it in its own context."""

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str) -> None:
    """Log to stderr, from this level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s:%(ids)s %(message)s"))
    handler.addFilter(_add_ids)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What a stranger's handshake looks like is no news; what the library itself thinks is wrong, is.
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


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


def _add_ids(record: logging.LogRecord) -> bool:
    record.ids = IDS.get()
    return True
