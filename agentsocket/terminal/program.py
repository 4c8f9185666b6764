"""The program: a conversation on standard input and output, with what the terminal there can do."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agentsocket.client.client import WebSocketClient
from agentsocket.client.last_conversation import LastConversation
from agentsocket.protocol.frames import UserCard
from agentsocket.terminal.conversation import Conversation
from agentsocket.terminal.files import Files
from agentsocket.terminal.history import History, history_file
from agentsocket.terminal.keyboard import Keyboard, PlainKeyboard, TerminalKeyboard
from agentsocket.terminal.screen import LiveScreen, Screen, ScreenLog
from agentsocket.terminal.task_view import MAX_NAME
from agentsocket.terminal.text import flat


class Habits(NamedTuple):
    """How somebody wants to talk."""

    frames_only: bool
    """The frames are shown, and of the tasks nothing but their questions."""
    attached: Sequence[Path]
    """Files that go with the first message."""
    save_to: Path | None
    """Where the agent's files are put; with None, nowhere."""
    last: LastConversation
    """Knows the last conversation with this server, and is told of this one."""
    conversation_id: str | None = None
    """The conversation to go on with."""


async def converse(new_client: Callable[..., WebSocketClient], token: str | None, habits: Habits) -> int:
    """Hold a conversation; return the exit code. Raises ``ClientError`` where there is no session any more.

    ``new_client`` makes the client, given further options; ``token`` is what the history is to keep out.
    """
    history = History(history_file(), {secret for secret in (token, os.environ.get("WS_AUTH_TOKEN")) if secret})
    keyboard, screen = _instruments(history, plain=habits.frames_only)
    logging.getLogger("agentsocket.client").addHandler(ScreenLog(screen))

    def tell(connected: bool) -> None:  # noqa: FBT001  # as the client calls it
        conversation.tell_connection(connected=connected)

    client = new_client(resumable=True, on_connection=tell)
    files = Files(client, screen, habits.save_to)
    files.attach(habits.attached)
    conversation = Conversation(
        client, keyboard, screen, history, files, last=habits.last, frames_only=habits.frames_only
    )
    await client.connect()
    listening = asyncio.create_task(conversation.listen())
    try:
        await conversation.talks.enter(habits.conversation_id)
        if sys.stdin.isatty():
            screen.note(f"Connected{_named(client.user)}. Type a message, or /help; Ctrl-D leaves.")
        if habits.conversation_id is not None:
            await conversation.talks.show_going_on()
        async with keyboard:
            await conversation.hold(listening)
    finally:
        await files.stop()
        await client.close()
        if sys.stdin.isatty():
            listening.cancel()  # it may be waiting for another session
        await asyncio.wait([listening])
    return int(files.failed)


def _named(user: UserCard | None) -> str:
    return f" as {flat(user.name or user.id, MAX_NAME)}" if user else ""


def _instruments(history: History, *, plain: bool) -> tuple[Keyboard, Screen]:
    """Choose what to read from and to write to."""
    simple = os.environ.get("TERM", "dumb") == "dumb" or not (sys.stdin.isatty() and sys.stdout.isatty())
    if plain or simple:
        return PlainKeyboard(), Screen()
    keyboard: Keyboard
    try:
        from agentsocket.terminal.prompt_toolkit_keyboard import PromptToolkitKeyboard  # noqa: PLC0415  # optional
    except ImportError:
        keyboard = TerminalKeyboard(history)
    else:
        keyboard = PromptToolkitKeyboard(history)
    return keyboard, LiveScreen(keyboard, color=not os.environ.get("NO_COLOR"))
