"""What a task asks the person, and what the person's lines mean as an answer to it."""

import json
from typing import Any, Final

from agentsocket.client.printing import as_json
from agentsocket.protocol.frames import InputRequiredFrame
from agentsocket.terminal.task_view import TaskView, called
from agentsocket.terminal.text import BOLD

MAX_PROMPT: Final = 20_000
"""Characters of a question that are shown: whoever approves should see what."""


class Unclear(Exception):  # noqa: N818  # no error: something more is asked
    """The line is no answer yet; says what is needed."""


class Question:
    """One question. ``draft`` is what the next line begins with."""

    def __init__(self, view: TaskView, frame: InputRequiredFrame) -> None:
        self.view, self.frame = view, frame
        self.draft = ""
        self._editing = False

    @property
    def hint(self) -> str:
        """How to answer."""
        if self._editing:
            return "the arguments as JSON; an empty line leaves them as they were"
        if self.frame.kind == "approval":
            return "y · n [reason] · e to edit the arguments"
        return "a JSON value" if self._wants_json() else "your answer"

    def show(self) -> None:
        """Put it to the person."""
        self.view.note(f"? {self.frame.prompt[:MAX_PROMPT]}", BOLD)
        if self.frame.tool_name:
            self.view.note(f"  {called(self.frame.tool_name, self.frame.tool_kwargs or {}, MAX_PROMPT)}")
        if self.frame.response_schema:
            self.view.note(f"  {as_json(self.frame.response_schema)[:MAX_PROMPT]}")

    def read(self, line: str) -> Any:
        """Return the answer that the line means. Raises ``Unclear``."""
        if self.frame.kind == "approval":
            return self._read_arguments(line) if self._editing else self._read_approval(line)
        return _value(line) if self._wants_json() else line

    def _wants_json(self) -> bool:
        schema = self.frame.response_schema or {}
        return bool(schema.get("type", "string") != "string")

    def _read_approval(self, line: str) -> Any:
        word, _, reason = line.strip().partition(" ")
        match word.lower():
            case "y" | "yes":
                return {"approved": True}
            case "n" | "no":
                return {"approved": False, **({"reason": reason.strip()} if reason.strip() else {})}
            case "e" | "edit":
                self._editing, self.draft = True, as_json(self.frame.tool_kwargs or {})
                raise Unclear(f"Edit {self.hint}.")
        raise Unclear(f"Please answer: {self.hint}.")

    def _read_arguments(self, line: str) -> Any:
        if not line.strip():
            self._editing, self.draft = False, ""
            raise Unclear(f"Please answer: {self.hint}.")
        self.draft = line
        arguments = _value(line)
        if not isinstance(arguments, dict):
            raise Unclear("The arguments are one JSON object.")
        return {"approved": True, "tool_kwargs": arguments}


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as exc:
        raise Unclear(f"That is not JSON: {exc}.") from None
