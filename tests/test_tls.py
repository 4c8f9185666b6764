"""The server speaks TLS by itself."""

import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

from agentsocket.server import AgentServer
from agentsocket.settings import Settings, SettingsError
from tests.support import Peer, serving


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
