"""One task, as the person who asked for it sees it."""

import time
from collections.abc import Collection
from typing import Any, Final

from agentsocket.client.client import SnapshotOutput, TaskEvent
from agentsocket.client.errors import UNSAVED
from agentsocket.client.printing import Cleaner, amount, as_json, cleaned, last_states
from agentsocket.client.showing import progress_of, share_of
from agentsocket.client.sources import File
from agentsocket.protocol import frames
from agentsocket.protocol.frames import AgentResponseFrame
from agentsocket.terminal.screen import Row, Screen
from agentsocket.terminal.text import DIM, RED, bar, duration, fit, flat, wrap

MAX_DETAIL: Final = 300
"""Characters of a tool's arguments or result that are shown."""
MAX_NAME: Final = 64
BAR, BAR_NEEDS = 10, 30
"""Columns of a bar, and of the row that has one."""
MAX_THOUGHT, SEEN_OF_IT, THOUGHT_ROWS = 20_000, 2000, 4
"""Characters of a thought that are kept; of those, what is looked at to show its last rows."""
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
        self._progress: dict[str | None, frames.ToolProgressFrame] = {}
        """By call; that of none is the task's own."""
        self._thought: Thought | None = None
        self.thought = ""
        """What was thought last."""
        self._told: set[str] = set()
        """The ids of the data that was shown."""
        self._newer: dict[str, str] = {}
        """By id: what has replaced it since, and is shown for good before whatever is next."""
        self._passing: dict[str, str] = {}
        """By name: data that is for now alone."""
        self.sending = ""
        """How far the request's files have been sent, as long as they are."""
        self._since = self._turned = time.monotonic()
        self._turns = 0

    def __str__(self) -> str:
        doing = self.status or self.sending or self._calling() or "working"
        return f"[{self.number}] {flat(self.message, 60)} · {doing} · {duration(time.monotonic() - self._since)}"

    def show(self, event: TaskEvent) -> None:
        """Show one event; a question is shown by whoever takes the answer."""
        match event:
            case frames.AgentReasoningFrame(reasoning=reasoning):
                self._thought = self._thought or Thought()
                self._thought.add(reasoning)
                self._screen.change()
            case frames.ToolProgressFrame(tool_call_id=call_id):
                self._progress[call_id if call_id in self._calls else None] = event
                self._screen.change()
            case frames.AgentDataFrame():
                self._show_data(event)
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
                if event.unsaved:
                    self.note(UNSAVED, RED)

    def note(self, line: str, style: str = DIM) -> None:
        """Show a line about the task, below all that it has said so far."""
        self._settle()
        self._say(self._speech.end())
        self._screen.note(line, style, self.tag)

    def tell_upload(self, file: File, sent: int) -> None:
        """Show how far a file of the request has been sent."""
        share = f"{bar(sent / file.size, BAR)} " if file.size else ""
        self.sending = f"sending {flat(file.name, MAX_NAME)} {share}{amount(sent)} of {amount(file.size)}"
        self._screen.change()

    def happening(self, room: int, columns: int) -> list[Row]:
        """Return what it is saying just now, and what it is doing."""
        columns -= len(self.tag)
        tail = self._speech.tail(room * columns)
        said = [Row(f"{self.tag}{row}", "") for row in wrap(tail, columns)] if tail else []
        if self._thought is not None:
            said += [Row(f"{self.tag}{row}") for row in self._thought.rows(columns)]
        said += [Row(f"{self.tag}{fit(row, columns)}") for row in (*self._newer.values(), *self._passing.values())]
        now = time.monotonic()
        # By drawings, and not by the clock alone: beats of both would leave some of its states out for ever.
        if now - self._turned >= TURN:
            self._turned, self._turns = now, self._turns + 1
        sign, took = f"{SPINNER[self._turns % len(SPINNER)]} ", f" · {now - self._since:.0f} s"
        *others, last = self._doing(columns - len(sign))
        rows = [*others, f"{fit(last, columns - len(sign) - len(took))}{took}"]
        return [*said, *(Row(f"{self.tag}{sign}{row}") for row in rows)][-room:]

    def _doing(self, columns: int) -> list[str]:
        """Return what it is doing, a row for each thing that tells how far it is."""
        if self.status or self.sending:
            return [self.status or self.sending]
        rows = []
        for key, told in self._progress.items():
            # How far it is matters more than the end of a long name.
            name = fit(flat(self._calls[key][0], MAX_NAME), columns // 2) if key in self._calls else ""
            rows.append(fit(f"{name} {far(told, columns)}".strip(), columns))
        if (others := self._calling(apart_from=self._progress)) or not rows:
            rows.append(others or ("thinking" if self._thought else "working"))
        return rows

    def _settle(self) -> None:
        """Show for good what was shown as it was going on."""
        if self._thought is not None:
            self._screen.note(f"Thought for {self._thought.took}", DIM, self.tag)
            self.thought, self._thought = last_states(self._thought.text).strip("\n"), None
        newer, self._newer = self._newer, {}
        for line in newer.values():
            self._say(self._speech.end())
            self._screen.note(line, DIM, self.tag)

    def _show_data(self, event: frames.AgentDataFrame) -> None:
        line = f"{flat(event.name, MAX_NAME)}: {flat(as_json(cleaned(event.data)), MAX_DETAIL)}"
        if event.transient:
            self._passing[event.name] = line
        elif event.id is not None and event.id in self._told:
            self._newer[event.id] = line
        else:
            self._told |= {event.id} if event.id is not None else set()
            self.note(line)
        self._screen.change()

    def _hear(self, output: str) -> None:
        self._settle()
        self._heard.append(output)
        self._say(self._speech.add(output))
        self._screen.change()

    def _say(self, text: str | None) -> None:
        if text is not None:
            self._screen.say(text, self.tag)

    def _calling(self, apart_from: Collection[str | None] = ()) -> str:
        return ", ".join(flat(name, MAX_NAME) for key, (name, _) in self._calls.items() if key not in apart_from)

    def _show_result(self, event: frames.ToolResultFrame) -> None:
        self._progress.pop(event.tool_call_id, None)
        _, since = self._calls.pop(event.tool_call_id, ("", time.monotonic()))
        output = event.tool_output if isinstance(event.tool_output, str) else as_json(cleaned(event.tool_output))
        sign, style = ("✗", RED) if event.is_error else ("←", DIM)
        took = duration(time.monotonic() - since)
        self.note(f"{sign} {flat(event.tool_name, MAX_NAME)} · {took} · {flat(output, MAX_DETAIL)}", style)

    def _conclude(self, response: str) -> None:
        self._settle()
        self._say(self._speech.end())
        # Most agents stream the very text of their answer: it is not said twice.
        if response.strip() and not "".join(self._heard).rstrip().endswith(response.strip()):
            self._say(response.strip("\n"))


class Thought:
    """What the model is thinking: the end of it can be seen while it does, and then it is folded."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._cleaner = Cleaner()
        self.text = ""
        """The newest part of it."""

    @property
    def took(self) -> str:
        """How long it has taken."""
        seconds = time.monotonic() - self._since
        return duration(seconds) if seconds >= 60 else f"{max(1, round(seconds))} s"  # noqa: PLR2004  # a minute

    def add(self, piece: str) -> None:
        """Think on."""
        self.text = (self.text + self._cleaner.add(piece))[-MAX_THOUGHT:]

    def rows(self, columns: int) -> list[str]:
        """Return the newest of it in so many columns."""
        return list(wrap(last_states(self.text[-SEEN_OF_IT:]).strip("\n"), columns))[-THOUGHT_ROWS:]


def far(event: frames.ToolProgressFrame, columns: int) -> str:
    """Tell how far something is, with a bar where there is room for one."""
    parts = [progress_of(event)]
    if (share := share_of(event)) is not None and columns >= BAR_NEEDS:
        parts = [bar(share, BAR), *parts]
    return flat(" ".join(parts), MAX_DETAIL)


def called(name: str, arguments: dict[str, Any], limit: int) -> str:
    """Write a tool's call in at most so many characters."""
    written = ", ".join(f"{argument}={as_json(value)}" for argument, value in arguments.items())
    return f"{flat(name, MAX_NAME)}({flat(written, limit)})"
