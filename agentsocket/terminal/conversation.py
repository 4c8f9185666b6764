"""The conversation: what the person types becomes requests, answers and commands; what comes back is shown."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentsocket.client.client import TaskEvent, WebSocketClient, full_jitter
from agentsocket.client.errors import UNSAVED, ClientError, ConnectionLost, NoToken, ServerError, TaskCancelled, explain
from agentsocket.client.last_conversation import LastConversation
from agentsocket.client.person import answer_of_nobody
from agentsocket.client.reader import TRY_AGAIN
from agentsocket.protocol.frames import AgentFileFrame, InputRequiredFrame
from agentsocket.terminal.commands import COMMANDS, HELP, OF_CONVERSATIONS
from agentsocket.terminal.files import Files
from agentsocket.terminal.history import History
from agentsocket.terminal.keyboard import Keyboard, size
from agentsocket.terminal.past import Past
from agentsocket.terminal.question import Question, Unclear
from agentsocket.terminal.screen import Row, Screen
from agentsocket.terminal.talks import Talks
from agentsocket.terminal.task_view import TaskView
from agentsocket.terminal.text import RED, duration, fit

WAITS: Final = "waits for you"


@dataclass(eq=False)
class Running:
    """A task that has not ended."""

    view: TaskView
    task_id: asyncio.Future[str] = field(default_factory=asyncio.Future)
    asked: set[str] = field(default_factory=set)
    following: asyncio.Task[None] | None = None
    stopping: asyncio.Task[None] | None = None


class Conversation:
    """One person and one session. What a person types runs side by side, the lines of a pipe one after the other."""

    def __init__(  # noqa: PLR0913  # what a conversation is made of
        self,
        client: WebSocketClient,
        keyboard: Keyboard,
        screen: Screen,
        history: History,
        files: Files,
        *,
        last: LastConversation,
        frames_only: bool,
    ) -> None:
        """Prepare; with ``frames_only`` the frames are shown, and of the tasks nothing but their questions."""
        self._client, self._keyboard, self._screen, self._history = client, keyboard, screen, history
        self._files = files
        self.talks = Talks(client, screen, Past(screen, files.mention), last, lambda: bool(self._running))
        self._frames_only, self._raw = frames_only, frames_only
        self._is_tty = sys.stdin.isatty()
        self._running: list[Running] = []
        self._questions: list[Question] = []
        self._unfinished = False
        self._number = 0
        self._thought = ""
        self._lost_at: float | None = None

    async def hold(self, listening: asyncio.Task[None]) -> None:
        """Talk until the person leaves. Raises what ``listening`` raises."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        reading = asyncio.create_task(self._read())
        drawing = asyncio.create_task(self._screen.run(self._happening, self._prompt))
        try:
            done, _ = await asyncio.wait({reading, drawing, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            ours = [reading, drawing, *(running.following for running in self._running if running.following)]
            for task in ours:
                task.cancel()
            await self.talks.stop()
            await asyncio.gather(*ours, return_exceptions=True)
            await self._screen.finish()

    async def listen(self) -> None:
        """Show the frames that are wanted, until the client is closed; a person gets a new session for a lost one.

        Raises:
            ConnectionLost: if there is no server any more, or nobody to tell of a new session.
        """
        delays, since = full_jitter(), time.monotonic()
        while True:
            try:
                return await self._client.listen_for_events(self._show_frame)
            except ConnectionLost as lost:
                if not self._is_tty:
                    raise
                self.talks.lose(lost)
                if time.monotonic() - since > self._client.stable_after:
                    delays = full_jitter()
                await self._open_another(lost, delays)
                since = time.monotonic()

    async def _open_another(self, lost: ConnectionLost, delays: Iterator[float]) -> None:
        self._lost_at = self._lost_at or time.monotonic()
        wait = 0.0
        for delay in delays:
            await asyncio.sleep(wait + delay)
            wait = 0.0
            try:
                await self._client.connect()
                await self.talks.enter_again()
            except (ConnectionLost, NoToken):
                continue
            except ServerError as exc:
                if exc.code not in TRY_AGAIN:
                    raise
                wait = exc.retry_after or 0.0
                continue
            self._lost_at = None
            return
        raise lost

    def _show_frame(self, frame: str) -> None:
        """Show a frame where frames are wanted."""
        if self._frames_only:
            self._screen.say(frame)
        elif self._raw:
            self._screen.note(frame)

    def tell_connection(self, *, connected: bool) -> None:
        """Say in a line that the connection was lost, once it is back."""
        if connected and self._lost_at is not None:
            self._screen.note(f"The connection was lost for {duration(time.monotonic() - self._lost_at)} and is back.")
            self.talks.come_back()
        self._lost_at = None if connected else time.monotonic()
        self._screen.change()

    # ---- What is typed -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        draft = ""
        while (line := await self._keyboard.read(draft)) is not None:
            # What a terminal sends need not be text.
            if not await self._take(line.encode(errors="replace").decode()):
                return
            draft = self._questions[0].draft if self._questions else ""
            if not self._is_tty:
                await asyncio.gather(*(running.following for running in self._running if running.following))
                await self.talks.done()
                await self._files.finish()

    async def _take(self, line: str) -> bool:
        """Do what a line says; false where it says to leave."""
        question = self._questions[0] if self._questions and not self._unfinished else None
        self._unfinished = False
        word, _, rest = line.strip().partition(" ")
        if word in COMMANDS:
            self._screen.echo(f"> {line}", apart=True)
            if word in OF_CONVERSATIONS:
                self.talks.do(word, rest.strip())
            else:
                self._command(word, rest.strip())
        elif self.talks.doomed:
            self._screen.echo(f"? {line}", apart=False)
            self.talks.answer(line)
        elif question:
            self._screen.echo(f"? {line}", apart=False)
            await self._answer(question, line)
        elif word.startswith("/") and self._is_tty:
            self._screen.echo(f"> {line}", apart=True)
            self._screen.note(f"There is no {word}; /help says what there is.")
        elif word:
            self._start(line)
        return word != "/quit"

    def _command(self, word: str, rest: str) -> None:
        match word:
            case "/help":
                self._screen.note(HELP)
            case "/tasks":
                self._screen.note("\n".join(str(running.view) for running in self._running) or "Nothing is running.")
            case "/raw":
                self._raw = not self._raw
                self._screen.note("Frames are shown." if self._raw else "Frames are shown no longer.")
            case "/cancel":
                self._cancel(rest.strip("[]"))
            case "/ask" if rest:
                self._start(rest)
            case "/attach":
                self._files.attach_typed(rest)
            case "/detach":
                self._files.detach()
            case "/thoughts":
                views = [running.view for running in self._running if running.view.thought]
                self._screen.note(views[-1].thought if views else self._thought or "Nothing was thought.")
            case "/save":
                self._files.save_typed(rest)

    async def _answer(self, question: Question, line: str) -> None:
        try:
            response = question.read(line)
        except Unclear as more:
            self._screen.note(str(more))
            return
        self._questions.remove(question)
        question.view.status = ""
        try:
            await self._client.answer(question.frame.task_id, question.frame.input_id, response)
        except ClientError as exc:
            question.view.note(f"error: {explain(exc)}", RED)
            if any(running.view is question.view for running in self._running):
                self._questions.insert(0, question)
                question.view.status = WAITS

    # ---- Tasks -------------------------------------------------------------------------------------------------------

    def _start(self, message: str) -> None:
        self._history.add(message)
        self._number += 1
        running = Running(TaskView(self._number, message, self._screen))
        self._running.append(running)
        attached = self._files.hand_out()
        running.following = asyncio.create_task(self._follow(running, attached))
        self._tag()
        self._screen.echo(f"{running.view.tag}> {message}", apart=True)
        for path in attached:
            running.view.note(f"+ {path.name}")
            running.view.sending = "sending"

    async def _follow(self, running: Running, attached: Sequence[Path]) -> None:
        """Show a task to its end."""
        view = running.view
        try:
            await self.talks.done()  # it may be another conversation then
            async with contextlib.aclosing(self._stream(running, attached)) as events:
                async for event in events:
                    if isinstance(event, InputRequiredFrame):
                        await self._ask(running, event)
                    elif isinstance(event, AgentFileFrame):
                        self._files.receive(event, view)
                    elif not self._frames_only:
                        view.show(event)
        except TaskCancelled as exc:
            view.note(f"Stopped. {UNSAVED}" if exc.unsaved else "Stopped.")
        except asyncio.CancelledError:
            if running.stopping is None:
                raise
            view.note("Stopped.")  # before there was a task
        except (ClientError, OSError) as exc:
            view.note(f"error: {explain(exc)}", RED)
            if isinstance(exc, ConnectionLost) and not running.task_id.done():
                self._files.attach(attached)  # nobody has got them
        finally:
            self._forget(running)

    def _stream(self, running: Running, attached: Sequence[Path]) -> AsyncGenerator[TaskEvent, None]:
        def begin(task_id: str) -> None:
            running.view.sending = ""
            running.task_id.set_result(task_id)
            self.talks.note_said()

        return self._client.stream(
            running.view.message, attachments=attached, on_upload=running.view.tell_upload, on_start=begin
        )

    def _forget(self, running: Running) -> None:
        self._running.remove(running)
        self._thought = running.view.thought or self._thought
        self._questions = [question for question in self._questions if question.view is not running.view]
        if running.stopping:
            running.stopping.cancel()
        self._tag()

    def _tag(self) -> None:
        """Have the lines of tasks told apart, where there are several."""
        for running in self._running:
            running.view.tag = f"[{running.view.number}] " if len(self._running) > 1 else ""
        self._screen.change()

    async def _ask(self, running: Running, frame: InputRequiredFrame) -> None:
        """Put a question, unless it was put before the connection broke."""
        if frame.input_id in running.asked:
            return
        running.asked.add(frame.input_id)
        if not self._is_tty:
            await self._client.answer(frame.task_id, frame.input_id, answer_of_nobody(frame))
            return
        question = Question(running.view, frame)
        question.show()
        self._screen.hint(question.hint)
        if not self._questions:
            # Who is in the middle of a line is not answering what comes just then.
            self._unfinished = bool(self._keyboard.typed())
        self._questions.append(question)
        running.view.status = WAITS

    # ---- Stopping ----------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        """Stop the newest task that is not being stopped yet; where there is none, say how to leave."""
        if going := [running for running in self._running if not running.stopping]:
            self._stop(going[-1])
        else:
            self._screen.note(f"{'It is stopping' if self._running else 'Nothing is running'}; Ctrl-D leaves.")

    def _cancel(self, number: str) -> None:
        if not number:
            self._interrupt()
            return
        for running in self._running:
            if str(running.view.number) == number:
                self._stop(running)
                return
        self._screen.note("There is no such task; /tasks says what is running.")

    def _stop(self, running: Running) -> None:
        if running.stopping is None:
            running.view.status = "stopping"
            running.stopping = asyncio.create_task(self._cancel_request(running))
            if running.view.sending and running.following:
                running.following.cancel()

    async def _cancel_request(self, running: Running) -> None:
        # How it ends is told by its stream.
        with contextlib.suppress(ClientError):
            await self._client.cancel_request(await running.task_id)

    # ---- What is happening -------------------------------------------------------------------------------------------

    def _happening(self, room: int) -> list[Row]:
        """Return what to show below all that was said, in at most so many rows."""
        rows: list[Row] = []
        if self._lost_at is not None:
            rows.append(Row(f"The connection is lost; reconnecting for {duration(time.monotonic() - self._lost_at)}."))
        if self._questions:
            question = self._questions[0]
            rows.append(Row(f"{question.view.tag}? {question.hint}"))
        if self._files.attached:
            rows.append(Row(fit(f"+ {', '.join(self._files.names)}", size()[0])))
        share = max(1, (room - len(rows)) // max(1, len(self._running)))
        return [row for running in self._running for row in running.view.happening(share, size()[0])] + rows

    def _prompt(self) -> str:
        if not self._keyboard.typed():
            self._unfinished = False
        return "? " if self.talks.doomed or (self._questions and not self._unfinished) else "> "
