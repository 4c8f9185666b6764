"""The shell command: one question and its answer, or a conversation."""

import argparse
import asyncio
import contextlib
import functools
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from agentsocket.client.address import shown
from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ClientError, ServerError, explain
from agentsocket.client.last_conversation import LastConversation, state_file
from agentsocket.client.printing import note
from agentsocket.client.saving import Savings
from agentsocket.client.showing import Showing
from agentsocket.client.token_command import token_command
from agentsocket.client.whereabouts import whereabouts
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import AgentFileFrame

LAST: Final = ""

ID: Final = re.compile(r"[\w-]{16,128}", re.ASCII)
"""What looks like the id of a conversation, and not like a message."""


async def ask_once(
    new_client: Callable[..., WebSocketClient], message: str, options: argparse.Namespace, last: LastConversation
) -> int:
    """Ask one thing, and show what comes: the answer and what there is beside, or all the frames.

    Return the exit code: 1 where a file could not be saved.
    """
    showing = Showing(saves=options.save_files is not None)
    savings = Savings(options.save_files or Path(), showing.tell_saved)
    client = new_client(on_input=showing.consult, conversation_id=_continued(options, last))
    frames = None
    try:
        await client.connect()
        frames = asyncio.create_task(client.listen_for_events()) if options.json else None
        await client.login()
        if client.memory == "none":
            note("The agent does not remember this conversation.")
        on_upload = None if options.json else showing.tell_upload
        stream = client.stream(
            message,
            attachments=options.attach,
            on_upload=on_upload,
            on_start=lambda _: last.note(client.conversation_id),
        )
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if isinstance(event, AgentFileFrame) and options.save_files is not None:
                    savings.add(client, event)
                if not options.json:
                    showing.show(event)
        await savings.finish()
    finally:
        await savings.stop()
        showing.end_line()
        await client.close()
        if frames:
            await frames
    return int(savings.failed)


def main() -> int:
    """Run the command; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an agent may say what this terminal has no characters for
    options = _parse()
    try:
        token = token_command(options.token_command) if options.token_command is not None else options.token
        new_client = functools.partial(
            WebSocketClient, options.uri, token=token, agent=options.agent, params=dict(options.param) or None
        )
        last = LastConversation(state_file(), options.uri)
        if options.message is None:
            from agentsocket.terminal.program import Habits, converse  # noqa: PLC0415  # the client alone is what others copy

            habits = Habits(options.json, options.attach, options.save_files, last, _continued(options, last))
            talk = converse(new_client, options.token, habits)
        else:
            # What a shell passes need not be text.
            message = options.message.encode(errors="replace").decode()
            talk = ask_once(new_client, message, options, last)
        return asyncio.run(talk)
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
    except OSError as exc:
        note(f"error: {explain(exc)}")
        return 1


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
    proofs = parser.add_mutually_exclusive_group()
    proofs.add_argument("--token", help="the server's token (default: WS_AUTH_TOKEN)")
    proofs.add_argument(
        "--token-command",
        metavar="COMMAND",
        help="a command, run without a shell, that prints the token; it is run anew whenever a fresh one is needed",
    )
    parser.add_argument("--agent", help="the agent that is wanted, of a server with several (default: its first)")
    parser.add_argument(
        "--param",
        action="append",
        type=_param,
        default=[],
        metavar="NAME=VALUE",
        help="what the agent is to know of this session; the value is JSON, or else text; may be repeated",
    )
    parser.add_argument(
        "--continue",
        dest="continued",
        nargs="?",
        const=LAST,
        metavar="ID",
        help="go on with the conversation of this id, or without one with the last that you had at this address",
    )
    parser.add_argument(
        "--attach",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="a file that goes with the message, or with the first one of a conversation; may be repeated",
    )
    parser.add_argument(
        "--save-files",
        type=Path,
        metavar="DIR",
        help="where to put the files that the agent sends; without it they are only told of",
    )
    parser.add_argument("--json", action="store_true", help="print the frames, one a line")
    options = parser.parse_args()
    if options.continued and options.message is None and not ID.fullmatch(options.continued):
        options.message, options.continued = options.continued, LAST  # "--continue MESSAGE"
    options.token = options.token or found.token_for(options.uri)
    return options


def _continued(options: argparse.Namespace, last: LastConversation) -> str | None:
    """Return the conversation to go on with. Raises ``ClientError`` where nobody knows which."""
    if options.continued != LAST:
        named: str | None = options.continued
        return named
    if last.id is None:
        raise ClientError(f"No conversation at {shown(options.uri)} is remembered; --continue ID names one")
    return last.id


def _param(given: str) -> tuple[str, JsonValue]:
    """Read ``name=value``; raises ``ArgumentTypeError``."""
    name, separator, text = given.encode(errors="replace").decode().partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError("it is written NAME=VALUE")
    try:
        value: JsonValue = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # Python reads more than there is in JSON
    except (ValueError, RecursionError):
        return name, text
    return name, value
