"""The contract between a login and whatever proves it, and the two methods that name nobody."""

import hmac
from collections.abc import Awaitable
from typing import Protocol

from agentsocket.identity.user import AuthError, LoginAttempt, User


class ExpiredLogin(AuthError):  # noqa: N818  # it says what happened
    """What proves the login was right once. It is refused, but nobody is guessing."""


class AuthenticationUnavailable(Exception):  # noqa: N818
    """Whether the login is right cannot be known now: it is refused, and may be tried again."""


class Authenticator(Protocol):
    """Proves logins, by one method."""

    @property
    def ambient(self) -> tuple[str, ...]:
        """The headers, in lower case, that may speak for a person without that person's doing.

        A browser sends cookies along whatever page it is that connects, and a proxy names the person then too.
        """

    def authenticate(self, attempt: LoginAttempt) -> User | Awaitable[User | None] | None:
        """Return who is there, or None for nobody by name; to be awaited where it takes time.

        Raises:
            AuthError: if the login is refused, with the sentence for the client.
            AuthenticationUnavailable: if that cannot be known now.
        """


class Anybody:
    """An open server: everybody, nobody by name."""

    ambient: tuple[str, ...] = ()

    def authenticate(self, attempt: LoginAttempt) -> None:
        """Let everybody in."""


class SharedToken:
    """One token for all, and so nobody by name."""

    ambient: tuple[str, ...] = ()

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def authenticate(self, attempt: LoginAttempt) -> None:
        """Let in who has the token.

        Raises:
            AuthError: if it is another one, or none.
        """
        given = (attempt.token or "").encode(errors="surrogatepass")
        if not hmac.compare_digest(self._token, given):
            raise AuthError("A login needs the right token." if given else "A login needs a token.")
