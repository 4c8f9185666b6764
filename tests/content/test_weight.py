"""A large file weighs nothing in memory, and is on its way beside everybody else."""

import asyncio
import base64
import time

import pytest
from websockets.asyncio.client import connect

from tests.content.uploading import CHUNK, upload
from tests.server_process import server_process
from tests.support import Peer

MIB = 1024 * 1024


async def test_a_large_upload_takes_hardly_any_memory() -> None:
    data = b"x" * (25 * MIB)
    async with (
        server_process() as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as socket,
    ):
        peer = Peer(socket)
        await peer.login()
        await upload(peer, b"x" * 4 * CHUNK, "first")  # what every upload needs is there by now
        before = server.memory
        await upload(peer, data, "large")
        assert server.memory - before < 5 * MIB


@pytest.mark.long
async def test_a_neighbour_does_not_notice_an_upload() -> None:
    piece = base64.b64encode(b"x" * CHUNK).decode()
    async with (
        server_process("--rate-limit", "10000", "--rate-burst", "10000") as server,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as one,
        connect(f"ws://127.0.0.1:{server.port}", compression=None) as two,
    ):
        uploader, neighbour = Peer(one), Peer(two)
        await uploader.login()
        await neighbour.login()
        times: list[float] = []

        async def talk() -> None:
            while True:
                started = time.perf_counter()
                assert await neighbour.ask("echo hello") == "hello"
                times.append(time.perf_counter() - started)

        talking = asyncio.create_task(talk())
        await uploader.send("upload_start", upload_id="u", name="a", media_type="a/b", size=25 * MIB)
        await uploader.receive()
        for at in range(0, 25 * MIB, CHUNK):
            await uploader.send("upload_chunk", upload_id="u", offset=at, data=piece)
            await uploader.receive()
        talking.cancel()
        assert len(times) > 10
        assert max(times) < 0.01
