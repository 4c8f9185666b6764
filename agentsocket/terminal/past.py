"""What was said in a conversation before, as a person reads it."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from agentsocket.client.printing import as_json, cleaned
from agentsocket.protocol.events import AgentFile
from agentsocket.protocol.frames import ConversationCard, ConversationTurn
from agentsocket.terminal.screen import Screen
from agentsocket.terminal.task_view import MAX_DETAIL, MAX_NAME, called
from agentsocket.terminal.text import BOLD, RED, cells, fit, flat

MAX_SHORT, MAX_MESSAGE = 200, 2000
"""Characters of an answer that are shown in short, and of a message in full."""

TITLE: Final = 20
"""Columns that a title has at the least."""


def row(number: int, card: ConversationCard, columns: int, *, current: bool) -> str:
    """Return a conversation as a row of a list."""
    sign = "*" if current else " "
    turns = "1 turn" if card.turns == 1 else f"{card.turns:,} turns"
    about = f" · {turns} · {when(card.updated_at)}{' · running' if card.running else ''}"
    head = f"{sign}{number:3}  "
    return head + fit(titled(card.title), max(TITLE, columns - len(head) - cells(about))) + about


def titled(title: str) -> str:
    """Return what a conversation is called."""
    return flat(title, MAX_SHORT) or "(nothing was said yet)"


def when(moment: str) -> str:
    """Say when something was, as short as can be."""
    try:
        then = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return flat(moment, MAX_NAME)
    now = datetime.now().astimezone()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then:%d %b %H:%M}" if then.year == now.year else f"{then:%d %b %Y}"


class Past:
    """Shows turns that are over; ``mention`` gives a file its number, and says what is told of it."""

    def __init__(self, screen: Screen, mention: Callable[[AgentFile], str]) -> None:
        self._screen, self._mention = screen, mention

    def show_short(self, turn: ConversationTurn) -> None:
        """Show what was asked and answered, in short."""
        self._screen.note(f"> {flat(turn.message, MAX_SHORT)}", BOLD)
        if turn.status == "completed":
            self._screen.note(f"  {flat(turn.response or '', MAX_SHORT)}")
        else:
            self._show_end(turn)

    def show(self, turn: ConversationTurn) -> None:
        """Show all that a person wants to see again."""
        self._screen.note(f"\n> {flat(turn.message, MAX_MESSAGE)}", BOLD)
        for file in turn.attachments or ():
            self._screen.note(f"+ {self._mention(file)}")
        heard = ""
        for event in turn.events:
            if event.get("kind") == "output":
                heard += str(event.get("output"))
                self._say(str(event.get("output")))
            for line in self._told(event):
                self._screen.note(line)
        response = (turn.response or "").strip()
        if turn.status != "completed":
            self._show_end(turn)
        elif not heard.rstrip().endswith(response):  # most agents stream the very text of their answer
            self._say(response)

    def _say(self, text: str) -> None:
        if text.strip():
            self._screen.say(text.strip("\n"))

    def _show_end(self, turn: ConversationTurn) -> None:
        match turn.status:
            case "running":
                self._screen.note("It is running.")
            case "cancelled":
                self._screen.note("Stopped.")
            case "interrupted":
                self._screen.note("Interrupted: the server ended before this was answered.", RED)
            case "failed":
                self._screen.note(f"error: {flat(str((turn.error or {}).get('message', '')), MAX_DETAIL)}", RED)

    def _told(self, event: dict[str, Any]) -> Iterator[str]:
        match event:
            case {"kind": "tool_call", "tool_name": str(name)}:
                arguments = event.get("tool_kwargs")
                yield f"→ {called(name, arguments if isinstance(arguments, dict) else {}, MAX_DETAIL)}"
            case {"kind": "tool_result", "tool_output": output}:
                text = output if isinstance(output, str) else as_json(cleaned(output))
                sign = "✗" if event.get("is_error") else "←"
                yield f"{sign} {flat(str(event.get('tool_name', '')), MAX_NAME)} · {flat(text, MAX_DETAIL)}"
            case {"kind": "question", "question": {"prompt": str(prompt)}}:
                answer = f" {flat(as_json(cleaned(event['response'])), MAX_DETAIL)}" if "response" in event else ""
                yield f"? {flat(prompt, MAX_DETAIL)}{answer}"
            case {"kind": "file"}:
                with contextlib.suppress(ValidationError):  # of a newer server
                    yield f"▤ {self._mention(AgentFile.model_validate(event))}"
            case {"kind": "cut"}:
                yield "… Some of it was too long to be kept."
