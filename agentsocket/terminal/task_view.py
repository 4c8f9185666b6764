"""One task, as the person who asked for it sees it."""

import time
from typing import Any, Final

from agentsocket.client.client import SnapshotOutput, TaskEvent
from agentsocket.client.printing import as_json, cleaned
from agentsocket.protocol import frames
from agentsocket.protocol.frames import AgentResponseFrame
from agentsocket.terminal.screen import Row, Screen
from agentsocket.terminal.text import DIM, RED, duration, flat, wrap

MAX_DETAIL: Final = 300
"""Characters of a tool's arguments or result that are shown."""
MAX_NAME: Final = 64
SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
TURN: Final = 0.1
"""Seconds between two states of the spinner at the least."""


class TaskView:
    """Shows the events of a task as they come, and tells what it is doing now."""

    def __init__(self, number: int, message: str, screen: Screen) -> None:
        """Begin a task; ``number`` is what the person calls it."""
        self.number, self.message = number, message
        self.tag = ""
        """What its lines begin with, while others run beside it."""
        self.status = ""
        """What it is doing, where that is neither working nor calling tools."""
        self._screen, self._speech = screen, screen.speech()
        self._heard: list[str] = []
        self._calls: dict[str | None, tuple[str, float]] = {}
        self._since = self._turned = time.monotonic()
        self._turns = 0

    def __str__(self) -> str:
        doing = self.status or self._calling() or "working"
        return f"[{self.number}] {flat(self.message, 60)} · {doing} · {duration(time.monotonic() - self._since)}"

    def show(self, event: TaskEvent) -> None:
        """Show one event; a question is shown by whoever takes the answer."""
        match event:
            case SnapshotOutput(output=output):
                self.note("Some of it was lost on the way. All of it so far:")
                self._heard.clear()
                self._hear(output)
            case frames.AgentOutputFrame(output=output):
                self._hear(output)
            case frames.ToolCallFrame(tool_name=name, tool_kwargs=arguments):
                self.note(f"→ {called(name, arguments, MAX_DETAIL)}")
                self._calls[event.tool_call_id] = name, time.monotonic()
            case frames.ToolResultFrame():
                self._show_result(event)
            case AgentResponseFrame(response=response):
                self._conclude(response)

    def note(self, line: str, style: str = DIM) -> None:
        """Show a line about the task, below all that it has said so far."""
        self._say(self._speech.end())
        self._screen.note(line, style, self.tag)

    def happening(self, room: int, columns: int) -> list[Row]:
        """Return what it is saying just now, and what it is doing."""
        columns -= len(self.tag)
        tail = self._speech.tail(room * columns)
        said = [Row(f"{self.tag}{row}", "") for row in wrap(tail, columns)] if tail else []
        now = time.monotonic()
        # By drawings, and not by the clock alone: beats of both would leave some of its states out for ever.
        if now - self._turned >= TURN:
            self._turned, self._turns = now, self._turns + 1
        doing = f"{SPINNER[self._turns % len(SPINNER)]} {self.status or self._calling() or 'working'}"
        return [*said, Row(f"{self.tag}{doing} · {now - self._since:.0f} s")][-room:]

    def _hear(self, output: str) -> None:
        self._heard.append(output)
        self._say(self._speech.add(output))
        self._screen.change()

    def _say(self, text: str | None) -> None:
        if text is not None:
            self._screen.say(text, self.tag)

    def _calling(self) -> str:
        return ", ".join(flat(name, MAX_NAME) for name, _ in self._calls.values())

    def _show_result(self, event: frames.ToolResultFrame) -> None:
        _, since = self._calls.pop(event.tool_call_id, ("", time.monotonic()))
        output = event.tool_output if isinstance(event.tool_output, str) else as_json(cleaned(event.tool_output))
        sign, style = ("✗", RED) if event.is_error else ("←", DIM)
        took = duration(time.monotonic() - since)
        self.note(f"{sign} {flat(event.tool_name, MAX_NAME)} · {took} · {flat(output, MAX_DETAIL)}", style)

    def _conclude(self, response: str) -> None:
        self._say(self._speech.end())
        # Most agents stream the very text of their answer: it is not said twice.
        if response.strip() and not "".join(self._heard).rstrip().endswith(response.strip()):
            self._say(response.strip("\n"))


def called(name: str, arguments: dict[str, Any], limit: int) -> str:
    """Write a tool's call in at most so many characters."""
    written = ", ".join(f"{argument}={as_json(value)}" for argument, value in arguments.items())
    return f"{flat(name, MAX_NAME)}({flat(written, limit)})"
