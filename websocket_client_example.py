"""Talk to an agent server: ``python websocket_client_example.py "What time is it?"``, or embed ``WebSocketClient``.

The class stands in ``agentsocket/client/client.py``, the command in ``agentsocket/client/command.py``.
"""

import sys

from agentsocket.client.client import File, SnapshotOutput, TaskEvent, WebSocketClient, full_jitter
from agentsocket.client.command import main
from agentsocket.client.errors import (
    ClientError,
    ConnectionLost,
    FileError,
    MessageTooLong,
    NoAnswer,
    ServerError,
    TaskCancelled,
    TaskInterrupted,
)

__all__ = [
    "ClientError",
    "ConnectionLost",
    "File",
    "FileError",
    "MessageTooLong",
    "NoAnswer",
    "ServerError",
    "SnapshotOutput",
    "TaskCancelled",
    "TaskEvent",
    "TaskInterrupted",
    "WebSocketClient",
    "full_jitter",
    "main",
]

if __name__ == "__main__":
    sys.exit(main())
