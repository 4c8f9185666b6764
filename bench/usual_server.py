"""The usual port of an agent to the plain library: a task for each request, ``json.dumps`` for each frame."""

import asyncio
import json
import sys
import time
import uuid
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

TEXT = "some thirty-five characters of text"


async def send(connection: ServerConnection, event: str, **data: Any) -> None:
    """Send a frame."""
    await connection.send(json.dumps({"event": event, "data": data}))


async def run(connection: ServerConnection, task_id: str, message: str) -> None:
    """Do what a request asks for."""
    match message.split():
        case ["burst", outputs]:
            for _ in range(int(outputs)):
                await send(connection, "agent_output", task_id=task_id, output=TEXT)
        case ["pace" | "work", outputs, seconds]:
            for _ in range(int(outputs)):
                await asyncio.sleep(float(seconds))
                text = f"{time.monotonic_ns()} characters to pace"
                await send(connection, "agent_output", task_id=task_id, output=text)
    await send(connection, "agent_response", task_id=task_id, response="done")


async def serve_client(connection: ServerConnection) -> None:
    """Answer one client."""
    tasks: dict[str, asyncio.Task[None]] = {}
    async for message in connection:
        frame = json.loads(message)
        if frame["event"] == "login":
            await send(connection, "login_response", session_id=str(uuid.uuid4()), status="success")
        elif frame["event"] == "cancel_request":
            task = tasks.pop(frame["data"]["task_id"])
            task.cancel()
            await asyncio.wait([task])
            await send(connection, "task_cancelled", task_id=frame["data"]["task_id"])
        else:
            task_id = str(uuid.uuid4())
            await send(connection, "agent_request_received", task_id=task_id)
            tasks[task_id] = asyncio.create_task(run(connection, task_id, frame["data"]["message"]))


async def main() -> None:
    """Serve on the port that the command line names, ``--port PORT``."""
    async with serve(serve_client, "127.0.0.1", int(sys.argv[2])) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
