"""Which engine is behind ``--store``."""

import os
from pathlib import Path

from agentsocket.conversations.contract import Store
from agentsocket.conversations.sqlite import SqliteStore

FULL = "?synchronous=full"
"""Behind a path: each write waits until the disk itself has it, and not only the system."""


def store_for(address: str) -> Store:
    """Return the store at this address, ``sqlite:PATH``; it is not opened yet."""
    return SqliteStore(_path(address), durable=address.endswith(FULL))


def folder_beside(address: str) -> Path:
    """Return the folder in which the files of conversations lie, where none was asked for."""
    path = _path(address)
    return path.with_name(f"{path.name}.files")


def _path(address: str) -> Path:
    """Return the file itself: one and the same by whatever way, wherever an agent changes to, and whatever its name."""
    return Path(os.path.realpath(address.removeprefix("sqlite:").removesuffix(FULL)))
