"""A proxy has logged the person in, and names them in a header."""

from agentsocket.identity.user import MAX_USER_ID, AuthError, LoginAttempt, User


class ProxyHeader:
    """Believes a header, where the socket's own peer is a trusted proxy."""

    def __init__(self, name: str) -> None:
        self._header = name.lower()
        self.ambient = (self._header,)

    def authenticate(self, attempt: LoginAttempt) -> User:
        """Return the user that the header names.

        Raises:
            AuthError: if the header did not come once, from a trusted proxy, with a name in it.
        """
        user_id = _text(attempt.headers.get(self._header, "")) if attempt.peer_trusted else ""
        if not user_id or len(user_id) > MAX_USER_ID or not user_id.isprintable():
            raise AuthError("The proxy in front of this server has logged nobody in.")
        return User(user_id)


def _text(value: str) -> str:
    """Return what a header says in UTF-8. Its bytes stand for themselves; what is no UTF-8 names nobody."""
    try:
        return value.strip(" \t").encode("latin-1").decode()
    except ValueError:
        return ""
