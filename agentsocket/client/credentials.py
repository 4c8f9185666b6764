"""Who logs in and for what: each login is made here, with a token that is asked for anew."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import JsonValue

from agentsocket.client.errors import NoToken
from agentsocket.protocol.frames import Login, LoginResponse

Token = str | Callable[[], str | Awaitable[str | None] | None] | None
"""A token, or what gives one; a plain function runs in a thread."""

FEATURES: Final = ("heartbeat", "reasoning", "progress", "data", "files")
"""What this client understands beyond the base."""

TOKEN_WITHIN = 20.0
"""Seconds in which there is a fresh token for a session that goes on. Whoever logs in first takes their time."""


class Credentials:
    """What a client logs in with."""

    def __init__(
        self,
        token: Token,
        agent: str | None,
        params: Mapping[str, JsonValue] | None,
        features: Iterable[str] | None = FEATURES,
        conversation_id: str | None = None,
    ) -> None:
        """Keep what a login says; raises ``ValueError`` for ``params`` that are no JSON object."""
        self._token = token
        self._login = Login(
            agent=agent,
            features=None if features is None else list(features),
            params=None if params is None else dict(params),
            conversation_id=conversation_id,
        )
        self._at_hand: list[str | None] = []

    @property
    def features(self) -> Collection[str]:
        """What this client says that it understands beyond the base."""
        return self._login.features or ()

    @property
    def renewable(self) -> bool:
        """Whether there may be another token later."""
        return callable(self._token)

    async def prepare(self) -> None:
        """Have a token at hand for the next login, before a connection waits for it. Raises what the function does."""
        self._at_hand = [await self._ask()]

    async def login(self, **fields: Any) -> Login:
        """Return a login with further fields, and with the token at hand, which serves once, or else another."""
        if not self._at_hand:
            await self.prepare()
        return self._login.model_copy(update={"token": self._at_hand.pop(), **fields})

    async def login_again(self, session: LoginResponse, last_seq: int) -> Login:
        """Return a login that takes up a session, or where that is gone its conversation, or without both a new one."""
        if not session.session_id:
            return await self.login(resumable=True, conversation_id=None)
        kept = session.conversation_id is not None
        way = {"session_id": session.session_id, "resume_token": session.resume_token, "last_seq": last_seq}
        return await self.login(**way, conversation_id=session.conversation_id, resumable=True if kept else None)

    async def prepare_again(self) -> None:
        """Have a token at hand to come back with. Raises ``NoToken``."""
        self._at_hand = [await self.renew()]

    async def renew(self) -> str | None:
        """Return a fresh token for a session that goes on. Raises ``NoToken``."""
        try:
            async with asyncio.timeout(TOKEN_WITHIN):
                return await self._ask()
        except NoToken:
            raise
        except Exception as exc:
            # Its text is not repeated: it is made where secrets are, and this one may be logged.
            raise NoToken(f"There is no fresh token: {type(exc).__name__}.") from exc

    async def _ask(self) -> str | None:
        token: object = self._token
        if callable(token):
            token = await asyncio.to_thread(_called, token)
            if inspect.isawaitable(token):
                token = await token
        if token is None:
            return None
        if not isinstance(token, str):
            raise NoToken(f"A token is text, and not of the type {type(token).__name__}.")
        if any("\ud800" <= char <= "\udfff" for char in token):
            raise NoToken("A token is text, and this one has no UTF-8.")
        return token


def _called(give: Callable[[], object]) -> object:
    try:
        return give()
    except StopIteration:  # with which no future can end
        raise NoToken("There is no further token.") from None
