"""What a login came with: the frame's own fields, and those of the handshake before it."""

from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from agentsocket.connection.connection import AgentConnection
from agentsocket.identity.user import LoginAttempt


def login_attempt(
    connection: AgentConnection, token: str | None, params: Mapping[str, JsonValue], agent: str, *, resuming: bool
) -> LoginAttempt:
    """Return all that a login by this connection is to be judged by."""
    request = connection.request
    given = [] if request is None else request.headers.raw_items()
    headers = _once((name.lower(), value) for name, value in given)
    return LoginAttempt(
        token=_bearer(headers.get("authorization", "")) if token is None else token,
        params=params,
        headers=headers,
        cookies=_once(_cookies(headers.get("cookie", ""))),
        address=connection.client_address,
        peer_trusted=connection.peer_trusted,
        agent=agent,
        resuming=resuming,
    )


def _once(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what came once; of what came twice nobody can know which is meant."""
    given = list(items)
    count = Counter(name for name, _ in given)
    return {name: value for name, value in given if count[name] == 1}


def _cookies(header: str) -> Iterable[tuple[str, str]]:
    """Read a ``Cookie`` header (RFC 6265, section 4.2.1)."""
    for pair in header.split(";"):
        name, equals, value = pair.strip().partition("=")
        if equals and name:
            yield name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _bearer(authorization: str) -> str | None:
    """Return the token of an ``Authorization`` header. A header's bytes stand for themselves; a token's are UTF-8.

    What is no UTF-8 is no token; it is still text that can be looked at.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    return token.strip().encode("latin-1", "replace").decode(errors="replace")
