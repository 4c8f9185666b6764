"""What a login came with, and who it turned out to be."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue

MAX_USER_ID: Final = 128
"""Characters of a user's id."""

MAX_USER_NAME: Final = 256
"""Characters of a user's name; what is beyond is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """What a login came with: all that a hook decides by. Nothing in it is proved yet."""

    token: str | None = None
    """``login.token``, or what the handshake had as ``Authorization: Bearer``."""
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    """``login.params``, the client's own."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The handshake's headers, names in lower case; one that came twice is left out."""
    cookies: Mapping[str, str] = field(default_factory=dict)
    """The handshake's cookies; one that came twice is left out."""
    address: str = ""
    """The client's IP address: the peer's, or what trusted proxies say of it."""
    peer_trusted: bool = False
    """Whether the socket's own peer is one of ``--trusted-proxies``."""
    agent: str = ""
    """The name of the agent that is wanted: the session's own, the one that the login names, or the first."""
    resuming: bool = False
    """Whether a session that this user had before is taken up or refreshed."""


@dataclass(frozen=True, slots=True)
class User:
    """Who is there. A limit that is None is the settings'.

    Raises:
        TypeError: if a field is of another type.
        ValueError: if ``id`` is empty, too long or no text that could be sent, or ``expires_at`` has no time zone.
    """

    id: str
    """1 to 128 characters; never taken from a client's frame."""
    name: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Whatever else is known; it stays on the server."""
    agents: Collection[str] | None = None
    """The agents that this user may have; None for all."""
    expires_at: datetime | None = None
    """When the login ends, with its time zone; None for never."""
    max_sessions: int | None = None
    max_tasks: int | None = None
    requests_per_minute: int | None = None

    def __post_init__(self) -> None:
        _want("id", self.id, str)
        if not 1 <= len(self.id) <= MAX_USER_ID:
            raise ValueError(f"User.id has 1 to {MAX_USER_ID} characters, not {len(self.id)}")
        if not is_text(self.id):
            raise ValueError("User.id has half of a character, which could not be sent")
        _want("name", self.name, str, type(None))
        _want("claims", self.claims, Mapping)
        _want("expires_at", self.expires_at, datetime, type(None))
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("User.expires_at needs a time zone: datetime.now(UTC), for example")
        for limit in ("max_sessions", "max_tasks", "requests_per_minute"):
            _want(limit, getattr(self, limit), int, type(None))
        if self.name is not None:
            object.__setattr__(self, "name", sendable(self.name[:MAX_USER_NAME]))
        if self.agents is not None:
            if isinstance(self.agents, str):
                raise TypeError("User.agents is a collection of names, not one of them")
            object.__setattr__(self, "agents", frozenset(self.agents))

    @property
    def expires_in(self) -> float | None:
        """Seconds until the login ends, none below zero; None where it does not."""
        return None if self.expires_at is None else max(0.0, (self.expires_at - datetime.now(UTC)).total_seconds())

    def may_have(self, agent: str) -> bool:
        """Whether this user may have the agent of this name."""
        return self.agents is None or agent in self.agents


class AuthError(Exception):
    """A login is refused. Its text is a sentence that the client may read."""


def is_text(text: str) -> bool:
    """Whether UTF-8 can say it: JSON, and so a token, can hold half of a character that takes two (a surrogate)."""
    return sendable(text) == text


def sendable(text: str) -> str:
    """Return a text that UTF-8 can say; half of a character becomes a question mark."""
    return text.encode(errors="replace").decode()


def _want(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"User.{name} is {wanted}, not {type(value).__name__}")
