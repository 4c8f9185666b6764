"""The agent without a server: one message on the command line, and its answer."""

import argparse
import asyncio
import mimetypes
import signal
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import JsonValue

from agentsocket.agent.contract import AgentError, Attachment, Context
from agentsocket.files.kinds import UNKNOWN_TYPE, clean_name
from agentsocket.offline_agent.agent import create_agent
from agentsocket.protocol.events import (
    AgentFile,
    AgentOutput,
    AgentReasoning,
    Emitted,
    InputRequired,
    ToolCall,
    ToolProgress,
    ToolResult,
)

DIM, PLAIN, AFRESH = "\x1b[2m", "\x1b[0m", "\r\x1b[K"
"""What a terminal takes as commands: write paler from here, or as ever; begin the line anew."""


class LocalFile(NamedTuple):
    """A file that is attached."""

    name: str
    media_type: str
    size: int
    path: Path

    @property
    def id(self) -> str:
        """There is one file of a name."""
        return self.name

    async def read(self) -> bytes:
        """Return its bytes."""
        return await asyncio.to_thread(self.path.read_bytes)


class Terminal:
    """A turn without a server: tools and their progress go to stderr, which leaves stdout to the answer."""

    context = Context("")
    params: Mapping[str, JsonValue] = MappingProxyType({})
    features = ("reasoning", "progress", "files")
    session_files: Mapping[str, Attachment] = MappingProxyType({})
    ended = False

    def __init__(self, attachments: Sequence[Attachment] = ()) -> None:
        """Ask with these files."""
        self.attachments = attachments
        self._open_calls = 0
        self._is_screen = sys.stderr.isatty()
        self._mid_line = ""
        """What the line that is being written ends with."""

    async def emit(self, event: Emitted) -> None:
        """Show the event; text only while a tool runs, for the answer comes at the end anyway."""
        if not isinstance(event, AgentReasoning):
            self._end_line()
        match event:
            case AgentReasoning():
                self._think(event.reasoning)
            case ToolProgress():
                self._show_progress(event)
            case ToolCall():
                self._open_calls += 1
                arguments = ", ".join(f"{name}={value!r}" for name, value in event.tool_kwargs.items())
                sys.stderr.write(f"→ {event.tool_name}({arguments})\n")
            case ToolResult():
                self._open_calls -= 1
                sys.stderr.write(f"{'✗' if event.is_error else '←'} {event.tool_name}: {event.tool_output}\n")
            case AgentOutput() if self._open_calls:
                sys.stderr.write(f"{event.output.strip()}\n")
        sys.stderr.flush()

    def _think(self, reasoning: str) -> None:
        sys.stderr.write(f"{DIM}{reasoning}{PLAIN}" if self._is_screen else reasoning)
        self._mid_line = "\n"

    def _show_progress(self, progress: ToolProgress) -> None:
        """On a screen in one line, which the next one replaces."""
        total = "" if progress.total is None else f"/{progress.total:g}"
        how_far = "" if progress.progress is None else f" {progress.progress:g}{total}"
        sys.stderr.write(f"…{how_far} {progress.message or ''}".rstrip())
        self._mid_line = AFRESH if self._is_screen else "\n"

    def _end_line(self) -> None:
        sys.stderr.write(self._mid_line)
        self._mid_line = ""

    def emit_blocking(self, event: Emitted) -> None:
        """Show the event, from a thread."""
        asyncio.run(self.emit(event))

    def ask_blocking(self, question: InputRequired) -> str | None:
        """Ask, from a thread."""
        return asyncio.run(self.ask(question))

    async def send_file(
        self,
        path_or_bytes: str | PathLike[str] | bytes,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Write the file into the current folder, unless there is one of that name."""
        return self.send_file_blocking(path_or_bytes, name, media_type, tool_call_id)

    def send_file_blocking(
        self,
        path_or_bytes: str | PathLike[str] | bytes,
        name: str | None = None,
        media_type: str | None = None,
        tool_call_id: str | None = None,
    ) -> AgentFile:
        """Write the file, from a thread or not: nobody else is there who would have to wait."""
        if isinstance(path_or_bytes, bytes):
            name, data = clean_name(name or ""), path_or_bytes
        else:
            name, data = clean_name(name or Path(path_or_bytes).name), Path(path_or_bytes).read_bytes()
        try:
            with Path(name).open("xb") as file:
                file.write(data)
        except OSError as exc:
            raise AgentError(f"{name} could not be written: {exc.strerror}") from exc
        self._end_line()
        sys.stderr.write(f"↓ {name}\n")
        media_type = media_type or UNKNOWN_TYPE
        return AgentFile(
            tool_call_id=tool_call_id, file_id=name, name=name, media_type=media_type, size=len(data), url=name
        )

    async def ask(self, question: InputRequired) -> str | None:
        """Ask on the terminal; at the end of its input nobody answers."""
        previous = signal.getsignal(signal.SIGINT)
        try:
            # This holds up the loop, on which nobody else depends. The loop's own handler of Ctrl-C could not end it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._end_line()
            sys.stderr.write(f"{question.prompt}{' [y/N] ' if question.kind == 'approval' else ' '}")
            sys.stderr.flush()
            return sys.stdin.readline().strip() or None
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, previous)
            signal.raise_signal(signal.SIGINT)  # handed on: it ends the run
            return None
        finally:
            signal.signal(signal.SIGINT, previous)


def main() -> int:
    """Answer the message on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python test.py", description="Ask the agent that ships, without a server.")
    parser.add_argument("message", nargs="+", help='for example: "What time is it in Tokyo?"')
    parser.add_argument(
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        type=_local_file,
        help="send this file along; repeatable",
    )
    given = parser.parse_args()
    message = " ".join(given.message).encode(errors="replace").decode()
    try:
        answer = asyncio.run(create_agent().run(message, Terminal(given.attach)))
    except KeyboardInterrupt:
        return 130  # what shells expect after Ctrl-C
    except AgentError as exc:
        sys.stderr.write(f"{exc}\n({exc.__cause__})\n")
        return 1
    sys.stdout.write(f"{answer if isinstance(answer, str) else answer.response}\n")
    return 0


def _local_file(path: str) -> LocalFile:
    file = Path(path)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise argparse.ArgumentTypeError(f"{path} is no file")
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{path}: {exc.strerror}") from exc
    return LocalFile(clean_name(file.name), mimetypes.guess_type(file.name)[0] or UNKNOWN_TYPE, size, file)
