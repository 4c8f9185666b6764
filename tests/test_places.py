"""The places for sessions: no address takes all of them, and whoever only waits goes before whoever comes."""

import asyncio
import contextlib
from typing import Any

import pytest

from agentsocket.agent.contract import Agent
from agentsocket.server import AgentServer
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving

BEHIND: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",)}
HERE, THERE = "203.0.113.7", "203.0.113.8"


def come_from(server: AgentServer, address: str) -> contextlib.AbstractAsyncContextManager[Peer]:
    return connected(server, additional_headers={"X-Forwarded-For": address})


async def left_waiting(server: AgentServer, address: str = HERE, *, message: str = "") -> dict[str, Any]:
    """Open a session, start a task where there is a message, and lose the connection."""
    async with come_from(server, address) as peer:
        login = await peer.login(resumable=True)
        if message:
            await peer.request(message)
    session = server.manager.sessions[login["session_id"]]
    await eventually(lambda: session.client is None)
    return login


async def refused(peer: Peer) -> str:
    await peer.send("login")
    return str((await peer.expect("error"))["code"])


def resume(login: dict[str, Any]) -> dict[str, Any]:
    return {"session_id": login["session_id"], "resume_token": login["resume_token"]}


async def test_an_address_has_so_many_sessions_and_no_more_and_no_other_one_minds() -> None:
    async with (
        serving(max_sessions_per_address=2, **BEHIND) as server,
        come_from(server, HERE) as one,
        come_from(server, HERE) as two,
        come_from(server, HERE) as three,
        come_from(server, THERE) as other,
    ):
        await one.login()
        await two.login()
        assert await refused(three) == "too_many_sessions"
        await other.login()
        await one.send("logout")
        await one.expect("logout_response")
        await three.login()


@pytest.mark.parametrize("addresses", [("2001:db8::1", "2001:db8::ffff:2"), (HERE, f"::ffff:{HERE}")])
async def test_what_belongs_to_one_peer_counts_as_one_address(addresses: tuple[str, str]) -> None:
    async with (
        serving(max_sessions_per_address=1, **BEHIND) as server,
        come_from(server, addresses[0]) as one,
        come_from(server, addresses[1]) as two,
    ):
        await one.login()
        assert await refused(two) == "too_many_sessions"


async def test_loopback_has_no_share() -> None:
    async with serving(max_sessions_per_address=1) as server, logged_in(server), logged_in(server):
        assert len(server.manager.sessions) == 2


async def test_where_the_server_is_full_the_session_that_has_waited_longest_makes_room() -> None:
    agents: list[Scripted] = []

    def create() -> Scripted:
        agents.append(Scripted())
        return agents[-1]

    async with serving(create, max_sessions=3) as server:
        waiting = [await left_waiting(server) for _ in range(3)]
        async with logged_in(server), connected(server) as peer:
            await eventually(lambda: agents[0].closed == 1)
            await peer.send("login", **resume(waiting[0]))
            assert (await peer.expect("error"))["code"] == "session_not_found"
            assert (await peer.login(**resume(waiting[1])))["resumed"] is True
            assert [agent.closed for agent in agents[1:]] == [0, 0, 0]


async def test_a_session_that_works_or_has_a_client_is_not_ended_for_another() -> None:
    async with serving(max_sessions=3) as server:
        working = await left_waiting(server, message="park")
        async with logged_in(server, resumable=True), connected(server) as new, connected(server) as back:
            idle = await left_waiting(server)
            await new.login()
            assert idle["session_id"] not in server.manager.sessions
            await back.send("login", resumable=True)
            assert (await back.expect("error"))["code"] == "too_many_sessions"
            assert (await back.login(**resume(working)))["resumed"] is True


async def test_an_address_whose_share_is_used_up_pays_with_its_own_waiting_sessions() -> None:
    async with serving(max_sessions_per_address=2, **BEHIND) as server:
        others = await left_waiting(server, THERE)
        oldest = await left_waiting(server)
        newer = await left_waiting(server)
        async with come_from(server, HERE) as peer:
            await peer.login()
        assert oldest["session_id"] not in server.manager.sessions
        assert {others["session_id"], newer["session_id"]} <= set(server.manager.sessions)


async def test_an_agent_that_takes_its_time_has_a_place_already_and_gives_it_back_where_it_fails() -> None:
    gate, asked = asyncio.Event(), asyncio.Event()

    async def create() -> Agent:
        asked.set()
        await gate.wait()
        raise RuntimeError("no agent today")

    async with serving(create, max_sessions=1) as server, connected(server) as one, connected(server) as two:
        await one.send("login")
        await asked.wait()
        assert await refused(two) == "too_many_sessions"
        gate.set()
        assert (await one.expect("error"))["code"] == "agent_unavailable"
        assert await refused(two) == "agent_unavailable"


async def test_who_logs_in_thousands_of_times_keeps_nobody_out_and_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(max_sessions=50, max_sessions_per_address=20, **BEHIND) as server:
        for _ in range(60):
            await left_waiting(server)
        assert len(server.manager.sessions) == 20
        async with come_from(server, THERE) as peer:
            await peer.login()
            assert await peer.ask("hello") == "hello"
    assert len([record for record in caplog.records if record.name == "agentsocket.session"]) == 1
