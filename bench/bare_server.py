"""A bare loop over the plain library: every frame is ready before anybody asks. It does what the scenarios need."""

import asyncio
import json
import sys
import time

from websockets.asyncio.server import ServerConnection, serve

LOGGED_IN = b'{"event":"login_response","data":{"session_id":"0123456789abcdef","status":"success"}}'
RECEIVED = b'{"event":"agent_request_received","data":{"task_id":"%016x"}}'
OUTPUT = (
    b'{"event":"agent_output","data":{"task_id":"0123456789abcdef","output":"some thirty-five characters of text"}}'
)
STAMPED = b'{"event":"agent_output","data":{"task_id":"0123456789abcdef","output":"%d characters to pace"}}'
ANSWER = b'{"event":"agent_response","data":{"task_id":"0123456789abcdef","response":"done"}}'
CANCELLED = b'{"event":"task_cancelled","data":{"task_id":"%016x"}}'


async def burst(connection: ServerConnection, outputs: int) -> None:
    """Send frames without a pause."""
    for _ in range(outputs):
        await connection.send(OUTPUT, text=True)


async def pace(connection: ServerConnection, outputs: int, seconds: float) -> None:
    """Send frames that carry their time, so many seconds apart."""
    for _ in range(outputs):
        await asyncio.sleep(seconds)
        await connection.send(STAMPED % time.monotonic_ns(), text=True)


async def serve_client(connection: ServerConnection) -> None:
    """Answer one client."""
    tasks: list[asyncio.Task[None]] = []
    async for message in connection:
        frame = json.loads(message)
        if frame["event"] == "login":
            await connection.send(LOGGED_IN, text=True)
        elif frame["event"] == "cancel_request":
            number = int(frame["data"]["task_id"], 16)
            tasks[number].cancel()
            await asyncio.wait([tasks[number]])
            await connection.send(CANCELLED % number, text=True)
        else:
            await connection.send(RECEIVED % len(tasks), text=True)
            match frame["data"]["message"].split():
                case ["burst", outputs]:
                    await burst(connection, int(outputs))
                case ["pace", outputs, seconds]:
                    await pace(connection, int(outputs), float(seconds))
                case ["work", outputs, seconds]:  # to be cancelled, and so the only one that needs a task
                    tasks.append(asyncio.create_task(pace(connection, int(outputs), float(seconds))))
                    continue
            await connection.send(ANSWER, text=True)


async def main() -> None:
    """Serve on the port that the command line names, ``--port PORT``."""
    async with serve(serve_client, "127.0.0.1", int(sys.argv[2])) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
