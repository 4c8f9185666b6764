"""The questions of a task, put to whoever sits at the terminal, or answered for nobody."""

import asyncio
import os
import sys
from typing import Any

from agentsocket.client.printing import as_json, note
from agentsocket.protocol.frames import InputRequiredFrame


def answer_of_nobody(question: InputRequiredFrame) -> Any:
    """Answer a question where nobody can be asked."""
    reason = "Nobody can be asked: standard input is not a terminal."
    return {"approved": False, "reason": reason} if question.kind == "approval" else reason


async def put_to_person(question: InputRequiredFrame) -> Any:
    """Have the person at the terminal answer a question."""
    if not sys.stdin.isatty():
        return answer_of_nobody(question)
    approval = question.kind == "approval"
    called = f" {question.tool_name} {as_json(question.tool_kwargs)}" if approval else ""
    note(f"? {question.prompt}{called}")
    print("[y/N] " if approval else "> ", end="", file=sys.stderr, flush=True)
    line = (await _read_line()).strip()
    return line.lower() in {"y", "yes"} if approval else line


async def _read_line() -> str:
    """Read a line from the terminal, which has one whole whenever it has anything."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(0, ready.set)
    try:
        await ready.wait()
        return os.read(0, 65536).decode(errors="replace")
    finally:
        loop.remove_reader(0)
