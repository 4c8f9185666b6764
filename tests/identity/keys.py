"""Keys made here, tokens signed with them, and a server on loopback that publishes key sets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = b"a secret of thirty-two bytes, or so it is"
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "eddsa": "EdDSA", "hmac": "HS256"}


@cache
def private(kind: str, number: int = 0) -> Any:  # noqa: ARG001  # another number, another key
    """Return a key to sign with."""
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "eddsa":
            return ed25519.Ed25519PrivateKey.generate()
    return SECRET


def public(kind: str, number: int = 0) -> bytes:
    """Return what verifies, as it stands in a file."""
    key = private(kind, number)
    if isinstance(key, bytes):
        return key
    encoded: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def key_file(folder: Path, kind: str) -> Path:
    """Write a key file."""
    path = folder / f"{kind}.key"
    path.write_bytes(public(kind))
    return path


def claims(**changes: Any) -> dict[str, Any]:
    """Return what a right token says; None leaves a claim out."""
    right = {"sub": "ada", "name": "Ada", "aud": "agents", "iss": "https://idp.example", "exp": time.time() + 3600}
    return {name: value for name, value in (right | changes).items() if value is not None}


def token(kind: str = "rsa", number: int = 0, *, kid: str | None = None, **changes: Any) -> str:
    """Sign a token."""
    headers = {"kid": kid} if kid else {}
    return jwt.encode(claims(**changes), private(kind, number), ALGORITHMS[kind], headers)


def jwk(kind: str, number: int = 0, **more: str) -> dict[str, Any]:
    """Return a key as an entry of a key set."""
    key = private(kind, number)
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[kind])
    made: Any = algorithm.to_jwk(key if isinstance(key, bytes) else key.public_key())
    return {**(json.loads(made) if isinstance(made, str) else made), **more}


class KeyServer:
    """Publishes a key set over HTTP, and counts how often it was asked for."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.status = "200 OK"
        self.silent = False
        self.drips = False
        """Whether the set comes byte by byte, and never to its end."""
        self.hung_up = asyncio.Event()
        """Set when whoever got it so has given up."""
        self.asked = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        if self.silent:
            await reader.read()
        head = (
            f"HTTP/1.1 {self.status}\r\nContent-Length: {len(body)}\r\nLocation: {self.url}/x\r\nConnection: close\r\n"
        )
        if self.drips:
            await self._drip(writer, head)
        else:
            writer.write(head.encode() + b"\r\n" + body)
        writer.close()

    async def _drip(self, writer: asyncio.StreamWriter, head: str) -> None:
        writer.write(head.encode() + b"\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)  # the slow server itself: nothing is waited for
        self.hung_up.set()


@asynccontextmanager
async def key_server(*keys: dict[str, Any]) -> AsyncIterator[KeyServer]:
    """Run one."""
    published = KeyServer()
    published.keys = list(keys)
    server = await asyncio.start_server(published.answer, "127.0.0.1", 0)
    published.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    async with server:
        yield published
