"""Which engine is behind ``--store``."""

from pathlib import Path

from agentsocket.conversations.contract import Store
from agentsocket.conversations.sqlite import SqliteStore

FULL = "?synchronous=full"
"""Behind a path: each write waits until the disk itself has it, and not only the system."""


def store_for(address: str) -> Store:
    """Return the store at this address, ``sqlite:PATH``; it is not opened yet."""
    path = address.removeprefix("sqlite:")
    return SqliteStore(Path(path.removesuffix(FULL)), durable=path.endswith(FULL))


def folder_beside(address: str) -> Path:
    """Return the folder in which the files of conversations lie, where none was asked for."""
    path = address.removeprefix("sqlite:").removesuffix(FULL)
    return Path(f"{path}.files")
