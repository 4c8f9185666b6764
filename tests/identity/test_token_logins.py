"""Signed tokens over the wire: every kind of key, every forgery, rotation, expiry and refresh."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsocket import AgentServer
from agentsocket.connection import expiry
from agentsocket.identity import keys as keys_room
from tests.identity.keys import SECRET, claims, jwk, key_file, key_server, token
from tests.identity.test_signed_tokens import FORGERIES, KINDS, encoded
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving

PROVIDER = {"jwt_audience": "agents", "jwt_issuer": "https://idp.example"}

INVALID, EXPIRED = "The token is not valid.", "The token has expired."


@contextlib.asynccontextmanager
async def verifying(folder: Path, kind: str = "rsa", **settings: Any) -> AsyncIterator[AgentServer]:
    async with serving(**{**PROVIDER, "jwt_key": key_file(folder, kind), **settings}) as server:
        yield server


@contextlib.asynccontextmanager
async def fetching(url: str, **settings: Any) -> AsyncIterator[AgentServer]:
    async with serving(**{**PROVIDER, "jwt_jwks_url": url, **settings}) as server:
        yield server


async def refused(peer: Peer, event: str = "login", **data: Any) -> dict[str, Any]:
    await peer.send(event, **data)
    return await peer.expect("error")


def told(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the log's lines; a traceback would be no line."""
    assert all(record.exc_info is None for record in log.records)
    return [record.getMessage() for record in log.records]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_of_each_kind_of_key_logs_in_resumes_and_refreshes(tmp_path: Path, kind: str) -> None:
    async with verifying(tmp_path, kind) as server:
        async with connected(server) as peer:
            opened = await peer.login(token=token(kind), resumable=True, features=[])
            assert opened["user"] == {"id": "ada", "name": "Ada"}
            assert 3590 < opened["expires_in"] <= 3600
            await peer.send("refresh", token=token(kind, exp=time.time() + 7200), request_id="fresh")
            answer = await peer.expect("refresh_response")
            assert answer["request_id"] == "fresh"
            assert 7190 < answer["expires_in"] <= 7200
        taken = {"session_id": opened["session_id"], "resume_token": opened["resume_token"]}
        async with connected(server) as peer:
            assert (await refused(peer, token=token(kind, sub="bob"), **taken))["code"] == "session_not_found"
            assert (await refused(peer, **taken))["message"] == INVALID
            assert (await peer.login(token=token(kind), **taken))["resumed"] is True
            assert await peer.ask("hello") == "hello"
    async with (
        verifying(tmp_path, kind) as server,
        connected(server, additional_headers={"Authorization": f"Bearer {token(kind)}"}) as peer,
    ):
        assert (await peer.login(features=[]))["user"]["id"] == "ada"


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_gets_one_answer_and_one_line_that_does_not_repeat_it(
    tmp_path: Path, forgery: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "agentsocket")
    made = FORGERIES[forgery]()
    login = {} if made is None else {"token": made}
    async with verifying(tmp_path, max_login_size=32 * 1024) as server, connected(server) as peer:
        caplog.clear()
        assert await refused(peer, **login) == {"message": INVALID, "code": "authentication_failed"}
        (line,) = [line for line in told(caplog) if "refused" in line]
        assert line == f"login from 127.0.0.1 refused: authentication_failed, {INVALID}"
        assert not made or made not in caplog.text
        assert (await peer.login(token=token()))["status"] == "success"


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_does_not_refresh_and_the_login_stays_as_it_was(tmp_path: Path, forgery: str) -> None:
    async with verifying(tmp_path) as server, logged_in(server, token=token()) as peer:
        error = await refused(peer, "refresh", token=FORGERIES[forgery]() or "", request_id="mine")
        assert error == {"message": INVALID, "code": "authentication_failed", "request_id": "mine"}
        assert await peer.ask("still there") == "still there"


async def test_a_sub_that_is_no_text_is_nobody(tmp_path: Path) -> None:
    async with verifying(tmp_path, "hmac", max_failed_logins=None) as server:
        for sub in (5, True, ["ada"], {"id": "ada"}, 1e400):
            text = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims(sub=sub))}"
            signed = f"{text}.{encoded(hmac.digest(SECRET, text.encode(), hashlib.sha256))}"
            async with connected(server) as peer:
                assert (await refused(peer, token=signed))["message"] == INVALID


async def test_forgeries_from_one_address_are_held_back_and_tokens_that_expired_are_not(tmp_path: Path) -> None:
    async with verifying(tmp_path, max_failed_logins=2) as server:
        for _ in range(4):
            async with connected(server) as peer:
                late = await refused(peer, token=token(exp=time.time() - 60))
                assert (late["code"], late["message"]) == ("authentication_failed", EXPIRED)
        async with connected(server) as peer:
            for _ in range(2):
                await refused(peer, token=token("rsa", 1))
            held = await refused(peer, token=token())
            assert held["code"] == "rate_limited"
            assert 0 < held["retry_after"] <= 60


async def test_a_token_that_expires_ends_the_login_and_a_fresh_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "LATER", 0.1)
    agent = Scripted()
    async with serving(lambda: agent, **PROVIDER, jwt_key=key_file(tmp_path, "ec")) as server:
        async with connected(server) as one, connected(server) as other:
            ends = time.time() + 1
            await other.login(token=token("ec", exp=ends), features=[])
            opened = await one.login(token=token("ec", exp=ends), resumable=True, features=[])
            assert 0 < opened["expires_in"] <= 1
            await one.request("park")
            await other.send("refresh", token=token("ec"))
            await other.expect("refresh_response")
            assert await one.closed() == 4401
            assert time.time() > ends
            assert await other.ask("still there") == "still there"
        taken = {"session_id": opened["session_id"], "resume_token": opened["resume_token"], "last_seq": 1}
        async with connected(server) as peer:
            assert (await refused(peer, token=token("ec", exp=time.time() - 60), **taken))["message"] == EXPIRED
            await peer.login(token=token("ec"), **taken)
            agent.gate.set()
            assert (await peer.until("agent_response"))[-1][1]["response"] == "released"


async def test_by_a_clock_that_is_behind_a_token_that_just_expired_is_good_for_half_a_minute(tmp_path: Path) -> None:
    async with verifying(tmp_path) as server, connected(server) as peer:
        opened = await peer.login(token=token(exp=time.time() - 10), features=[])
        assert 15 < opened["expires_in"] <= 20
        assert await peer.ask("hello") == "hello"


async def test_keys_that_change_are_found_and_the_old_ones_forgotten(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with key_server(jwk("rsa", kid="1")) as published, fetching(published.url) as server:
        async with logged_in(server, token=token("rsa", kid="1")) as first:
            published.keys = [jwk("eddsa", kid="2")]
            async with connected(server) as peer:
                early = await refused(peer, token=token("eddsa", kid="2"))
                assert early["code"] == "authentication_unavailable"
                assert early["retry_after"] > 0
                assert early["error_id"] in caplog.text
                monkeypatch.setattr(keys_room, "PAUSE", 0)
                assert (await peer.login(token=token("eddsa", kid="2")))["status"] == "success"
            async with connected(server) as peer:
                assert (await refused(peer, token=token("rsa", kid="1")))["message"] == INVALID
            assert (await refused(first, "refresh", token=token("rsa", kid="1")))["message"] == INVALID
            assert await first.ask("still there") == "still there"
        told(caplog)


async def test_made_up_key_ids_do_not_become_requests_to_the_identity_provider() -> None:
    async with key_server(jwk("ec", kid="1")) as published, fetching(published.url) as server:
        async with logged_in(server, token=token("ec", kid="1")):
            for number in range(5):
                async with connected(server) as peer:
                    error = await refused(peer, token=token("ec", 1, kid=f"made up {number}"))
                    assert error["code"] == "authentication_unavailable"
        assert published.asked == 1


async def test_an_identity_provider_that_is_down_is_no_wrong_token_and_holds_up_nobody_who_is_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_room, "KEPT", 0)
    monkeypatch.setattr(keys_room, "PAUSE", 0)
    async with key_server(jwk("ec", kid="1")) as published, fetching(published.url, auth_timeout=0.3) as server:
        async with logged_in(server, token=token("ec", kid="1")) as inside, connected(server) as peer:
            published.silent = True
            asked = published.asked
            login = asyncio.create_task(refused(peer, token=token("ec", kid="1")))
            await eventually(lambda: published.asked > asked)
            assert await inside.ask("still there") == "still there"
            assert (await login)["code"] == "authentication_unavailable"
            published.silent = False
            assert (await peer.login(token=token("ec", kid="1")))["status"] == "success"
        told(caplog)
