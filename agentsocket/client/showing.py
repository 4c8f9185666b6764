"""What a shell sees of one task: the answer on standard output, all else on standard error."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from agentsocket.client.errors import UNSAVED, ClientError
from agentsocket.client.exchange import TaskEvent
from agentsocket.client.person import put_to_person
from agentsocket.client.printing import Cleaner, amount, as_json, clean, cleaned, note, one_row, say, write_note
from agentsocket.client.sources import File
from agentsocket.protocol.events import AgentFile
from agentsocket.protocol.frames import (
    AgentDataFrame,
    AgentFileFrame,
    AgentOutputFrame,
    AgentReasoningFrame,
    AgentResponseFrame,
    InputRequiredFrame,
    ToolCallFrame,
    ToolProgressFrame,
    ToolResultFrame,
)

DIM, PLAIN, ERASE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"

MAX_ROW: Final = 60
"""Characters of what is told about progress, in a row that is written over."""


class Showing:
    """Shows the events of one task. A person at a terminal sees the text as it comes; a pipe gets the answer, once.

    What is of that moment alone, progress and what the model thinks, is for a person too.
    """

    def __init__(self, *, saves: bool = False) -> None:
        """Show what comes; of files, nothing where each is saved and told of then."""
        self._streams = sys.stdout.isatty()
        self._person = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._dim = "" if os.environ.get("NO_COLOR") else DIM
        self._saves = saves
        self._cleaner, self._thoughts = Cleaner(), Cleaner()
        self._heard: list[str] = []
        self._begun = self._within_line = self._thinking = self._passing = False

    def show(self, event: TaskEvent) -> None:
        """Show an event."""
        match event:
            case AgentOutputFrame(output=output) if self._streams:
                self._hear(output)
            case AgentReasoningFrame(reasoning=reasoning) if self._person:
                self._think(reasoning)
            case ToolCallFrame():
                self._note(f"-> {event.tool_name} {as_json(event.tool_kwargs)}")
            case ToolProgressFrame() if self._person:
                self._pass(progress_of(event))
            case ToolResultFrame():
                self._note(f"<- {event.tool_name} {as_json(cleaned(event.tool_output))}")
            case AgentDataFrame() if self._person or not event.transient:
                self._note(f"{event.name}: {as_json(cleaned(event.data))}")
            case AgentFileFrame() if not self._saves:
                self._note(f"file: {told(event)}")
            case AgentResponseFrame(response=response):
                self._conclude(response)
                if event.unsaved:
                    self._note(UNSAVED)

    def tell_upload(self, file: File, sent: int) -> None:
        """Show how far a file has been sent."""
        if self._person:
            self._pass(f"sending {file.name}: {amount(sent)} of {amount(file.size)}")

    def tell_saved(self, file: AgentFile, outcome: Path | ClientError) -> None:
        """Tell where a file is now, or why it is not there."""
        if isinstance(outcome, ClientError):
            self._note(f"error: {told(file)}: {outcome}")
        else:
            self._note(f"saved: {outcome} ({file.media_type}, {amount(file.size)})")

    async def consult(self, question: InputRequiredFrame) -> Any:
        """Have the person answer."""
        self.end_line()
        return await put_to_person(question)

    def end_line(self) -> None:
        """Have what comes next begin a line."""
        if self._passing:
            write_note(ERASE)
            self._passing = False
        if self._thinking:
            write_note(f"{PLAIN}\n")
            self._thinking, self._thoughts = False, Cleaner()
        if self._within_line:
            say("")
            self._within_line = False

    def _hear(self, output: str) -> None:
        self._heard.append(output)
        text = self._cleaner.add(output).replace("\r\n", "\n").replace("\r", "\n")
        # What sets it apart from the line above is not the agent's business.
        if text := text if self._begun else text.lstrip("\n"):
            if not self._within_line:
                self.end_line()
            say(text, end="")
            self._begun, self._within_line = True, not text.endswith("\n")

    def _think(self, reasoning: str) -> None:
        text = self._thoughts.add(reasoning).replace("\r\n", "\n").replace("\r", "\n")
        if text := text if self._thinking else text.lstrip("\n"):
            if not self._thinking:
                self.end_line()
                self._begun = False
            write_note(text if self._thinking else f"{self._dim}{text}")
            self._thinking = True

    def _pass(self, row: str) -> None:
        """Show what the next thing said is written over."""
        if not self._passing:
            self.end_line()
            self._begun = False
        write_note(f"{ERASE}{one_row(row, min(MAX_ROW, shutil.get_terminal_size().columns // 2))}")
        self._passing = True

    def _conclude(self, response: str) -> None:
        self.end_line()
        # Most agents stream the very text of their answer: it is not said twice.
        if not self._heard or not "".join(self._heard).rstrip().endswith(response.strip()):
            say(clean(response))

    def _note(self, line: str) -> None:
        self.end_line()
        note(line)
        self._begun = False


def told(file: AgentFile) -> str:
    """Describe a file in a line."""
    return f"{one_row(file.name, MAX_ROW)} ({one_row(file.media_type, MAX_ROW)}, {amount(file.size)})"


def share_of(event: ToolProgressFrame) -> float | None:
    """Return how much is done, from 0 to 1; none where nobody knows."""
    try:
        share = (event.progress or 0) / (event.total or 0)
    except ArithmeticError:
        return None
    return None if event.progress is None else min(1.0, max(0.0, share))


def progress_of(event: ToolProgressFrame) -> str:
    """Tell how far something is: ``30 % · Page 3``."""
    share = share_of(event)
    done = f"{event.progress}"[:12] if share is None and isinstance(event.progress, float) else ""
    if share is None and isinstance(event.progress, int) and abs(event.progress) < 10**12:
        done = f"{event.progress:,}"
    return " · ".join(part for part in (done if share is None else f"{100 * share:.0f} %", event.message) if part)
