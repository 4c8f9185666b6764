"""What may stand between a page and its server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Link:
    """A TCP proxy that can be cut and mended."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.whole = True
        self._open: set[asyncio.StreamWriter] = set()
        self._answers: set[asyncio.StreamWriter] = set()
        """Those of the open ones that lead to a page."""
        self._silent: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection, and refuse new ones until ``mend``."""
        self.whole = False
        for writer in list(self._open):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Let every connection die without a word, as when a phone leaves its network; new ones work."""
        self._silent |= self._open

    def swallow_answers(self) -> None:
        """Have the server hear every connection, and none of the pages hear the server; new ones work."""
        self._silent |= self._answers

    def mend(self) -> None:
        self.whole = True

    async def stop(self) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            onwards = await asyncio.open_connection("127.0.0.1", self.target)
            self._open |= {writer, onwards[1]}
            self._answers.add(writer)
            await asyncio.gather(self._pump(reader, onwards[1]), self._pump(onwards[0], writer))
        writer.close()  # also where there was nobody to go on to

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
        writer.close()
        self._open.discard(writer)
        self._answers.discard(writer)
        self._silent.discard(writer)


@contextlib.asynccontextmanager
async def linked(port: int) -> AsyncIterator[Link]:
    link = Link(port)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
