"""The shell command: one question and its answer, or a conversation."""

import argparse
import asyncio
import contextlib
import json
import os
import sys

from agentsocket.client.client import TaskEvent, WebSocketClient
from agentsocket.client.errors import ClientError
from agentsocket.client.person import put_to_person
from agentsocket.client.printing import clean, note, say
from agentsocket.protocol.frames import AgentResponseFrame, ToolCallFrame, ToolResultFrame


def show(event: TaskEvent) -> None:
    """Print the answer to standard output, and the tool calls to standard error."""
    match event:
        case ToolCallFrame():
            note(f"-> {event.tool_name} {json.dumps(event.tool_kwargs, ensure_ascii=False)}")
        case ToolResultFrame():
            note(f"<- {event.tool_name} {json.dumps(event.tool_output, ensure_ascii=False)}")
        case AgentResponseFrame(response=response):
            say(clean(response))


async def ask_once(uri: str, token: str | None, message: str, *, frames_only: bool) -> None:
    """Ask one thing, and show what comes: the answer and the tool calls, or all the frames."""
    client = WebSocketClient(uri, token=token, on_input=put_to_person)
    frames = None
    try:
        await client.connect()
        frames = asyncio.create_task(client.listen_for_events()) if frames_only else None
        await client.login()
        async with contextlib.aclosing(client.stream(message)) as events:
            async for event in events:
                if not frames_only:
                    show(event)
    finally:
        await client.close()
        if frames:
            await frames


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Talk to an agent server.")
    parser.add_argument("message", nargs="?", help="what to ask; without it, a conversation")
    uri = os.environ.get("WS_URI") or "ws://localhost:8765"
    parser.add_argument("--uri", default=uri, help="the server's address (WS_URI; default: %(default)s)")
    parser.add_argument("--token", default=os.environ.get("WS_AUTH_TOKEN") or None, help="its token (WS_AUTH_TOKEN)")
    parser.add_argument("--json", action="store_true", help="print the frames, one a line")
    options = parser.parse_args()
    try:
        if options.message is None:
            from agentsocket.terminal.conversation import converse  # noqa: PLC0415  # the client alone is what others copy

            return asyncio.run(converse(options.uri, options.token, frames_only=options.json))
        asyncio.run(ask_once(options.uri, options.token, options.message, frames_only=options.json))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads has seen enough, as ``head`` has. What is still to be flushed at the exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ClientError as exc:
        note(f"error: {exc}")
        return 1
    return 0
