"""From the settings to the one method by which logins are proved."""

import re
from typing import Final

from agentsocket.identity.authenticator import Anybody, Authenticator, SharedToken
from agentsocket.identity.hook import Hook, HookAuthenticator
from agentsocket.identity.proxy_header import ProxyHeader
from agentsocket.settings import Settings, SettingsError

HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


def authenticator_for(settings: Settings, hook: Hook | None) -> Authenticator:
    """Return the method that is set; ``hook`` is the function that ``auth`` names, or an embedding program's own.

    Raises:
        SettingsError: if there are two, or what one of them needs is missing.
    """
    given = {
        "--auth-token": settings.auth_token,
        "--auth": hook if hook is not None else settings.auth,
        "--jwt-key": settings.jwt_key,
        "--jwt-jwks-url": settings.jwt_jwks_url,
        "--auth-header": settings.auth_header,
    }
    methods = [flag for flag, value in given.items() if value is not None]
    if len(methods) > 1:
        raise SettingsError(f"{' and '.join(methods)}: logins are proved by one method, not by two")
    if settings.auth is not None and hook is None:
        raise SettingsError("--auth: the function that it names has to be handed over as authenticate")
    if settings.auth_token is not None:
        return SharedToken(settings.auth_token)
    if hook is not None:
        return HookAuthenticator(hook, settings.auth_timeout)
    if settings.auth_header is not None:
        if not settings.trusted_proxies:
            raise SettingsError("--auth-header: say with --trusted-proxies whose header is believed")
        if HEADER_NAME.fullmatch(settings.auth_header) is None:
            raise SettingsError("--auth-header: no header can have this name")
        return ProxyHeader(settings.auth_header)
    if methods:
        return _signed_tokens(settings, methods[0])
    if settings.jwt_audience is not None or settings.jwt_issuer is not None:
        raise SettingsError("--jwt-audience and --jwt-issuer: set --jwt-key or --jwt-jwks-url too")
    return Anybody()


def _signed_tokens(settings: Settings, flag: str) -> Authenticator:
    if settings.jwt_audience is None or settings.jwt_issuer is None:
        raise SettingsError(f"{flag}: set --jwt-audience and --jwt-issuer too, or give them the word any")
    try:
        from agentsocket.identity.keys import KeySet, OneKey  # noqa: PLC0415  # they need the extra
        from agentsocket.identity.signed_tokens import SignedTokens  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(f'{flag}: it needs the extra [jwt], pip install ".[jwt]"') from exc
    try:
        if settings.jwt_key is not None:
            return SignedTokens(OneKey(settings.jwt_key), _named(settings.jwt_audience), _named(settings.jwt_issuer))
        keys = KeySet(settings.jwt_jwks_url or "", settings.auth_timeout)
    except (ValueError, OSError) as exc:
        raise SettingsError(f"{flag}: {exc}") from exc
    return SignedTokens(keys, _named(settings.jwt_audience), _named(settings.jwt_issuer))


def _named(wanted: str) -> str | None:
    return None if wanted.lower() == "any" else wanted
