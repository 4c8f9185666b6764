"""Whoever logs in, as far as sessions are concerned: no socket, no token."""

from typing import NamedTuple

from agentsocket.identity.user import User


class Visitor(NamedTuple):
    """Who it is, and where from."""

    user: User | None = None
    """Who it is, where that is known by name."""
    address: str = ""
    """The client's IP address."""
    share: str = ""
    """What that address counts as, for what one address may have; empty where that has no limit."""

    def owns(self, user: User | None) -> bool:
        """Whether what belongs to this user belongs to the visitor."""
        return (user and user.id) == (self.user and self.user.id)
