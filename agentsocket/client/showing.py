"""What a shell sees of one task: the answer on standard output, the tools on standard error."""

import sys
from typing import Any

from agentsocket.client.exchange import TaskEvent
from agentsocket.client.person import put_to_person
from agentsocket.client.printing import Cleaner, as_json, clean, cleaned, note, say
from agentsocket.protocol.frames import (
    AgentOutputFrame,
    AgentResponseFrame,
    InputRequiredFrame,
    ToolCallFrame,
    ToolResultFrame,
)


class Showing:
    """Shows the events of one task. A person at a terminal sees the text as it comes; a pipe gets the answer, once."""

    def __init__(self) -> None:
        self._streams = sys.stdout.isatty()
        self._cleaner = Cleaner()
        self._heard: list[str] = []
        self._begun = self._within_line = False

    def show(self, event: TaskEvent) -> None:
        """Show an event."""
        match event:
            case AgentOutputFrame(output=output) if self._streams:
                self._hear(output)
            case ToolCallFrame():
                self._note(f"-> {event.tool_name} {as_json(event.tool_kwargs)}")
            case ToolResultFrame():
                self._note(f"<- {event.tool_name} {as_json(cleaned(event.tool_output))}")
            case AgentResponseFrame(response=response):
                self._conclude(response)

    async def consult(self, question: InputRequiredFrame) -> Any:
        """Have the person answer."""
        self.end_line()
        return await put_to_person(question)

    def end_line(self) -> None:
        """Have what comes next begin a line."""
        if self._within_line:
            say("")
            self._within_line = False

    def _hear(self, output: str) -> None:
        self._heard.append(output)
        text = self._cleaner.add(output).replace("\r\n", "\n").replace("\r", "\n")
        # What sets it apart from the line above is not the agent's business.
        if text := text if self._begun else text.lstrip("\n"):
            say(text, end="")
            self._begun, self._within_line = True, not text.endswith("\n")

    def _conclude(self, response: str) -> None:
        self.end_line()
        # Most agents stream the very text of their answer: it is not said twice.
        if not self._heard or not "".join(self._heard).rstrip().endswith(response.strip()):
            say(clean(response))

    def _note(self, line: str) -> None:
        self.end_line()
        note(line)
        self._begun = False
