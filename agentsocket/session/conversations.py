"""The conversations of all sessions: who may have which, which are alive, and what is told of them."""

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import Collection, Iterator, Sequence

from pydantic_core import from_json, to_json

from agentsocket.containment.exits import called, contained
from agentsocket.containment.stopping import outcome
from agentsocket.conversations.contract import Conversation, KeptFile, Store, StoredTurn, StoreError
from agentsocket.files.store import FileStore
from agentsocket.protocol.codec import encode
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import (
    AboutConversations,
    ConversationCard,
    ConversationDeleted,
    ConversationFrame,
    ConversationUpdated,
    DeleteConversation,
    GetConversation,
    ListConversations,
    Login,
    RenameConversation,
)
from agentsocket.protocol.frames import (
    Conversations as ConversationsFrame,
)
from agentsocket.session.encoding import clean
from agentsocket.session.instance import Instance
from agentsocket.session.keeper import SHOWN_ID, Keeper, milliseconds, moment, unavailable
from agentsocket.session.session import Session
from agentsocket.session.visitor import Visitor
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.session")

PAGE_SIZE = 256 * 1024
"""Bytes that the turns of one answer may have."""

SWEEP = 3600.0
"""Seconds between two looks for conversations that are too old; sooner where they grow old sooner."""

AT_ONCE = 100
"""Conversations that are looked for, or deleted, at once."""


class Continued:
    """A conversation that a login goes on with, before there is a session."""

    def __init__(self, conversation: Conversation, memory: bytes | None, files: Sequence[KeptFile]) -> None:
        self.conversation, self.memory, self.files = conversation, memory, files


class Conversations:
    """What a server with a store knows of its conversations. At most one session of each is alive."""

    def __init__(self, settings: Settings, store: Store, files: FileStore) -> None:
        self._settings, self._store, self._files = settings, store, files
        self._alive: dict[str, Session | None] = {}
        """By conversation; None where the agent of its session is still being made, or it is being deleted."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the store.

        Raises:
            StoreError: if it cannot be used.
        """
        await self._store.open()
        try:
            await self._files.sweep(await self._store.all_files())
        except ProtocolError as exc:
            await self._store.close()
            raise StoreError(f"its files: {exc}") from exc
        if self._settings.conversation_ttl is not None:
            self._sweeping = asyncio.create_task(self._sweep(self._settings.conversation_ttl))

    async def close(self) -> None:
        """Close the store."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._store.close()

    def begin(self, agent: str, visitor: Visitor) -> Keeper:
        """Return the keeper of a new conversation; it is kept from its first turn on."""
        now = milliseconds()
        owner = None if visitor.user is None else visitor.user.id
        return self._keeper(Conversation(secrets.token_hex(16), owner, agent, "", now, now))

    async def check_room(self, visitor: Visitor) -> None:
        """Check that a user may have one more conversation.

        Raises:
            ProtocolError: ``too_many_conversations``, ``store_unavailable``.
        """
        most = self._settings.max_conversations_per_user
        if visitor.user is None or most is None:
            return
        try:
            count = await self._store.count(visitor.user.id)
        except StoreError:
            raise unavailable(None) from None
        # Those that are alive and have no turn yet are not in the store.
        count += sum(each.keeper.conversation.turns == 0 for each in self._of(visitor.user.id) if each.keeper)
        if count >= most:
            text = f"You have {count} conversations, as many as you may: delete some."
            raise ProtocolError(ErrorCode.TOO_MANY_CONVERSATIONS, text, scope="user")

    def _of(self, user_id: str) -> Iterator[Session]:
        """Give the living sessions of a user's conversations."""
        for alive in self._alive.values():
            if alive is not None and alive.context.user is not None and alive.context.user.id == user_id:
                yield alive

    async def claim(self, login: Login, visitor: Visitor) -> Session | Continued:
        """Return the living session of a conversation, or take the place of the one that is to be made.

        Raises:
            ProtocolError: ``conversation_not_found``, ``conversation_busy``, ``agent_unavailable``,
                ``store_unavailable``.
        """
        conversation_id = login.conversation_id or ""
        conversation = await self._find(conversation_id, visitor)
        if visitor.user is not None and not visitor.user.may_have(conversation.agent):
            raise ProtocolError(ErrorCode.AGENT_UNAVAILABLE, "You may not have this conversation's agent any more.")
        await self._wait_for_end(conversation_id)
        if conversation_id in self._alive:
            return self._alive_for(conversation_id, login, visitor)
        self._alive[conversation_id] = None
        try:
            # Looked up again: the session that has just ended may have written, or deleted it.
            conversation = await self._find(conversation_id, visitor)
            memory = await self._store.memory(conversation_id)
            files = await self._store.files(conversation_id)
        except StoreError:
            self.give_up(conversation_id)
            raise unavailable(None) from None
        except BaseException:
            self.give_up(conversation_id)
            raise
        return Continued(conversation, memory, files)

    async def restore(self, continued: Continued, instance: Instance) -> bool:
        """Give a new agent what it remembered; false where it has nothing to remember by, or cannot."""
        if continued.memory is None:
            return False
        loading = asyncio.create_task(contained(_loaded(instance.agent, continued.memory)), context=instance.variables)
        seconds = self._settings.agent_creation_timeout
        failure = await outcome(loading, seconds, stopping=self._settings.cancel_timeout)
        if failure is not None:
            shown = continued.conversation.id[:SHOWN_ID]
            logger.error("the agent of conversation %s… cannot take up what it remembered", shown, exc_info=failure)
        return failure is None and loading.result()

    def keeper(self, continued: Continued) -> Keeper:
        """Return the keeper of a conversation that goes on."""
        return self._keeper(continued.conversation)

    def entered(self, session: Session, conversation_id: str) -> None:
        """Note the session of a conversation."""
        self._alive[conversation_id] = session
        self._tell()

    def give_up(self, conversation_id: str) -> None:
        """The session of a conversation has ended, or is not to be."""
        self._alive.pop(conversation_id, None)
        self._tell()

    async def answer(self, frame: AboutConversations, session: Session) -> bytes:
        """Return the frame that answers a question about conversations.

        Raises:
            ProtocolError: ``conversation_not_found``, ``invalid_frame``, ``store_unavailable``.
        """
        visitor = Visitor(session.context.user)
        try:
            match frame:
                case ListConversations():
                    return encode(await self._list(frame, visitor))
                case GetConversation():
                    return await self._get(frame, visitor, session)
                case RenameConversation():
                    return encode(await self._rename(frame, visitor))
                case DeleteConversation():
                    return encode(await self._delete(frame, visitor))
        except StoreError:
            raise unavailable(None) from None

    async def _list(self, frame: ListConversations, visitor: Visitor) -> ConversationsFrame:
        if visitor.user is None:
            return ConversationsFrame(conversations=[], request_id=frame.request_id)
        found = await self._store.listed(visitor.user.id, frame.limit + 1, _place(frame.before))
        page, more = found[: frame.limit], found[frame.limit :]
        return ConversationsFrame(
            conversations=[self._card(each) for each in page],
            next=f"{page[-1].updated_at}-{page[-1].id}" if more else None,
            request_id=frame.request_id,
        )

    def _card(self, conversation: Conversation) -> ConversationCard:
        alive = self._alive.get(conversation.id)
        return ConversationCard(
            conversation_id=conversation.id,
            title=conversation.title,
            agent=conversation.agent,
            created_at=moment(conversation.created_at),
            updated_at=moment(conversation.updated_at),
            turns=conversation.turns,
            running=alive is not None and bool(alive.tasks),
        )

    async def _get(self, frame: GetConversation, visitor: Visitor, session: Session) -> bytes:
        own = session.keeper.conversation if session.keeper is not None else None
        conversation_id = frame.conversation_id or (own.id if own is not None else "")
        conversation = await self._find(conversation_id, visitor)
        before = _number(frame.before)
        running = self._running(conversation_id)
        found = await self._store.turns(conversation_id, frame.limit + 1, before, PAGE_SIZE)
        running |= self._running(conversation_id)
        turns: list[bytes] = []
        size = 0
        for turn in found[: frame.limit]:
            encoded = _encoded(turn, running)
            size += len(encoded) + 1
            if turns and size > PAGE_SIZE:
                break
            turns.append(encoded)
        more = len(found) > len(turns)
        head = ConversationFrame(
            conversation_id=conversation_id,
            title=conversation.title,
            agent=conversation.agent,
            turns=[],
            next=str(found[len(turns) - 1].number) if more else None,
            request_id=frame.request_id,
        )
        # Within a string of JSON, a quotation mark is escaped: this can only be the field.
        return encode(head).replace(b'"turns":[]', b'"turns":[%s]' % b",".join(reversed(turns)), 1)

    def _running(self, conversation_id: str) -> set[str]:
        alive = self._alive.get(conversation_id)
        return set() if alive is None else set(alive.tasks)

    async def _rename(self, frame: RenameConversation, visitor: Visitor) -> ConversationUpdated:
        conversation = await self._find(frame.conversation_id, visitor)
        title = " ".join(clean(frame.title).split())
        if not title:
            raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'title': it is empty.")
        alive = self._alive.get(conversation.id)
        own = alive.keeper.conversation if alive is not None and alive.keeper is not None else conversation
        before, own.title = own.title, title  # at once: its first turn may be on its way to the store
        try:
            await self._store.rename(conversation.id, title)
        except StoreError:
            own.title = before
            raise
        return ConversationUpdated(conversation_id=conversation.id, title=title, request_id=frame.request_id)

    async def _delete(self, frame: DeleteConversation, visitor: Visitor) -> ConversationDeleted:
        conversation = await self._find(frame.conversation_id, visitor)
        await self._remove(conversation.id, conversation.owner)
        return ConversationDeleted(conversation_id=conversation.id, request_id=frame.request_id)

    async def _remove(self, conversation_id: str, owner: str | None) -> None:
        while conversation_id in self._alive:
            if (alive := self._alive[conversation_id]) is not None:
                alive.finish()
            await self._change()
        with self._reserved(conversation_id):
            await self._files.discard(owner, await self._store.delete(conversation_id))

    @contextlib.contextmanager
    def _reserved(self, conversation_id: str) -> Iterator[None]:
        """Hold the place of a conversation that nobody has: nobody goes on with it meanwhile."""
        self._alive[conversation_id] = None
        try:
            yield
        finally:
            self.give_up(conversation_id)

    async def _find(self, conversation_id: str, visitor: Visitor) -> Conversation:
        """Return a conversation of this visitor's: of anybody else's nobody learns that it is there."""
        alive = self._alive.get(conversation_id)
        try:
            conversation = await self._store.find(conversation_id)
        except StoreError:
            raise unavailable(None) from None
        if conversation is None and alive is not None and alive.keeper is not None:
            conversation = alive.keeper.conversation  # it has no turn yet
        if conversation is None or conversation.owner != (visitor.user and visitor.user.id):
            raise ProtocolError(ErrorCode.CONVERSATION_NOT_FOUND, "There is no such conversation.")
        return conversation

    async def _wait_for_end(self, conversation_id: str) -> None:
        """Wait until a session that is ending has ended."""
        try:
            async with asyncio.timeout(self._settings.agent_creation_timeout):
                while (alive := self._alive.get(conversation_id)) is not None and alive.ending:
                    await self._change()
        except TimeoutError:
            raise _busy() from None

    async def _change(self) -> None:
        """Wait until another session is alive, or one no longer."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await change
        finally:
            self._waiting.discard(change)

    def _tell(self) -> None:
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    def _alive_for(self, conversation_id: str, login: Login, visitor: Visitor) -> Session:
        alive = self._alive[conversation_id]
        if alive is None:
            raise _busy()
        if visitor.user is None:
            token = alive.resume_token or secrets.token_urlsafe(16)
            if not hmac.compare_digest(token.encode(), (login.resume_token or "").encode()):
                raise _busy()
        return alive

    def _keeper(self, conversation: Conversation) -> Keeper:
        return Keeper(self._store, conversation, self._settings)

    async def _sweep(self, age: float) -> None:
        while True:
            try:
                while await self._delete_older(milliseconds() - int(age * 1000)):
                    pass
            except (StoreError, ProtocolError) as exc:
                logger.warning("conversations that are too old could not be deleted: %s", exc)
            await asyncio.sleep(min(SWEEP, age / 4))

    async def _delete_older(self, time: int) -> bool:
        """Delete some of the conversations in which nothing has happened since; false where there may be no more."""
        found = await self._store.untouched_since(time, AT_ONCE + len(self._alive))
        old = [conversation_id for conversation_id in found if conversation_id not in self._alive][:AT_ONCE]
        for conversation_id in old:
            await self._delete_if_older(conversation_id, time)
        return len(old) == AT_ONCE

    async def _delete_if_older(self, conversation_id: str, time: int) -> None:
        if conversation_id in self._alive:
            return
        with self._reserved(conversation_id):  # before it is looked at
            found = await self._store.find(conversation_id)
            if found is not None and found.updated_at < time:
                await self._files.discard(found.owner, await self._store.delete(conversation_id))


async def _loaded(agent: object, memory: bytes) -> bool:
    """Have an agent take up what it remembered, where it can. All of it is the agent's code, and may raise."""
    load = getattr(agent, "load", None)
    if callable(load):
        await called(load, from_json(memory))
    return callable(load)


def _busy() -> ProtocolError:
    text = "The conversation goes on elsewhere."
    return ProtocolError(ErrorCode.CONVERSATION_BUSY, text, retry_after=1.0)


def _encoded(turn: StoredTurn, running: Collection[str]) -> bytes:
    """Return a turn as it stands on the wire. One whose end could not be kept only looks as if it ran."""
    status = turn.status
    if status == "running" and from_json(turn.head)["task_id"] not in running:
        status = "interrupted"
    tail = turn.tail[1:] if turn.tail else b'"events":[]}'
    return b'%s,"status":%s,%s' % (turn.head[:-1], to_json(status), tail)


def _place(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    time, _, conversation_id = before.partition("-")
    return _digits(time), conversation_id


def _number(before: str | None) -> int | None:
    return None if before is None else _digits(before)


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 18):  # noqa: PLR2004  # what SQLite takes
        raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'before': it is not what 'next' was.")
    return int(text)
