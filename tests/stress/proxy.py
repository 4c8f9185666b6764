"""A TCP proxy that cuts its links at random instants, in the ways in which links are cut."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator

from tests.stress.link import reset


class Proxy:
    """Forwards to one port. Each link lives for a random time; then it is cut, as its seed says."""

    def __init__(self, port: int, seed: int, lifetime: tuple[float, float]) -> None:
        self.cuts: Counter[str] = Counter()
        """How often links were cut, by way."""
        self._target, self._random, self._lifetime = port, random.Random(seed), lifetime
        self._links: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def calm(self) -> None:
        """Cut no more links."""
        self._lifetime = (1e6, 1e6)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        """Forward within this."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        lifetime, way = self._random.uniform(*self._lifetime), self._random.choice(["reset", "half-close", "stall"])
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._forward(reader, writer, lifetime, way)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lifetime: float, way: str
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        ways = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
        try:
            done, _ = await asyncio.wait(ways, timeout=lifetime, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self.cuts[way] += 1
                for task in ways:
                    task.cancel()
                await asyncio.wait(ways)
                await self._cut(reader, writer, back, way)
        finally:
            for task in ways:
                task.cancel()
            writer.transport.abort()
            back.transport.abort()

    async def _cut(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, way: str
    ) -> None:
        if way == "reset":
            reset(writer.transport)
            reset(back.transport)
        elif way == "half-close":
            writer.write_eof()
            back.write_eof()
            await reader.read()  # until the client is gone
        else:
            # Nothing goes through any more and nobody is told; the server finds out when it is displaced, or later.
            while await reader.read(65536):
                pass


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
