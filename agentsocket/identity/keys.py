"""The keys that signed tokens are verified by: one from a file, or a set (JWKS, RFC 7517) from an address."""

import asyncio
import base64
import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from agentsocket.addresses import is_loopback
from agentsocket.identity.authenticator import AuthenticationUnavailable
from agentsocket.identity.signed_tokens import VerificationKey

MIN_SECRET: Final = 32
"""Bytes of an HMAC key: a shorter one can be guessed from a single token (RFC 7518, section 3.2)."""

MIN_RSA: Final = 2048
"""Bits of an RSA key (RFC 7518, section 3.3)."""

KEPT: Final = 3600.0
"""Seconds that fetched keys are believed."""

PAUSE: Final = 30.0
"""Seconds between two fetches: a made-up key id must not become a request to the identity provider."""

MAX_DOCUMENT: Final = 1024 * 1024
"""Bytes of a key set."""

ASN1_SEQUENCE: Final = 0x30

PUBLISHED: Final = re.compile(rb"\A[\[{]|\A(?:ssh|ecdsa|sk)-|-- ?BEGIN | AAAA")
"""What a public key, or a set of them, looks like that is no PEM: JSON, or one of the forms of SSH."""

CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
HMAC_ALGORITHMS: Final = ("HS256", "HS384", "HS512")


class KeyFileError(ValueError):
    """A file holds no key that tokens can be verified by; the text says why."""


class OneKey:
    """The key of a file verifies every token, whatever key id that names."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            KeyFileError: if it holds no public key, certificate or secret that can be used.
            OSError: if it cannot be read.
        """
        self._key = read_key(path.read_bytes())

    def find(self, key_id: str | None) -> VerificationKey:  # noqa: ARG002  # there is one
        """Return the key."""
        return self._key


def read_key(data: bytes) -> VerificationKey:
    """Read a public key or certificate (PEM, DER), or a secret.

    Raises:
        KeyFileError: if it is none of them.
    """
    text = _text_of(data)
    if b"PRIVATE KEY-----" in text:
        raise KeyFileError("this is a private key; tokens are verified by the public one")
    if (key := _load(text)) is not None:
        return _public(key)
    # What everybody may know must not be taken for a secret: whoever knows it could sign.
    if PUBLISHED.search(text) or _is_asn1(text) or _is_asn1(_unwrapped(text)):
        raise KeyFileError("a public key is wanted as PEM; a set of keys is given by its address, --jwt-jwks-url")
    if len(text) < MIN_SECRET:
        raise KeyFileError(f"a secret has {MIN_SECRET} bytes at least; this one has {len(text)}")
    return VerificationKey(text, HMAC_ALGORITHMS)


def _text_of(data: bytes) -> bytes:
    """Return what stands in a file without what an editor has put around it; what is no text is left as it is."""
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"):
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding).removeprefix("\ufeff")
            if text.isascii() or encoding == "utf-8-sig":
                return text.encode().strip()
    return data


def _load(text: bytes) -> Any:
    """Return the public key in a file, None where it has the form of none. Other text may stand before a PEM block."""
    block = text[max(0, text.find(b"-----BEGIN")) :]
    try:
        if block.startswith(b"-----BEGIN CERTIFICATE"):
            return x509.load_pem_x509_certificate(block).public_key()
        if block.startswith(b"-----BEGIN"):
            return load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise KeyFileError("this PEM file holds no public key") from exc
    for data in (text, _unwrapped(text)):
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            return load_der_public_key(data)
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            return x509.load_der_x509_certificate(data).public_key()
    return None


def _unwrapped(text: bytes) -> bytes:
    """Return what a text is the Base64 of, as identity providers show a key; empty where it is none."""
    with contextlib.suppress(ValueError):
        return base64.b64decode(b"".join(text.strip(b"'\"").split()), b"-_" if b"-" in text or b"_" in text else None)
    return b""


def _is_asn1(data: bytes) -> bool:
    """Whether these bytes are one whole object of ASN.1, as keys and certificates of every kind are."""
    if len(data) < MIN_SECRET or data[0] != ASN1_SEQUENCE:
        return False
    more = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + more]) if more else data[1]
    return len(data) == 2 + more + length


def _public(key: Any) -> VerificationKey:
    match key:
        case rsa.RSAPublicKey() if key.key_size >= MIN_RSA:
            return VerificationKey(key, RSA_ALGORITHMS)
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return VerificationKey(key, (CURVES[key.curve.name],))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return VerificationKey(key, ("EdDSA",))
    raise KeyFileError(f"a public key is RSA of {MIN_RSA} bits at least, EC (P-256, P-384, P-521) or EdDSA")


class KeySet:
    """The keys that an identity provider publishes, fetched in a thread when they are first needed, and kept."""

    def __init__(self, url: str, timeout: float) -> None:
        """Fetch from this address, within so many seconds.

        Raises:
            ValueError: if keys from there could be anybody's: it is neither https nor on this machine.
        """
        parts = urlsplit(url)
        self._local = parts.hostname == "localhost" or is_loopback(parts.hostname or "")
        # The port is looked at as well: to name an impossible one raises ValueError.
        if (
            not parts.hostname
            or parts.port == 0
            or not (parts.scheme == "https" or (parts.scheme == "http" and self._local))
        ):
            raise ValueError("an address of keys begins with https:// (http:// only on this machine itself)")
        _ = parts.port  # an impossible one raises ValueError
        self._url, self._timeout = url, timeout
        self._keys: dict[str | None, VerificationKey] = {}
        self._fetched = self._tried = -float("inf")
        self._fetching: asyncio.Task[None] | None = None

    def find(self, key_id: str | None) -> VerificationKey | Awaitable[VerificationKey | None] | None:
        """Return the key of this id; a token without one gets the only key, where there is one only."""
        if time.monotonic() - self._fetched < KEPT and (key := self._look_up(key_id)) is not None:
            return key
        return self._fetch_and_find(key_id)

    def _look_up(self, key_id: str | None) -> VerificationKey | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _fetch_and_find(self, key_id: str | None) -> VerificationKey | None:
        if self._fetching is None:
            if time.monotonic() - self._tried < PAUSE:
                raise AuthenticationUnavailable("the token names a key that was not among the ones fetched just now")
            self._tried = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)
        return self._look_up(key_id)

    async def _fetch(self) -> None:
        thread = ThreadPoolExecutor(1, "keys")  # of its own: a fetch that was given up may still hold another one
        try:
            loop = asyncio.get_running_loop()
            document = await asyncio.wait_for(loop.run_in_executor(thread, self._download), self._timeout)
            self._keys = read_key_set(document)
            self._fetched = time.monotonic()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise AuthenticationUnavailable(f"the keys could not be fetched: {type(exc).__name__}: {exc}") from None
        finally:
            self._fetching = None
            thread.shutdown(wait=False)

    def _download(self) -> bytes:
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if self._local:
            handlers.append(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})  # noqa: S310  # https, or local
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=self._timeout) as response:
                document = self._read(response)
        except urllib.error.HTTPError as exc:
            exc.close()
            raise
        if len(document) > MAX_DOCUMENT:
            raise ValueError("the key set is too large")
        return document

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """Read to the end, or for as long as anybody waits: each piece has the whole time-out again."""
        document, ends = b"", time.monotonic() + self._timeout
        while len(document) <= MAX_DOCUMENT and time.monotonic() < ends and (piece := response.read1()):
            document += piece
        return document


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where the operator said, and from nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def read_key_set(document: bytes) -> dict[str | None, VerificationKey]:
    """Return the keys of a set by their ids; what cannot verify is left out, a secret too.

    Raises:
        ValueError: if it is no key set, or one without any such key.
    """
    try:
        found = json.loads(document)
    except RecursionError as exc:
        raise ValueError("this is no key set") from exc
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("this is no key set")  # noqa: TRY004  # nobody passed a wrong type
    keys: dict[str | None, VerificationKey] = {}
    for entry in entries:
        if isinstance(entry, dict) and (key := _entry(entry)) is not None:
            keys[entry.get("kid") if isinstance(entry.get("kid"), str) else None] = key
    if not keys:
        raise ValueError("there is no key in this set")
    return keys


def _entry(entry: Mapping[str, Any]) -> VerificationKey | None:
    if entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use", "sig") != "sig":
        return None
    try:
        key = _public(jwt.PyJWK(dict(entry)).key)
    except (jwt.PyJWTError, ValueError):
        return None
    algorithm = entry.get("alg")
    if algorithm is None:
        return key
    return key._replace(algorithms=(algorithm,)) if algorithm in key.algorithms else None
