"""A real nginx and a real Caddy in front of a real server, with the configuration that the document gives."""

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from agentsocket.settings import load_settings
from tests.support import PATIENCE, Peer
from tests.wire import Wire

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "deployment.md").read_text()
NAME = "agent.example.com"
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""

CADDY = """\
{{
	admin off
	auto_https off
	storage file_system {folder}/storage
}}
{site}
"""


def blocks(language: str) -> list[str]:
    """Return the document's blocks in this language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def documented_settings() -> dict[str, Any]:
    """Return the settings that the document gives to a server behind a proxy; where it listens is the test's own."""
    block = blocks("sh")[0]
    environment = dict(line.split("=", 1) for line in block.splitlines())
    return load_settings([], environment).model_dump(exclude={"host", "port", "agent", "store"}, exclude_unset=True)


@dataclass(frozen=True)
class Kind:
    """One of the two proxies: how it is run, and how the document configures it."""

    name: str
    language: str
    arguments: tuple[str, ...]
    wrapper: str
    ready: bytes
    """What it logs once it listens."""

    @property
    def binary(self) -> str | None:
        """Where it is installed, if it is."""
        return shutil.which(self.name) or shutil.which(self.name, path=PATHS)

    def configuration(self, which: int, folder: Path, public: int, ports: list[int], changes: dict[str, str]) -> str:
        """Return the ``which``-th configuration of the document, with the ports and files of a test in it."""
        site = blocks(self.language)[which]
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        own = {f"127.0.0.1:{8765 + number}": f"127.0.0.1:{port}" for number, port in enumerate(ports)}
        if self.name == "nginx":
            own |= {"listen 443 ssl": f"listen 127.0.0.1:{public} ssl"}
            own |= {f"/etc/letsencrypt/live/{NAME}/fullchain.pem": f"{certificate}"}
            own |= {f"/etc/letsencrypt/live/{NAME}/privkey.pem": f"{key}"}
        else:
            own |= {f"{NAME} {{": f"https://{NAME}:{public} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}"}
        for old, new in (changes | own).items():
            assert old in site, old
            site = site.replace(old, new)
        return self.wrapper.format(folder=folder, site=site)


KINDS = {
    "nginx": Kind("nginx", "nginx", ("-e", "stderr", "-c"), NGINX, b"nginx/"),
    "caddy": Kind("caddy", "caddyfile", ("run", "--adapter", "caddyfile", "--config"), CADDY, b"serving initial"),
}


class Proxy:
    """A proxy that runs, seen from outside."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.host = f"{NAME}:{port}"
        self._port = port
        self._tls = ssl.create_default_context(cafile=certificate)

    @contextlib.asynccontextmanager
    async def connected(self, *, address: str = "127.0.0.1", **options: Any) -> AsyncIterator[Peer]:
        """Open a WebSocket connection through it, from an address of this machine."""
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self._port, "ssl": self._tls}
        async with connect(
            f"wss://{self.host}", **where, local_addr=(address, 0), max_size=None, ping_interval=None, **options
        ) as websocket:
            yield Peer(websocket)

    @contextlib.asynccontextmanager
    async def wired(self) -> AsyncIterator[Wire]:
        """Open a TLS connection to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, server_hostname=NAME)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def running(
    kind: Kind, folder: Path, *ports: int, which: int = 0, changes: dict[str, str] | None = None
) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the servers on these ports, with the document's configuration and what a test changes."""
    assert kind.binary is not None
    await _make_certificate(folder)
    public = _free_port()
    file = folder / "configuration"
    file.write_text(kind.configuration(which, folder, public, list(ports), changes or {}))
    environment = {"HOME": str(folder), "PATH": PATHS}
    process = await asyncio.create_subprocess_exec(
        kind.binary, *kind.arguments, str(file), cwd=folder, env=environment, stdout=DEVNULL, stderr=PIPE
    )
    try:
        await _ready(process, kind)
        yield Proxy(public, folder / "certificate.pem")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _ready(process: asyncio.subprocess.Process, kind: Kind) -> None:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(PATIENCE):
        while kind.ready not in (line := await process.stderr.readline()):
            assert line, f"{kind.name} did not start:\n{said.decode()}"
            said += line


async def _make_certificate(folder: Path) -> None:
    command = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    name = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    process = await asyncio.create_subprocess_exec("openssl", *command, *files, *name, stdout=PIPE, stderr=PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
