"""The conversation: what the person types becomes requests, answers and commands; what comes back is shown."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from protocol import InputRequiredFrame
from terminal.history import History, history_file
from terminal.keyboard import Keyboard, PlainKeyboard, TerminalKeyboard, size
from terminal.question import Question, Unclear
from terminal.screen import LiveScreen, Row, Screen
from terminal.task_view import TaskView
from terminal.text import RED, duration
from websocket_client_example import (
    ClientError,
    ConnectionLost,
    ServerError,
    TaskCancelled,
    WebSocketClient,
    answer_of_nobody,
)

HELP: Final = """\
A line is a request, and several may run at once. While a task asks something, a line is the answer.
  /cancel [n]   stop task n, or the newest, as Ctrl-C does
  /tasks        what is running
  /ask ...      a request, also while a task asks something, or one that begins with a slash
  /raw          show the frames that come, or show them no longer
  /quit         leave, as Ctrl-D does; what still runs is stopped"""


@dataclass(eq=False)
class Running:
    """A task that has not ended."""

    view: TaskView
    task_id: asyncio.Future[str] = field(default_factory=asyncio.Future)
    stop: asyncio.Task[None] | None = None


class Conversation:
    """One person and one session. What a person types runs side by side, the lines of a pipe one after the other."""

    def __init__(self, keyboard: Keyboard, screen: Screen, history: History, *, frames_only: bool) -> None:
        """Prepare; with ``frames_only`` the frames are shown, and of the tasks nothing but their questions."""
        self._keyboard, self._screen, self._history = keyboard, screen, history
        self._frames_only, self._raw = frames_only, frames_only
        self._is_tty = sys.stdin.isatty()
        self._running: dict[asyncio.Task[None], Running] = {}
        self._questions: list[Question] = []
        self._unfinished = False
        self._number = 0
        self._lost_at: float | None = None

    async def hold(self, client: WebSocketClient, listening: asyncio.Task[None]) -> None:
        """Talk until the person leaves. Raises ``ConnectionLost``."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        typing = asyncio.create_task(self._read(client))
        drawing = asyncio.create_task(self._screen.run(self._happening, self._prompt))
        try:
            done, _ = await asyncio.wait({typing, drawing, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            others = [typing, drawing, *self._running]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._screen.finish()

    def show_frame(self, frame: str) -> None:
        """Show a frame where frames are wanted."""
        if self._frames_only:
            self._screen.say(frame)
        elif self._raw:
            self._screen.note(frame)

    def tell_connection(self, *, connected: bool) -> None:
        """Say in a line that the connection was lost, once it is back."""
        if connected and self._lost_at is not None:
            self._screen.note(f"The connection was lost for {duration(time.monotonic() - self._lost_at)} and is back.")
        self._lost_at = None if connected else time.monotonic()
        self._screen.change()

    # ---- What is typed -----------------------------------------------------------------------------------------------

    async def _read(self, client: WebSocketClient) -> None:
        draft = ""
        while (line := await self._keyboard.read(self._prompt(), draft)) is not None:
            # What a terminal sends need not be text.
            if not await self._take(line.encode(errors="replace").decode(), client):
                return
            draft = self._questions[0].draft if self._questions else ""
            if self._running and not self._is_tty:
                await asyncio.wait(self._running)

    async def _take(self, line: str, client: WebSocketClient) -> bool:
        """Do what a line says; false where it says to leave."""
        question = self._questions[0] if self._questions and not self._unfinished else None
        self._unfinished = False
        word, _, rest = line.strip().partition(" ")
        self._screen.echo(f"{'?' if question else '>'} {line}")
        match word:
            case "/quit":
                return False
            case "/help":
                self._screen.note(HELP)
            case "/tasks":
                for running in self._running.values():
                    self._screen.note(str(running.view))
                if not self._running:
                    self._screen.note("Nothing is running.")
            case "/raw":
                self._raw = not self._raw
                self._screen.note("Frames are shown." if self._raw else "Frames are shown no longer.")
            case "/cancel":
                self._cancel(rest.strip(" []"), client)
            case "/ask":
                self._start(rest, client)
            case _ if question:
                await self._answer(question, line, client)
            case _ if word.startswith("/") and self._is_tty:
                self._screen.note(f"There is no {word}; /help says what there is.")
            case _ if word:
                self._start(line, client)
        return True

    async def _answer(self, question: Question, line: str, client: WebSocketClient) -> None:
        try:
            response = question.read(line)
        except Unclear as more:
            self._screen.note(str(more))
        else:
            self._settle(question)
            await client.answer(question.frame.task_id, question.frame.input_id, response)

    # ---- Tasks -------------------------------------------------------------------------------------------------------

    def _start(self, message: str, client: WebSocketClient) -> None:
        self._history.add(message)
        self._number += 1
        running = Running(TaskView(self._number, message, self._screen))
        self._running[asyncio.create_task(self._follow(running, client))] = running
        self._tag()

    async def _follow(self, running: Running, client: WebSocketClient) -> None:
        """Show a task to its end."""
        view = running.view
        try:
            async with contextlib.aclosing(client.stream(view.message, on_start=running.task_id.set_result)) as events:
                async for event in events:
                    if isinstance(event, InputRequiredFrame):
                        await self._ask(view, event, client)
                    elif not self._frames_only:
                        view.show(event)
        except TaskCancelled:
            view.note("Stopped.")
        except ServerError as exc:
            view.note(f"error: {exc}{f' · error id {exc.error_id}' if exc.error_id else ''}", RED)
        except ConnectionLost as exc:
            # Where the connection is gone for good, that is said once.
            if self._lost_at is None:
                view.note(f"error: {exc}", RED)
        finally:
            self._forget(running)

    def _forget(self, running: Running) -> None:
        self._running = {task: other for task, other in self._running.items() if other is not running}
        self._questions = [question for question in self._questions if question.view is not running.view]
        if running.stop:
            running.stop.cancel()
        self._tag()

    def _tag(self) -> None:
        """Have the lines of tasks told apart, where there are several."""
        for running in self._running.values():
            running.view.tag = f"[{running.view.number}] " if len(self._running) > 1 else ""
        self._screen.change()

    async def _ask(self, view: TaskView, frame: InputRequiredFrame, client: WebSocketClient) -> None:
        """Put a question, unless it was put before the connection broke."""
        if frame.input_id in view.asked:
            return
        view.asked.add(frame.input_id)
        question = Question(view, frame)
        if not self._is_tty:
            await client.answer(frame.task_id, frame.input_id, answer_of_nobody(frame))
            return
        question.show()
        # Who is in the middle of a line when the first question comes is not answering it.
        self._unfinished = self._unfinished or not self._questions and bool(self._keyboard.typed())
        self._questions.append(question)
        view.status = "waits for you"

    def _settle(self, question: Question) -> None:
        self._questions.remove(question)
        if not any(other.view is question.view for other in self._questions):
            question.view.status = ""

    # ---- Stopping ----------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        ...
