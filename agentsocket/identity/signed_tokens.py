"""Signed tokens (JWT, RFC 7519): the signature says who is there. Needs PyJWT, the extra [jwt]."""

import base64
import json
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import jwt

from agentsocket.identity.authenticator import ExpiredLogin
from agentsocket.identity.user import MAX_USER_ID, AuthError, LoginAttempt, User, is_text

LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of whoever signs and of this server may be apart."""

MAX_TOKEN: Final = 8 * 1024
"""Characters of a token; none that is honest has so many."""

REFUSED: Final = "The token is not valid."
EXPIRED: Final = "The token has expired."


class VerificationKey(NamedTuple):
    """A key, and the algorithms that go with its kind: a token never chooses among others."""

    key: Any
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where keys come from."""

    def find(self, key_id: str | None) -> VerificationKey | Awaitable[VerificationKey | None] | None:
        """Return the key of this id, None where there is none; to be awaited where it has to be fetched.

        Raises:
            AuthenticationUnavailable: if that cannot be known now.
        """


class SignedTokens:
    """Lets in who has a token that one of the keys has signed, for this audience, by this issuer."""

    ambient: tuple[str, ...] = ()

    def __init__(self, keys: Keys, audience: str | None, issuer: str | None) -> None:
        """Verify by these keys; None for an audience or an issuer takes any."""
        self._keys, self._audience, self._issuer = keys, audience, issuer
        required = ["exp", "sub"] + (["aud"] if audience else []) + (["iss"] if issuer else [])
        self._options: Any = {"require": required, "verify_aud": bool(audience), "verify_iss": bool(issuer)}

    def authenticate(self, attempt: LoginAttempt) -> User | Awaitable[User]:
        """Return the user that the token names as ``sub``.

        Raises:
            AuthError: if the token is missing, forged, for somebody else or not valid yet.
            ExpiredLogin: if it was right and has expired.
            AuthenticationUnavailable: if the keys cannot be fetched.
        """
        token = attempt.token or ""
        key = self._keys.find(_key_id(token))
        if isinstance(key, Awaitable):
            return self._verify_with(key, token)
        return self._verify(key, token)

    async def _verify_with(self, key: Awaitable[VerificationKey | None], token: str) -> User:
        return self._verify(await key, token)

    def _verify(self, key: VerificationKey | None, token: str) -> User:
        if key is None:
            raise AuthError(REFUSED)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options=self._options,
            )
        except jwt.ExpiredSignatureError as exc:
            raise ExpiredLogin(EXPIRED) from exc
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as exc:
            raise AuthError(REFUSED) from exc
        return _user(claims)


def _key_id(token: str) -> str | None:
    """Return the key id that the token's head names; it is looked up and nothing else: no path, no address.

    The library would take the whole token apart for it, and once more to verify it.
    """
    if not 0 < len(token) <= MAX_TOKEN:
        raise AuthError(REFUSED)
    head = token.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError) as exc:
        raise AuthError(REFUSED) from exc
    if not isinstance(found, dict):
        raise AuthError(REFUSED)
    key_id = found.get("kid")
    return key_id if isinstance(key_id, str) else None


def _user(claims: Mapping[str, Any]) -> User:
    subject, name, ends = claims["sub"], claims.get("name"), claims["exp"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_USER_ID or not is_text(subject):
        raise AuthError(REFUSED)
    if not isinstance(ends, int | float):  # the library takes text for a number
        raise AuthError(REFUSED)
    try:
        expires_at = datetime.fromtimestamp(float(ends), UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise AuthError(REFUSED) from exc
    if expires_at <= datetime.now(UTC):
        expires_at += LEEWAY  # by another clock it has not
    return User(subject, name if isinstance(name, str) and name else None, claims, expires_at=expires_at)
