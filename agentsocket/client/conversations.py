"""What a client can do with conversations, its own and the user's others."""

from collections.abc import AsyncGenerator

from agentsocket.client.asking import Asking
from agentsocket.protocol import frames


class Conversations:
    """The part of a client that asks about conversations. After a break it asks again."""

    _asking: Asking

    async def conversations(self, *, limit: int = 50, before: str | None = None) -> frames.Conversations:
        """Return the user's conversations, newest first: at most ``limit``, 1 to 100, in ``conversations``.

        Where there are more, ``next`` is the ``before`` of the next page. Where users are not known by name, or the
        server keeps no conversations, there are none. Raises ``ServerError``.
        """
        return await self._asking.about(frames.ListConversations(limit=limit, before=before), frames.Conversations)

    async def all_conversations(self) -> AsyncGenerator[frames.ConversationCard, None]:
        """Yield the user's conversations, newest first. Raises as ``conversations``."""
        before, more = None, True
        while more:
            page = await self.conversations(limit=100, before=before)
            for card in page.conversations:
                yield card
            before, more = page.next, page.next is not None

    async def history(
        self, conversation_id: str | None = None, *, limit: int = 50, before: str | None = None
    ) -> frames.ConversationFrame:
        """Return what was said in a conversation, without an id in this one: its newest ``turns``, oldest first.

        Of at most ``limit`` turns, 1 to 100, there may be fewer, and ``next`` is the ``before`` of the older ones.

        Raises:
            ServerError: ``conversation_not_found`` or ``store_unavailable``.
        """
        question = frames.GetConversation(conversation_id=conversation_id, limit=limit, before=before)
        return await self._asking.about(question, frames.ConversationFrame)

    async def rename_conversation(self, conversation_id: str, title: str) -> str:
        """Give a conversation another title, of 1 to 200 characters; return it as it is kept. Raises as ``history``."""
        question = frames.RenameConversation(conversation_id=conversation_id, title=title)
        return (await self._asking.about(question, frames.ConversationUpdated)).title

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation, its files and its memory, for good; a session of it ends. Raises as ``history``."""
        await self._asking.about(frames.DeleteConversation(conversation_id=conversation_id), frames.ConversationDeleted)
