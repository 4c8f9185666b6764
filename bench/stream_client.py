"""What a client receives in a burst: ``python -m bench.stream_client stream|bare PORT OUTPUTS`` prints frames/s."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

from websockets.asyncio.client import connect

from agentsocket.client.client import WebSocketClient
from agentsocket.protocol.codec import encode
from agentsocket.protocol.frames import AgentRequest, Login


async def by_stream(uri: str, message: str) -> AsyncIterator[object]:
    """Yield what the project's client yields."""
    async with WebSocketClient(uri) as client:
        async for event in client.stream(message):
            yield event


async def by_bare_loop(uri: str, message: str) -> AsyncIterator[object]:
    """Yield what a loop over the library yields, which reads the JSON and no more."""
    async with connect(uri) as connection:
        await connection.send(encode(Login()), text=True)
        json.loads(await connection.recv())
        await connection.send(encode(AgentRequest(message=message)), text=True)
        async for text in connection:
            frame = json.loads(text)
            yield frame
            if frame["event"] == "agent_response":
                return


async def main(how: str, port: int, outputs: int) -> None:
    """Ask for a burst, twice: the first one, a small one, is for what is slow the first time only."""
    receive = by_stream if how == "stream" else by_bare_loop
    for count in (outputs // 20, outputs):
        frames, first = 0, 0.0
        async for _ in receive(f"ws://127.0.0.1:{port}", f"burst {count}"):
            first = first or time.perf_counter()
            frames += 1
        if frames < count:
            raise ValueError(f"{count} outputs were asked for, and {frames} frames came")
    sys.stdout.write(f"{frames / (time.perf_counter() - first)}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
