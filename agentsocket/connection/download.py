"""A file on its way to a peer: read as fast as that takes it."""

import asyncio
import logging
import os
from collections.abc import Callable

from agentsocket.connection.file_response import FileResponse
from agentsocket.connection.writer import FrameWriter

logger = logging.getLogger("agentsocket.files")

PIECE = 64 * 1024
"""Bytes that are read at once."""


async def send(response: FileResponse, writer: FrameWriter, abort: Callable[[], None]) -> None:
    """Send the body of an answer; where it cannot be read to its end the connection is aborted, so that the peer knows.

    Ends when the peer is gone.
    """
    loop, threads = asyncio.get_running_loop(), response.file.threads
    try:
        with response.file.path.open("rb", buffering=0) as file:
            at, end = response.part.start, response.part.stop
            while at < end and not writer.closing:
                data = await loop.run_in_executor(threads, os.pread, file.fileno(), min(PIECE, end - at), at)
                if not data:
                    raise EOFError("it became shorter")  # noqa: TRY301  # as if reading it had failed
                writer.control(data)
                at += len(data)
                while writer.paused and not writer.closing:
                    await writer.drained()
    except (OSError, EOFError, RuntimeError) as exc:  # the last where the server is at its end
        logger.warning("a file could not be sent: %s", getattr(exc, "strerror", None) or exc)
        abort()
