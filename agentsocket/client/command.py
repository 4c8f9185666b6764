"""The shell command: one question and its answer, or a conversation."""

import argparse
import asyncio
import contextlib
import io
import os
import sys

from agentsocket.client.address import shown
from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ClientError, ServerError, explain
from agentsocket.client.printing import note
from agentsocket.client.showing import Showing
from agentsocket.client.whereabouts import whereabouts
from agentsocket.protocol.errors import ErrorCode


async def ask_once(uri: str, token: str | None, agent: str | None, message: str, *, frames_only: bool) -> None:
    """Ask one thing, and show what comes: the answer and the tool calls, or all the frames."""
    showing = Showing()
    client = WebSocketClient(uri, token=token, agent=agent, on_input=showing.consult)
    frames = None
    try:
        await client.connect()
        frames = asyncio.create_task(client.listen_for_events()) if frames_only else None
        await client.login()
        async with contextlib.aclosing(client.stream(message)) as events:
            async for event in events:
                if not frames_only:
                    showing.show(event)
    finally:
        showing.end_line()
        await client.close()
        if frames:
            await frames


def main() -> int:
    """Run the command; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an agent may say what this terminal has no characters for
    options = _parse()
    try:
        if options.message is None:
            from agentsocket.terminal.conversation import converse  # noqa: PLC0415  # the client alone is what others copy

            talk = converse(options.uri, options.token, options.agent, frames_only=options.json)
        else:
            # What a shell passes need not be text.
            message = options.message.encode(errors="replace").decode()
            talk = ask_once(options.uri, options.token, options.agent, message, frames_only=options.json)
        asyncio.run(talk)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads has seen enough, as ``head`` has. What is still to be flushed at the exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ClientError as exc:
        refused = isinstance(exc, ServerError) and exc.code == ErrorCode.AUTHENTICATION_FAILED
        note(f"error: {explain(exc)}{'; --token or WS_AUTH_TOKEN names another' if refused else ''}")
        return 1
    return 0


def _parse() -> argparse.Namespace:
    found = whereabouts()
    parser = argparse.ArgumentParser(
        description="Talk to an agent server.",
        epilog="Without --uri it is the server that the environment, or the file .env here, describes: WS_URI, or else "
        "WS_HOST, WS_PORT and WS_TLS_CERT.",
    )
    parser.add_argument("message", nargs="?", help="what to ask; without it, a conversation")
    parser.add_argument(
        "--uri", default=found.uri, help=f"the server's address (default: {shown(found.uri).replace('%', '%%')})"
    )
    parser.add_argument("--token", help="the server's token (default: WS_AUTH_TOKEN)")
    parser.add_argument("--agent", help="the agent that is wanted, of a server with several (default: its first)")
    parser.add_argument("--json", action="store_true", help="print the frames, one a line")
    options = parser.parse_args()
    options.token = options.token or found.token_for(options.uri)
    return options
