"""Signed tokens: who is let in, and every forgery that is not."""

import asyncio
import base64
import hashlib
import hmac
import inspect
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from agentsocket.identity import keys as keys_room
from agentsocket.identity.authenticator import AuthenticationUnavailable, ExpiredLogin
from agentsocket.identity.keys import (
    HMAC_ALGORITHMS,
    RSA_ALGORITHMS,
    KeyFileError,
    KeySet,
    OneKey,
    read_key,
    read_key_set,
)
from agentsocket.identity.signed_tokens import MAX_TOKEN, Keys, SignedTokens
from agentsocket.identity.user import AuthError, LoginAttempt, User
from tests.identity.keys import SECRET, claims, jwk, key_file, key_server, private, public, token
from tests.support import PATIENCE

KINDS = ["rsa", "ec", "eddsa", "hmac"]


def verifier(keys: Keys) -> SignedTokens:
    return SignedTokens(keys, "agents", "https://idp.example")


async def admitted(verifier: SignedTokens, token: str | None) -> User:
    async with asyncio.timeout(PATIENCE):
        user = verifier.authenticate(LoginAttempt(token=token))
        return await user if inspect.isawaitable(user) else user


def encoded(part: Any) -> str:
    return (
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=").decode()
    )


def unsigned(**changes: Any) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims(**changes))}."


def signed_with_the_public_key(public_key: bytes) -> str:
    """Make the token that a careless verifier takes: HMAC with what everybody knows."""
    text = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims())}"
    return f"{text}.{encoded(hmac.digest(public_key, text.encode(), hashlib.sha256))}"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_right_token_says_who_is_there(tmp_path: Path, kind: str) -> None:
    ends = time.time() + 60
    user = await admitted(verifier(OneKey(key_file(tmp_path, kind))), token(kind, exp=ends, role="admin"))
    assert (user.id, user.name, user.claims["role"]) == ("ada", "Ada", "admin")
    assert user.expires_at == datetime.fromtimestamp(ends, UTC)


FORGERIES: dict[str, Callable[[], str | None]] = {
    "nothing": lambda: None,
    "an empty token": lambda: "",
    "no token": lambda: "let me in",
    "alg none": unsigned,
    "alg None": lambda: unsigned().replace(encoded({"alg": "none", "typ": "JWT"}), encoded({"alg": "None"})),
    "HMAC with the public key": lambda: signed_with_the_public_key(public("rsa")),
    "HMAC with the public key, stripped": lambda: signed_with_the_public_key(public("rsa").strip()),
    "somebody else's key": lambda: token("rsa", 1),
    "another kind of key": lambda: token("ec"),
    "another audience": lambda: token(aud="others"),
    "no audience": lambda: token(aud=None),
    "another issuer": lambda: token(iss="https://evil.example"),
    "no issuer": lambda: token(iss=None),
    "no exp": lambda: token(exp=None),
    "an exp that is text": lambda: token(exp="tomorrow"),
    "an exp beyond all calendars": lambda: token(exp=1e30),
    "an exp beyond all floats": lambda: token(exp=10**400),
    "an exp that is a number in quotes": lambda: token(exp="99999999999"),
    "nbf ahead": lambda: token(nbf=time.time() + 120),
    "iat ahead": lambda: token(iat=time.time() + 120),
    "no sub": lambda: token(sub=None),
    "an empty sub": lambda: token(sub=""),
    "a sub with half of a character": lambda: token(sub="ada\ud800"),
    "a sub of 129 characters": lambda: token(sub="a" * 129),
    "16 kB": lambda: token(padding="x" * 16 * 1024),
    "a head that is no JSON": lambda: f"{encoded(b'{')}.{encoded(claims())}.x",
    "a head of lists": lambda: f"{encoded(b'[' * 2000)}.{encoded(claims())}.x",
    "a head with lists in it": lambda: encoded(b'{"alg": "RS256", "x": ' + b"[" * 900 + b"]" * 900 + b"}") + ".x.x",
    "a head that is a number": lambda: f"{encoded(5)}.{encoded(claims())}.x",
    "a head that is no base64": lambda: f"\u20ac.{encoded(claims())}.x",
    "one part": lambda: encoded({"alg": "RS256", "typ": "JWT"}),
    "four parts": lambda: f"{token()}.x",
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "claims that were changed": lambda: ".".join(
        part if number != 1 else encoded(claims(sub="root")) for number, part in enumerate(token().split("."))
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_is_refused_with_one_sentence_for_all(tmp_path: Path, forgery: str) -> None:
    with pytest.raises(AuthError, match=r"^The token is not valid\.$"):
        await admitted(verifier(OneKey(key_file(tmp_path, "rsa"))), FORGERIES[forgery]())


async def test_a_sub_that_is_a_number_is_refused(tmp_path: Path) -> None:
    head = encoded({"alg": "HS256", "typ": "JWT"})
    text = f"{head}.{encoded(claims(sub=5))}"
    number = f"{text}.{encoded(hmac.digest(SECRET, text.encode(), hashlib.sha256))}"
    with pytest.raises(AuthError):
        await admitted(verifier(OneKey(key_file(tmp_path, "hmac"))), number)


async def test_a_token_that_expired_is_told_apart_and_clocks_may_differ_by_half_a_minute(tmp_path: Path) -> None:
    right = verifier(OneKey(key_file(tmp_path, "rsa")))
    with pytest.raises(ExpiredLogin, match="expired"):
        await admitted(right, token(exp=time.time() - 40))
    user = await admitted(right, token(exp=time.time() - 10))
    assert user.expires_at is not None
    assert timedelta(0) < user.expires_at - datetime.now(UTC) <= timedelta(seconds=20)
    await admitted(right, token(nbf=time.time() + 20))


async def test_an_audience_or_issuer_may_be_any(tmp_path: Path) -> None:
    anyone = SignedTokens(OneKey(key_file(tmp_path, "rsa")), None, None)
    assert (await admitted(anyone, token(aud=None, iss=None))).id == "ada"
    assert (await admitted(anyone, token(aud="others", iss="https://evil.example"))).id == "ada"


@pytest.mark.parametrize(
    "kid", ["../../../etc/passwd", "https://evil.example/keys", "file:///dev/zero", "\x00", "k" * 999]
)
async def test_a_key_id_is_looked_up_and_nothing_else(kid: str) -> None:
    async with key_server(jwk("rsa", kid="1")) as published:
        keys = verifier(KeySet(published.url, PATIENCE))
        with pytest.raises(AuthError):
            await admitted(keys, token(kid=kid))
        assert published.asked == 1


# ---- Keys ------------------------------------------------------------------------------------------------------------


def test_keys_that_would_not_hold_are_no_keys() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    odd = ec.generate_private_key(ec.SECP256K1()).public_key()
    secret_half = private("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    openssh = private("eddsa").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    told = {
        weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo): "2048 bits",
        odd.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo): "P-256",
        secret_half: "private key",
        openssh: "PEM",
        json.dumps({"keys": [jwk("rsa")]}).encode(): "--jwt-jwks-url",
        b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----": "holds no public key",
        b"too short": "32 bytes at least; this one has 9",
        b"": "this one has 0",
    }
    for data, why in told.items():
        with pytest.raises(KeyFileError, match=why):
            read_key(data)


def test_a_public_key_in_der_is_not_taken_for_a_secret() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(KeyFileError, match="2048 bits"):
        read_key(weak.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    der = private("rsa").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert set(read_key(der).algorithms) == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def certificate() -> x509.Certificate:
    name, key = x509.Name([]), private("rsa")
    made = x509.CertificateBuilder(name, name, key.public_key(), 1)
    made = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
    return made.sign(key, hashes.SHA256())


PEM = public("rsa")
DER = private("rsa").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SSH = private("eddsa").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
PUBLISHED = {
    "with a byte order mark": b"\xef\xbb\xbf" + PEM,
    "as UTF-16": PEM.decode().encode("utf-16"),
    "as UTF-16 without a mark": PEM.decode().encode("utf-16-le"),
    "with a comment": b"# of the login server\n" + PEM,
    "as openssl shows it": b"Bag Attributes\n    friendlyName: x\n" + certificate().public_bytes(Encoding.PEM),
    "a certificate in DER": certificate().public_bytes(Encoding.DER),
    "in Base64": base64.b64encode(DER),
    "in Base64 for URLs": base64.urlsafe_b64encode(DER),
    "in lines of Base64": base64.encodebytes(certificate().public_bytes(Encoding.DER)),
    "in quotes": b'"' + base64.b64encode(DER) + b'"',
    "with its line ends written out": b'"' + PEM.replace(b"\n", b"\\n") + b'"',
    "a list of JSON": json.dumps([jwk("rsa")]).encode(),
    "JSON with a byte order mark": b"\xef\xbb\xbf" + json.dumps(jwk("rsa")).encode(),
    "of SSH with a comment": b"# mine\n" + SSH,
    "of SSH in its older form": b"---- BEGIN SSH2 PUBLIC KEY ----\n" + SSH[12:] + b"\n---- END SSH2 PUBLIC KEY ----",
    "a private one in DER": private("rsa").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
}


@pytest.mark.parametrize("form", PUBLISHED)
def test_what_is_no_secret_is_never_taken_for_one_whatever_it_is_wrapped_in(form: str) -> None:
    try:
        key = read_key(PUBLISHED[form])
    except KeyFileError:
        return
    assert key.algorithms == RSA_ALGORITHMS


@pytest.mark.parametrize(
    "secret", [b"\xff" + bytes(range(30)) + b"\n", "ein Schlüssel, den niemand errät".encode(), b"0" * 64]
)
def test_a_secret_is_taken_as_it_is_but_for_the_end_of_its_line(secret: bytes) -> None:
    assert read_key(secret) == (secret, HMAC_ALGORITHMS)
    if secret[-1:] != b"\n":
        assert read_key(secret + b"\r\n").key == secret


def test_a_set_gives_out_no_secret_and_nothing_for_another_use() -> None:
    document = {
        "keys": [
            jwk("hmac", kid="secret"),
            jwk("rsa", kid="encrypts", use="enc"),
            jwk("rsa", kid="odd", alg="HS256"),
            {"kty": "RSA", "kid": "broken"},
            "no entry",
            jwk("ec", kid="right", alg="ES256", use="sig"),
        ]
    }
    keys = read_key_set(json.dumps(document).encode())
    assert {name: key.algorithms for name, key in keys.items()} == {"right": ("ES256",)}
    for nothing in (b"", b"[]", b"{}", b'{"keys": 5}', b'{"keys": []}', b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011  # json's own are of that class
            read_key_set(nothing)


@pytest.mark.parametrize(
    "url", ["http://idp.example/keys", "ftp://idp.example/keys", "file:///etc/passwd", "https://", "no"]
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        KeySet(url, 1)


async def test_many_logins_at_once_fetch_the_keys_once_and_a_new_key_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server(jwk("rsa", kid="1")) as published:
        keys = verifier(KeySet(published.url, PATIENCE))
        users = await asyncio.gather(*(admitted(keys, token(kid="1")) for _ in range(20)))
        assert {user.id for user in users} == {"ada"}
        assert published.asked == 1
        published.keys = [jwk("ec", kid="2")]
        with pytest.raises(AuthenticationUnavailable):  # it was asked just now
            await admitted(keys, token("ec", kid="2"))
        assert published.asked == 1
        monkeypatch.setattr(keys_room, "PAUSE", 0)
        assert (await admitted(keys, token("ec", kid="2"))).id == "ada"
        with pytest.raises(AuthError):  # it is gone
            await admitted(keys, token(kid="1"))


async def test_keys_are_believed_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server(jwk("rsa", kid="1")) as published:
        keys = verifier(KeySet(published.url, PATIENCE))
        await admitted(keys, token(kid="1"))
        monkeypatch.setattr(keys_room, "KEPT", 0)
        monkeypatch.setattr(keys_room, "PAUSE", 0)
        await admitted(keys, token(kid="1"))
        assert published.asked == 2
        published.status = "500 Internal Server Error"
        with pytest.raises(AuthenticationUnavailable):
            await admitted(keys, token(kid="1"))


async def test_a_fetch_that_comes_byte_by_byte_is_given_up_and_holds_up_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_room, "PAUSE", 0)
    async with key_server(jwk("rsa", kid="1")) as published:
        published.drips = True
        keys = verifier(KeySet(published.url, 0.2))
        with pytest.raises(AuthenticationUnavailable):
            await admitted(keys, token(kid="1"))
        published.drips = False
        assert (await admitted(keys, token(kid="1"))).id == "ada"
        async with asyncio.timeout(PATIENCE):
            await published.hung_up.wait()


async def test_a_token_without_a_key_id_gets_the_only_key() -> None:
    async with key_server(jwk("rsa", kid="1")) as published:
        assert (await admitted(verifier(KeySet(published.url, PATIENCE)), token())).id == "ada"
        published.keys.append(jwk("ec", kid="2"))
        with pytest.raises(AuthError):
            await admitted(verifier(KeySet(published.url, PATIENCE)), token())


async def test_what_comes_instead_of_keys_makes_a_login_unavailable() -> None:
    async with key_server() as published:
        for status, body in (
            ("302 Found", b""),
            ("404 Not Found", b""),
            ("200 OK", b"<html>"),
            ("200 OK", b" " * 2**21),
        ):
            published.status, published.body = status, body
            with pytest.raises(AuthenticationUnavailable):
                await admitted(verifier(KeySet(published.url, PATIENCE)), token(kid="1"))
        asked = published.asked
        published.silent = True
        with pytest.raises(AuthenticationUnavailable):
            await admitted(verifier(KeySet(published.url, 0.2)), token(kid="1"))
        assert published.asked == asked + 1
    with pytest.raises(AuthenticationUnavailable):  # nobody listens there any more
        await admitted(verifier(KeySet(published.url, PATIENCE)), token(kid="1"))


def test_the_longest_token_is_shorter_than_a_login() -> None:
    assert MAX_TOKEN < 16 * 1024
    assert len(jwt.encode(claims(), SECRET, "HS256")) < MAX_TOKEN
