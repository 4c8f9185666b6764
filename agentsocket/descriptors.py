"""How many files may be open: a server that has none left cannot even say so."""

import logging
import resource

from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket")

RESERVED_DESCRIPTORS = 96
"""Open files that are not connections: the listener, logs, what agents open, and sockets beyond the limit that are
accepted before others are closed."""

USUAL_CAPS = (1 << 20, 1 << 16, 10240, 4096)
"""Limits that a system may allow where it refuses its own hard one: Linux's ``fs.nr_open``, macOS's ``OPEN_MAX``."""


def fit_to_descriptors(settings: Settings) -> Settings:
    """Raise the limit of open files as far as the system lets, and have no more connections than it has room for."""
    limit = _raise_limit()
    room = limit - RESERVED_DESCRIPTORS
    if limit == resource.RLIM_INFINITY or room >= settings.max_connections:
        return settings
    if room <= 0:
        logger.warning("only %d files may be open: hardly enough for the server itself", limit)
        return settings
    logger.warning("only %d files may be open: %d connections at most", limit, room)
    return settings.model_copy(update={"max_connections": room})


def _raise_limit() -> int:
    """Return the limit as it is in the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = USUAL_CAPS[0] if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY:
        for limit in (highest, *(cap for cap in USUAL_CAPS if soft < cap < highest)):
            # A hard limit above what the system allows cannot be set again, so it comes down with the soft one.
            if _set_limit(limit, hard) or _set_limit(limit, limit):
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _set_limit(soft: int, hard: int) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (ValueError, OSError):
        return False
    return True
