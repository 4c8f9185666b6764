"""The conversations that a server keeps: which there are, which one it is now, and what is done with them."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ClientError, ConnectionLost, ServerError, explain
from agentsocket.client.last_conversation import LastConversation
from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import MAX_TITLE, ConversationCard
from agentsocket.terminal.keyboard import size
from agentsocket.terminal.past import Past, row, titled
from agentsocket.terminal.screen import Screen
from agentsocket.terminal.text import BOLD, RED

PAGE, TURNS, SHORT = 20, 20, 3
"""Conversations of a list, turns of a history, and those that are shown in short on going on."""

MAX_TURNS: Final = 100
MAX_ID: Final = 128

NO_MEMORY: Final = "The agent does not remember what was said in it."
NONE_KEPT: Final = "This server keeps no conversations."


class Talks:
    """Does what a person says about conversations, one thing after the other."""

    def __init__(
        self,
        client: WebSocketClient,
        screen: Screen,
        past: Past,
        last: LastConversation,
        busy: Callable[[], bool],
    ) -> None:
        """Start with none; ``busy`` tells whether something is running."""
        self._client, self._screen, self._past, self._last, self._busy = client, screen, past, last, busy
        self.current: str | None = None
        """The conversation that there is something of to go on with."""
        self.doomed: tuple[str, str] | None = None
        """Id and title of one that is deleted where the next line says so."""
        self._listed: list[ConversationCard] = []
        self._next: str | None = None
        self._session_id: str | None = None
        self._doing: asyncio.Task[None] | None = None

    # ---- The session -------------------------------------------------------------------------------------------------

    async def enter(self, conversation_id: str | None = None) -> None:
        """Log in, and go on with a conversation where one is named. Raises ``ClientError``."""
        await self._client.login(conversation_id)
        self._session_id, self.current = self._client.session_id, conversation_id

    async def enter_again(self) -> None:
        """Log in after the session was lost, and go on where that is possible. Raises ``ClientError``."""
        wanted = self.current
        try:
            await self.enter(wanted)
        except ServerError as exc:
            if wanted is None or exc.code != ErrorCode.CONVERSATION_NOT_FOUND:
                raise
            wanted = None
            await self.enter()
        if wanted is None:
            self._screen.note("The session was lost. This is a new one, which knows nothing of what was said.")
        else:
            self._tell_new_session()

    def lose(self, lost: ConnectionLost) -> None:
        """Let go of a conversation that somebody goes on with elsewhere: to take it back would begin a quarrel."""
        if self.current is not None and lost.close_code == CloseCode.TAKEN_OVER:
            self._screen.note(f"The conversation was taken up elsewhere; /continue {self.current} takes it back.")
            self.current = None

    def come_back(self) -> None:
        """The connection is back; say so where the session is another one."""
        if self._client.session_id not in {None, self._session_id}:
            self._session_id = self._client.session_id
            self._tell_new_session()

    def note_said(self) -> None:
        """Something was said: now there is something to go on with."""
        self.current = self._client.conversation_id
        self._last.note(self.current)

    def _tell_new_session(self) -> None:
        self._screen.note("The session was lost. The conversation goes on in a new one.")
        self._tell_memory()

    def _tell_memory(self) -> None:
        if self._client.memory == "none":
            self._screen.note(NO_MEMORY)

    # ---- What is typed -----------------------------------------------------------------------------------------------

    def do(self, word: str, rest: str) -> None:
        """Begin what a command says."""
        self.doomed = None
        # What is typed after it waits for it, and does not keep it from being done.
        self._doing = asyncio.create_task(self._do(word, rest, self._doing, busy=self._busy()))

    def answer(self, line: str) -> None:
        """Take the answer to whether to delete."""
        doomed, self.doomed = self.doomed, None
        if doomed is not None and line.strip().lower() in {"y", "yes"}:
            self.do("", doomed[0])
        else:
            self._screen.note("It is kept.")

    async def done(self) -> None:
        """Wait until all that was begun is done."""
        while self._doing is not None and not self._doing.done():
            await asyncio.wait([self._doing])

    async def stop(self) -> None:
        """Do nothing more."""
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.wait([self._doing])

    async def _do(self, word: str, rest: str, before: asyncio.Task[None] | None, *, busy: bool) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._obey(word, rest, busy=busy)
        except ClientError as exc:
            self._screen.note(f"error: {explain(exc)}", RED)

    async def _obey(self, word: str, rest: str, *, busy: bool) -> None:
        match word:
            case "/conversations":
                await self._list(more=rest == "more")
            case "/continue":
                await self._continue(rest, busy=busy)
            case "/new":
                await self._change(None, busy=busy)
            case "/history":
                await self._show_history(rest)
            case "/rename":
                await self._rename(rest)
            case "/delete":
                self._ask_to_delete(rest)
            case _:
                await self._delete(rest, busy=busy)

    # ---- What is done ------------------------------------------------------------------------------------------------

    async def _list(self, *, more: bool) -> None:
        if not more:
            self._listed, self._next = [], None
        elif self._next is None:
            self._screen.note("There are no more." if self._listed else "/conversations lists the newest first.")
            return
        first = len(self._listed)
        page = await self._client.conversations(limit=PAGE, before=self._next)
        self._listed += page.conversations
        self._next = page.next
        if not self._listed:
            self._screen.note(self._why_none())
            return
        current, columns = self._client.conversation_id, size()[0]
        numbered = list(enumerate(self._listed, 1))[first:]
        rows = [row(number, card, columns, current=card.conversation_id == current) for number, card in numbered]
        if self._next is not None:
            rows.append("There are more: /conversations more")
        self._screen.note("\n".join(rows))

    def _why_none(self) -> str:
        current = self._client.conversation_id
        if current is None:
            return NONE_KEPT
        if self._client.user is not None:
            return "You have had no conversation yet."
        return f"A list is for users whom the server knows by name. The id of this conversation:\n{current}"

    async def _continue(self, named: str, *, busy: bool) -> None:
        if not named:
            self._screen.note("Which one? /conversations has their numbers; an id will do, too.")
            return
        if (conversation_id := self._id_of(named)) is None:
            return
        if conversation_id == self._client.conversation_id:
            self._screen.note("That is this one.")
            return
        await self._client.history(conversation_id, limit=1)  # whether it is there, before this one is left
        if await self._change(conversation_id, busy=busy):
            await self.show_going_on()

    async def _change(self, conversation_id: str | None, *, busy: bool) -> bool:
        """Leave this conversation for another, or for a new one; return whether it is that now."""
        if busy:
            self._screen.note("Something is running here: wait for it, or /cancel it.")
            return False
        before = self.current
        if self._client.session_id is not None:
            await self._client.logout()
        try:
            await self.enter(conversation_id)
        except ServerError:
            await self._enter_or_begin(before)
            raise
        if conversation_id is None:
            self._screen.note(
                "This is a new conversation." if self._client.conversation_id else "This is a new session."
            )
        else:
            self._last.note(conversation_id)
        return True

    async def _enter_or_begin(self, conversation_id: str | None) -> None:
        try:
            await self.enter(conversation_id)
        except ServerError:
            if conversation_id is None:
                raise
            await self.enter()

    async def show_going_on(self) -> None:
        """Show in short what was said last in this conversation. Raises ``ClientError``."""
        said = await self._client.history(limit=SHORT)
        self._screen.note(f"Going on with “{titled(said.title)}”.")
        for turn in said.turns:
            self._past.show_short(turn)
        if said.next is not None:
            self._screen.note("/history shows more.")
        self._tell_memory()

    async def _show_history(self, number: str) -> None:
        wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 5 else TURNS  # noqa: PLR2004
        said = await self._client.history(limit=min(max(1, wanted), MAX_TURNS))
        if not said.turns:
            self._screen.note("Nothing was said yet.")
            return
        if said.next is not None:
            self._screen.note(f"The last {len(said.turns)} turns of “{titled(said.title)}”:")
        for turn in said.turns:
            self._past.show(turn)

    async def _rename(self, title: str) -> None:
        current = self._client.conversation_id
        if current is None:
            self._screen.note(NONE_KEPT)
        elif not 0 < len(title) <= MAX_TITLE:
            self._screen.note(f"A title has 1 to {MAX_TITLE} characters.")
        else:
            self._screen.note(f"It is called “{titled(await self._client.rename_conversation(current, title))}” now.")

    def _ask_to_delete(self, named: str) -> None:
        if not named:
            self._screen.note("Which one? /conversations has their numbers.")
        elif (conversation_id := self._id_of(named)) is not None:
            if not sys.stdin.isatty():
                self._screen.note("It is kept: nobody can be asked, standard input is not a terminal.")
                return
            titles = [card.title for card in self._listed if card.conversation_id == conversation_id]
            self.doomed = conversation_id, titled(titles[0]) if titles else conversation_id
            self._screen.note(f"Delete “{self.doomed[1]}” for good, with its files? [y/N]", BOLD)
            self._screen.change()

    async def _delete(self, conversation_id: str, *, busy: bool) -> None:
        own = conversation_id == self._client.conversation_id
        if own and busy:
            self._screen.note("Something is running in it: wait for it, or /cancel it.")
            return
        await self._client.delete_conversation(conversation_id)
        if self._last.id == conversation_id:
            self._last.note(None)
        self._screen.note("It is deleted." if not own else "It is deleted, and this is a new one.")
        if own:
            await self.enter()

    def _id_of(self, named: str) -> str | None:
        """Return the id that is meant, by its number in the list or itself; none where it says that there is none."""
        if named.isascii() and named.isdigit() and len(named) < 9:  # noqa: PLR2004  # an id is longer
            if 0 < int(named) <= len(self._listed):
                return self._listed[int(named) - 1].conversation_id
            self._screen.note("There is no such number; /conversations has them.")
            return None
        if len(named) <= MAX_ID and named.isprintable() and " " not in named:
            return named
        self._screen.note("That is no id of a conversation.")
        return None
