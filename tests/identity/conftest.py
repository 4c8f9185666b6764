"""Signed tokens are tested where the extra [jwt] is installed."""

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("jwt") and find_spec("cryptography")
    else ["keys.py", "test_signed_tokens.py", "test_token_logins.py"]
)
