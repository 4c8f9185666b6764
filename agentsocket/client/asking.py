"""What a client asks of its server: it is sent, and its answer is waited for across breaks, though never forever."""

import uuid
from collections.abc import Callable
from typing import Any, TypeVar, cast

from agentsocket.client.errors import ConnectionLost, MessageTooLong
from agentsocket.client.exchange import Exchange, Request
from agentsocket.client.link import Connection, await_answer
from agentsocket.protocol import frames

T = TypeVar("T")


class Asking:
    """Asks over whatever connection there is."""

    def __init__(self, exchange: Exchange, connection: Callable[[], Connection | None]) -> None:
        """Start with nothing; ``connection`` tells the one that there is."""
        self._exchange, self._connection = exchange, connection

    def connected(self) -> Connection:
        """Return the connection. Raises ``ConnectionLost`` where there is none."""
        if (connection := self._connection()) is None:
            raise ConnectionLost("There is no connection.")
        return connection

    def check(self, request: Request) -> None:
        """Check that the server takes a message of that size. Raises ``MessageTooLong``."""
        limit, size = self.connected().max_message_size, len(request.text)
        if limit is not None and size > limit:
            raise MessageTooLong(f"The message has {size:,} bytes, and the server takes {limit:,}: it was not sent.")

    async def send(self, request: Request) -> None:
        """Send a frame. A connection that breaks here is the reader's to mend, or to report to everyone who waits."""
        if (connection := self._connection()) is not None:
            await connection.say(request.text)

    async def say(self, frame: frames.ClientFrame) -> None:
        """Send a frame that need not arrive."""
        await self.send(Request(frame))

    async def request(self, key: str, new: Request) -> Any:
        """Send a frame and return its answer; a request that waits for the same answer already is shared."""
        self.check(new)
        request = self._exchange.requests.setdefault(key, new)
        if request is new:
            await self.send(new)
        return await await_answer(request.answer, self._connection)

    async def anew(self, key: str, request: Request) -> Any:
        """Send what is asked again, under another key, where there is no answer: after a break it is forgotten."""
        try:
            return await self.request(key, request)
        finally:
            self._exchange.requests.pop(key, None)

    async def about(self, question: frames.AboutConversations, answer: type[T]) -> T:  # noqa: ARG002  # names the type alone
        """Ask about conversations, and return the answer. Raises ``ServerError``."""
        request_id = uuid.uuid4().hex
        found = await self.anew(request_id, Request(question.model_copy(update={"request_id": request_id})))
        return cast("T", found)
