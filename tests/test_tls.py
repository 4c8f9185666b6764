"""The server speaks TLS by itself."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

from agentsocket.server import AgentServer
from agentsocket.settings import Settings, SettingsError
from tests.support import PATIENCE, Peer, serving
from tests.wire import handshake

OPENSSL = shutil.which("openssl")


def make_certificate(folder: Path, kind: str = "rsa:2048") -> tuple[Path, Path]:
    if OPENSSL is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [OPENSSL, "req", "-x509", "-newkey", *kind.split(), "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return cert, key


async def test_a_client_that_trusts_the_certificate_talks_through_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    async with (
        serving(tls_cert=cert, tls_key=key, host="localhost") as server,
        connect(f"wss://localhost:{server.port}", ssl=trusting, compression=None) as socket,
    ):
        peer = Peer(socket)
        await peer.login()
        assert await peer.ask("say " + "x" * 100_000) == "say " + "x" * 100_000
        await server.shut_down()
        assert await peer.closed() == 1001


async def test_a_client_without_tls_gets_nowhere_and_leaves_no_traceback(
    certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificate
    async with serving(tls_cert=cert, tls_key=key, host="localhost") as server:
        with pytest.raises((InvalidMessage, OSError)):
            await connect(f"ws://localhost:{server.port}")
    assert not [record for record in caplog.records if record.exc_info]


def test_files_that_hold_no_certificate_are_told_before_the_start() -> None:
    here = Path(__file__)
    with pytest.raises(SettingsError, match="--tls-cert and --tls-key: "):
        AgentServer(Settings(tls_cert=here, tls_key=here), {})


async def shown(port: int) -> bytes:
    """Return the certificate that the server shows to a new connection."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anybody)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return found


@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:prime256v1"], ids=["same", "another kind"])
async def test_a_renewed_certificate_is_for_new_connections_and_open_ones_go_on(tmp_path: Path, kind: str) -> None:
    cert, key = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=cert)
    async with (
        serving(tls_cert=cert, tls_key=key, host="localhost") as server,
        connect(f"wss://localhost:{server.port}", ssl=trusting, compression=None) as socket,
    ):
        peer = Peer(socket)
        await peer.login()
        old = await shown(server.port)
        make_certificate(tmp_path, kind)
        server.reload_certificate()
        assert old != await shown(server.port) == ssl.PEM_cert_to_DER_cert(cert.read_text())
        assert await peer.ask("still there") == "still there"


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem"])
async def test_a_certificate_that_is_none_leaves_the_old_one(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = make_certificate(tmp_path)
    async with serving(tls_cert=cert, tls_key=key) as server:
        old = await shown(server.port)
        (tmp_path / broken).write_text("half of it")
        server.reload_certificate()
        assert await shown(server.port) == old
        (tmp_path / broken).unlink()
        server.reload_certificate()
        assert await shown(server.port) == old
    assert [message.partition(":")[0] for message in caplog.messages if "certificate" in message] == [
        "the certificate stays as it was"
    ] * 2


async def test_an_unencrypted_page_may_not_open_an_encrypted_connection(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=cert)
    async with serving(tls_cert=cert, tls_key=key, allowed_hosts=("agent.example.com",)) as server:
        for scheme, status in (("http", b"403"), ("https", b"101")):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=trusting, server_hostname="localhost"
            )
            writer.write(handshake(f"Origin: {scheme}://agent.example.com:8765", host="agent.example.com:8765"))
            async with asyncio.timeout(PATIENCE):
                assert (await reader.readline()).split()[1] == status
            writer.transport.abort()
