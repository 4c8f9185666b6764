"""Logins of the client: tokens that are asked for anew, what the session is to know, who is there, and waiting."""

import asyncio
import itertools
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentsocket import AgentServer, Context, LoginAttempt, Settings, Turn, User
from agentsocket.client import renewal
from agentsocket.client.client import WebSocketClient
from agentsocket.client.credentials import FEATURES, Token
from agentsocket.client.errors import ConnectionLost, NoToken, ServerError, explain
from agentsocket.client.renewal import pause
from agentsocket.connection import expiry
from tests.clients import spawn
from tests.scripted_server import Line, Wire, listening
from tests.support import PATIENCE, Scripted


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for no second between two attempts."""
    monkeypatch.setattr(renewal, "AT_LEAST", 0.05)


class Tokens:
    """Gives one token after the other; an exception in between is raised."""

    def __init__(self, *tokens: str | Exception) -> None:
        self.tokens, self.asked = list(tokens), 0

    def __call__(self) -> str:
        self.asked += 1
        token = self.tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return token


async def enter(line: Line, client: WebSocketClient, **data: Any) -> tuple[Wire, dict[str, Any]]:
    """Log a client in; return its connection, and what it logged in with."""
    await client.connect()
    login = spawn(client.login())
    wire = await line.wires.get()
    said = await wire.expect("login")
    await wire.send("login_response", session_id="s", status="success", **data)
    await login
    return wire, said


RESUMABLE: dict[str, Any] = {"resumable": True, "resume_token": "secret", "last_seq": 0}


# ---- Tokens ----------------------------------------------------------------------------------------------------------


async def later() -> str:
    await asyncio.sleep(0)
    return "t"


@pytest.mark.parametrize("token", ["t", lambda: "t", later, lambda: later()], ids=["text", "plain", "async", "both"])  # noqa: PLW0108  # the case itself
async def test_a_token_is_text_or_what_gives_it(token: Token) -> None:
    async with listening() as line:
        client = line.client(token=token)
        _, said = await enter(line, client)
        assert said["token"] == "t"
        await client.close()


async def test_a_function_may_have_no_token_to_give() -> None:
    async with listening() as line:
        client = line.client(token=lambda: None)
        _, said = await enter(line, client)
        assert "token" not in said
        await client.close()


async def test_the_token_is_asked_for_before_each_connection_and_for_each_further_login() -> None:
    async with listening() as line:
        tokens = Tokens("one", "two", "three")
        client = line.client(token=tokens)
        wire, said = await enter(line, client)
        assert (said["token"], tokens.asked) == ("one", 1)
        logout = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("logout_response", status="success")
        await logout
        again = spawn(client.login())
        assert (await wire.expect("login"))["token"] == "two"
        await wire.send("login_response", session_id="s", status="success")
        await again
        _, said = await enter(line, client)
        assert said["token"] == "three"
        await client.close()


async def test_what_the_function_raises_at_the_first_login_is_raised_and_no_connection_is_left() -> None:
    async with listening() as line:
        with pytest.raises(LookupError, match="no keys"):
            await line.client(token=Tokens(LookupError("no keys"))).__aenter__()
        assert line.wires.empty()


@pytest.mark.parametrize("token", [lambda: 5, lambda: b"t", iter(()).__next__, "\udcff"])
async def test_what_is_no_token_is_told_without_it(token: Any) -> None:
    async with listening() as line:
        with pytest.raises(NoToken):
            await line.client(token=token).connect()
        assert line.wires.empty()


async def test_each_resume_has_a_fresh_token_and_a_failure_to_get_one_is_an_attempt_that_failed() -> None:
    async with listening() as line:
        tokens = Tokens("one", ValueError("s3cret"), "two")
        client = line.client(token=tokens, resumable=True, params={"locale": "fr"})
        wire, _ = await enter(line, client, **RESUMABLE)
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        await wire.socket.close(4401)
        wire, said = await line.resumed(last_seq=1)
        assert (said["token"], said["params"], tokens.asked) == ("two", {"locale": "fr"}, 3)
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_session_without_any_token_to_come_back_with_is_lost_and_the_reason_has_no_secret() -> None:
    async with listening() as line:
        tokens = Tokens("one", *(ValueError("s3cret") for _ in range(20)))
        client = line.client(token=tokens, resumable=True)
        wire, _ = await enter(line, client, **RESUMABLE)
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        wire.drop()
        with pytest.raises(ConnectionLost, match="ValueError") as lost:
            await asked
        assert "s3cret" not in str(lost.value)
        await client.close()


# ---- Renewing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "waits"), [(3600, 3590), (15, 5), (10, 5), (5, 2.5), (0.1, 1), (-3, 1)])
def test_a_login_is_renewed_ten_seconds_before_its_end_or_halfway(
    left: float, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "AT_LEAST", 1.0)
    assert pause(left) == waits


async def test_a_login_that_ends_is_renewed_in_time_each_time() -> None:
    async with listening() as line:
        client = line.client(token=Tokens("one", "two", "three"))
        wire, _ = await enter(line, client, expires_in=0.2)
        assert 0 < (client.expires_in or 0) <= 0.2
        for token, expires_in in (("two", 0.2), ("three", 100)):
            refresh = await wire.expect("refresh")
            assert refresh["token"] == token
            await wire.send("refresh_response", request_id=refresh["request_id"], expires_in=expires_in)
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        assert 99 < (client.expires_in or 0) <= 100
        await wire.send("agent_response", task_id="t1", response="y")
        assert await asked == "y"
        await client.close()
        assert client.expires_in is None


async def test_a_refresh_that_fails_is_logged_without_secrets_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as line:
        client = line.client(token=Tokens("one", ValueError("s3cret"), "tw0", "thr33", "four"))
        wire, _ = await enter(line, client, expires_in=0.5)
        refresh = await wire.expect("refresh")
        assert refresh["token"] == "tw0"
        refusal = {"message": "No.", "code": "authentication_failed"}
        await wire.send("error", request_id=refresh["request_id"], **refusal)
        refresh = await wire.expect("refresh")
        assert refresh["token"] == "thr33"
        await wire.send("refresh_response", request_id=refresh["request_id"])
        await client.close()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.partition(": ")[2] for line in told] == [
        "There is no fresh token: ValueError.",
        "No. (authentication_failed)",
    ]


async def test_a_server_that_says_when_is_not_sent_a_token_before() -> None:
    async with listening() as line:
        client = line.client(token=lambda: "t")
        wire, _ = await enter(line, client, expires_in=0.1)
        refresh = await wire.expect("refresh")
        busy = {"message": "Not now.", "code": "authentication_unavailable", "retry_after": 0.4}
        since = asyncio.get_running_loop().time()
        await wire.send("error", request_id=refresh["request_id"], **busy)
        await wire.expect("refresh")
        assert asyncio.get_running_loop().time() - since >= 0.4
        await client.close()


async def test_wrong_tokens_are_not_sent_until_the_server_hangs_up_for_good() -> None:
    async with listening() as line:
        tokens = itertools.count()
        client = line.client(token=lambda: f"t{next(tokens)}", resumable=True)
        wire, _ = await enter(line, client, expires_in=0.1, **RESUMABLE)
        for _ in range(2):
            refresh = await wire.expect("refresh")
            refusal = {"message": "No.", "code": "authentication_failed"}
            await wire.send("error", request_id=refresh["request_id"], **refusal)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.expect("refresh"), 0.3)
        await wire.socket.close(4401)
        _, said = await line.resumed()
        assert said["token"] == "t3"
        await client.close()


async def test_a_refresh_is_not_sent_again_after_a_break_and_the_renewal_starts_anew() -> None:
    async with listening() as line:
        client = line.client(token=Tokens("one", "two", "three"), resumable=True)
        wire, _ = await enter(line, client, expires_in=0.1, **RESUMABLE)
        await wire.expect("refresh")
        wire.drop()
        wire, said = await line.resumed()
        assert said["token"] == "three"
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)  # the first frame after the login
        assert client.expires_in is None
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


@pytest.mark.parametrize("token", ["t", None])
async def test_a_token_that_is_text_is_not_sent_again(token: str | None) -> None:
    async with listening() as line:
        client = line.client(token=token)
        wire, _ = await enter(line, client, expires_in=0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.expect("refresh"), 0.3)
        assert client.expires_in == 0
        await client.close()


async def test_after_a_logout_nothing_is_renewed() -> None:
    async with listening() as line:
        tokens = Tokens("one")
        client = line.client(token=tokens)
        wire, _ = await enter(line, client, expires_in=0.2, user={"id": "ada"})
        logout = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("logout_response", status="success")
        await logout
        assert (client.user, client.expires_in) == (None, None)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.expect("refresh"), 0.3)
        await client.close()


class Gate:
    """A hook that lets "ada" in for a short time, and notes what it was asked."""

    def __init__(self, lasting: float) -> None:
        self.attempts: list[LoginAttempt] = []
        self.renewed = asyncio.Event()
        self.lasting = timedelta(seconds=lasting)

    async def authenticate(self, login: LoginAttempt) -> User:
        self.attempts.append(login)
        if len(self.attempts) == 3:
            self.renewed.set()
        return User("ada", "Ada", expires_at=datetime.now(UTC) + self.lasting)


async def known(_: str, turn: Turn) -> str:
    user = turn.context.user
    return f"{user.id if user else None} {dict(turn.context.params)} {dict(turn.params)}"


def knowing(_: Context) -> Scripted:
    return Scripted(known=known)


async def test_a_real_login_is_renewed_past_its_end_and_the_agent_knows_what_the_client_said() -> None:
    gate, tokens = Gate(lasting=0.4), itertools.count()
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with (
        asyncio.timeout(PATIENCE),
        AgentServer(settings, {"agent": knowing}, authenticate=gate.authenticate) as server,
        WebSocketClient(
            f"ws://127.0.0.1:{server.port}", token=lambda: f"t{next(tokens)}", params={"locale": "fr"}
        ) as client,
    ):
        assert client.user is not None
        assert (client.user.id, client.user.name) == ("ada", "Ada")
        await gate.renewed.wait()
        assert await client.ask("known", params={"model": "small"}) == "ada {'locale': 'fr'} {'model': 'small'}"
    assert [attempt.token for attempt in gate.attempts][:3] == ["t0", "t1", "t2"]
    assert all(attempt.params == {"locale": "fr"} for attempt in gate.attempts)


async def test_a_real_login_that_has_ended_is_followed_by_another_and_the_task_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "LATER", 0.1)
    gate, agent = Gate(lasting=0.3), Scripted()
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with (
        asyncio.timeout(PATIENCE),
        AgentServer(settings, {"agent": lambda: agent}, authenticate=gate.authenticate) as server,
        WebSocketClient(
            f"ws://127.0.0.1:{server.port}", token="t", resumable=True, backoff=lambda: itertools.repeat(0.0, 20)
        ) as client,
    ):
        asked = spawn(client.ask("park"))
        await gate.renewed.wait()
        agent.gate.set()
        assert await asked == "released"
    assert [attempt.resuming for attempt in gate.attempts][:3] == [False, True, True]


# ---- What the agent is to know ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["stream", "ask", "send_agent_request"])
async def test_a_request_has_parameters_of_its_own(call: str) -> None:
    async def ask(client: WebSocketClient) -> None:
        if call == "stream":
            assert [event async for event in client.stream("x", params={"a": [1]})]
        else:
            await getattr(client, call)("x", params={"a": [1]})

    async with listening() as line:
        client = line.client(params={"b": None})
        wire, said = await enter(line, client)
        assert said["params"] == {"b": None}
        asked = spawn(ask(client))
        assert (await wire.accept("t1"))["params"] == {"a": [1]}
        await wire.send("agent_response", task_id="t1", response="y")
        await asked
        await client.close()


def test_parameters_that_are_no_json_are_refused_where_they_come_from() -> None:
    with pytest.raises(ValueError, match="params"):
        WebSocketClient(params={"a": object()})  # type: ignore[dict-item]  # the mistake itself


async def test_without_a_user_or_an_end_there_is_none() -> None:
    async with listening() as line:
        client = line.client()
        assert (client.user, client.expires_in) == (None, None)
        _, said = await enter(line, client)
        assert (client.user, client.expires_in) == (None, None)
        assert said == {"features": list(FEATURES)}
        await client.close()


async def test_a_resume_brings_what_is_known_of_the_user_now() -> None:
    async with listening() as line:
        client = line.client(resumable=True)
        wire, _ = await enter(line, client, user={"id": "ada"}, **RESUMABLE)
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        ada = {"id": "ada", "name": "Ada"}
        await wire.send("login_response", session_id="s", status="success", resumed=True, user=ada, expires_in=60)
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        assert client.user is not None
        assert client.user.name == "Ada"
        assert (client.expires_in or 0) > 59
        wire.drop()  # and the session can still be taken up
        wire, said = await line.resumed(last_seq=1)
        assert said["resume_token"] == "secret"
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


# ---- Waiting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["authentication_unavailable", "rate_limited", "a_code_of_later"])
async def test_a_refusal_tells_when_to_try_again_and_whose_limit_it_was(code: str) -> None:
    async with listening() as line:
        client = line.client()
        await client.connect()
        login = spawn(client.login())
        wire = await line.wires.get()
        await wire.expect("login")
        await wire.send("error", message="Not now.", code=code, retry_after=42, scope="user", error_id="e1")
        with pytest.raises(ServerError) as refused:
            await login
        assert (refused.value.retry_after, refused.value.scope) == (42, "user")
        assert explain(refused.value) == f"Not now. ({code}), error id e1, to be tried again in 42 s"
        await client.close()


@pytest.mark.parametrize("code", ["authentication_unavailable", "rate_limited"])
async def test_a_resume_is_not_tried_again_before_the_server_says(code: str) -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        wire.drop()
        wire = await line.wires.get()
        await wire.expect("login")
        since = asyncio.get_running_loop().time()
        await wire.send("error", code=code, message="Not now.", retry_after=0.3)
        wire, _ = await line.resumed(last_seq=1)
        assert asyncio.get_running_loop().time() - since >= 0.3
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_token_that_does_not_come_holds_up_a_resume_no_longer_than_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentsocket.client.credentials.TOKEN_WITHIN", 0.1)
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            await asyncio.Event().wait()
        return f"t{asked}"

    async with listening() as line:
        client = line.client(token=token, resumable=True)
        wire, _ = await enter(line, client, **RESUMABLE)
        wire.drop()
        _, said = await line.resumed()
        assert said["token"] == "t3"
        await client.close()
