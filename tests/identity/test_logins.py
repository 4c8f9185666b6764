"""Logins, resumes, refreshes and limits of users, over the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from agentsocket import AgentServer, AuthError, Context, LoginAttempt, Settings, Turn, User
from agentsocket.connection import expiry
from agentsocket.protocol.frames import Login
from tests.support import Peer, Scripted, connected, eventually, logged_in
from tests.test_process import ended, started, talking

LONG = timedelta(hours=1)


class Users:
    """A hook: a token is a user's id, and what is known of users may change."""

    def __init__(self, **users: User) -> None:
        self.users = {"ada": User("ada", "Ada"), "bob": User("bob")} | users
        self.attempts: list[LoginAttempt] = []

    async def authenticate(self, login: LoginAttempt) -> User | None:
        self.attempts.append(login)
        if login.token == "closed":
            raise AuthError("We open at nine.")
        if login.token == "sick":
            raise ConnectionError("the database is gone")
        return self.users.get(login.token or "")


class Knowing(Scripted):
    """An agent that tells what it knows of whoever asks."""

    def __init__(self, context: Context) -> None:
        super().__init__(who=self.who, params=self.params)
        self.context = context

    async def who(self, _: str, turn: Turn) -> str:
        user = turn.context.user
        return user.id if user else "nobody"

    async def params(self, _: str, turn: Turn) -> str:
        return f"{dict(turn.context.params)} {dict(turn.params)}"


@contextlib.asynccontextmanager
async def identified(users: Users, agents: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[AgentServer]:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "shutdown_grace": 0, "cancel_timeout": 5}
    async with AgentServer(
        Settings(**defaults | settings), agents or {"agent": Knowing}, authenticate=users.authenticate
    ) as server:
        yield server


async def refused(peer: Peer, event: str = "login", **data: Any) -> dict[str, Any]:
    await peer.send(event, **data)
    return await peer.expect("error")


# ---- Who is there ----------------------------------------------------------------------------------------------------


async def test_a_user_is_told_who_they_are_and_the_agent_is_told_too() -> None:
    async with identified(Users()) as server, logged_in(server, token="ada") as peer:
        assert await peer.ask("who") == "ada"
    async with identified(Users()) as server, connected(server) as peer:
        opened = await peer.login(token="ada", params={"locale": "fr"}, features=[])
        assert opened["user"] == {"id": "ada", "name": "Ada"}
        assert "expires_in" not in opened
        await peer.send("agent_request", message="params", params={"temperature": 0.2})
        answer = (await peer.until("agent_response"))[-1][1]["response"]
        assert answer == "{'locale': 'fr'} {'temperature': 0.2}"
    async with identified(Users()) as server, connected(server) as peer:
        assert (await peer.login(token="bob", features=[]))["user"] == {"id": "bob"}


async def test_a_hook_is_told_all_that_a_login_came_with() -> None:
    users = Users()
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("X-Once", "once"), ("Authorization", "Bearer ada")]
    async with identified(users) as server, connected(server, additional_headers=headers) as peer:
        await peer.login(params={"a": 1}, agent="agent")
        (attempt,) = users.attempts
    assert (attempt.token, attempt.params, attempt.agent, attempt.resuming) == ("ada", {"a": 1}, "agent", False)
    assert (attempt.address, attempt.peer_trusted) == ("127.0.0.1", False)
    assert attempt.headers["x-once"] == "once"
    assert "x-twice" not in attempt.headers


async def test_a_hook_is_told_the_agent_that_the_login_will_have_also_where_it_names_none_or_another() -> None:
    users = Users()
    async with identified(users, {"first": Knowing, "second": Knowing}) as server:
        async with connected(server) as peer:
            await peer.login(token="ada")
            assert users.attempts[-1].agent == "first"
        async with connected(server) as peer:
            opened = await peer.login(token="ada", agent="second", resumable=True)
        async with connected(server) as peer:
            known = {"session_id": opened["session_id"], "resume_token": opened["resume_token"]}
            await peer.login(token="ada", agent="first", **known)
            assert users.attempts[-1].agent == "second"
            assert (await refused(peer, "refresh", token="eve"))["code"] == "authentication_failed"
            assert users.attempts[-1].agent == "second"


async def test_a_cookie_reaches_the_hook_from_the_servers_own_pages_and_from_no_other() -> None:
    users = Users()
    async with identified(users, allowed_origins=("https://app.example",)) as server:
        own = f"http://127.0.0.1:{server.port}"
        cookie = ("Cookie", "session=s3cret; theme=dark; twice=1; twice=2")
        for origin in (own, "https://app.example"):
            async with connected(server, additional_headers=[cookie], origin=origin) as peer:
                await peer.login(token="ada")
                assert users.attempts[-1].cookies == {"session": "s3cret", "theme": "dark"}
        for foreign in ("http://localhost:1", "http://127.0.0.1:1", "https://evil.example", None):
            with pytest.raises(InvalidStatus, match="403"):
                async with connected(server, additional_headers=[cookie], origin=foreign):
                    pass
        async with connected(server, origin="http://localhost:1") as peer:  # without a cookie, as ever
            await peer.login(token="ada")


async def test_a_login_that_is_refused_says_so_and_the_third_closes_the_connection() -> None:
    async with identified(Users()) as server, connected(server) as peer:
        assert (await refused(peer, token="eve"))["code"] == "authentication_failed"
        assert (await refused(peer, token="closed"))["message"] == "We open at nine."
        await refused(peer)
        assert await peer.closed() == 4500


async def test_a_sick_hook_is_no_wrong_password_and_may_be_tried_again() -> None:
    async with identified(Users(), max_failed_logins=1) as server, connected(server) as peer:
        for _ in range(5):
            error = await refused(peer, token="sick")
            assert error["code"] == "authentication_unavailable"
            assert error["error_id"]
        assert (await peer.login(token="ada"))["status"] == "success"


async def test_too_many_failed_logins_from_one_address_are_held_back_before_the_hook_is_asked() -> None:
    users = Users()
    async with identified(users, max_failed_logins=2) as server:
        async with connected(server) as peer:
            for _ in range(2):
                await refused(peer, token="eve")
        async with connected(server) as peer:
            error = await refused(peer, token="ada")
            assert (error["code"], len(users.attempts)) == ("rate_limited", 2)
            assert 0 < error["retry_after"] <= 60


async def test_a_session_belongs_to_its_user() -> None:
    async with identified(Users()) as server:
        async with logged_in(server, token="ada", resumable=True) as peer:
            pass
        async with connected(server) as first:
            opened = await first.login(token="ada", resumable=True)
            resume = {"session_id": opened["session_id"], "resume_token": opened["resume_token"]}
            async with connected(server) as thief:
                stolen = await refused(thief, token="bob", **resume)
                wrong = await refused(thief, token="ada", session_id=opened["session_id"], resume_token="wrong")
                assert stolen == wrong
                assert stolen["code"] == "session_not_found"
            assert await first.ask("who") == "ada"
            async with connected(server) as second:
                assert (await second.login(token="ada", **resume))["resumed"] is True
                assert await first.closed() == 4501
                assert await second.ask("who") == "ada"
        assert peer.socket.close_code == 1000


async def test_a_resume_asks_the_hook_again_and_brings_what_is_known_now() -> None:
    users = Users()
    async with identified(users, {"one": Knowing, "two": Knowing}) as server:
        async with connected(server) as peer:
            opened = await peer.login(token="ada", resumable=True, params={"a": 1})
            resume = {"session_id": opened["session_id"], "resume_token": opened["resume_token"], "token": "ada"}
        users.users["ada"] = User("ada", "Countess", agents=["one"])
        async with connected(server) as peer:
            resumed = await peer.login(**resume, features=[])
            assert resumed["user"]["name"] == "Countess"
            assert users.attempts[-1].resuming
            assert await peer.ask("params") == "{'a': 1} {}"
        async with connected(server) as peer:
            await peer.login(**resume, last_seq=2, params={"b": 2})
            assert await peer.ask("params") == "{'b': 2} {}"
        users.users["ada"] = User("ada", agents=["two"])
        async with connected(server) as peer:
            assert (await refused(peer, **resume))["code"] == "agent_unavailable"
        del users.users["ada"]
        async with connected(server) as peer:
            assert (await refused(peer, **resume))["code"] == "authentication_failed"


async def test_a_user_may_have_their_agents_and_no_others() -> None:
    users = Users(ada=User("ada", agents=["two"]), nobody=User("nobody", agents=[]))
    async with identified(users, {"one": Knowing, "two": Knowing}) as server, connected(server) as peer:
        assert (await refused(peer, token="ada", agent="one"))["code"] == "agent_unavailable"
        assert (await refused(peer, token="nobody"))["code"] == "agent_unavailable"
        opened = await peer.login(token="ada", features=[])
        assert opened["agent"]["name"] == "two"
        assert [agent["name"] for agent in opened["agents"]] == ["two"]


@pytest.mark.parametrize("log_users", [True, False])
async def test_who_a_user_is_stands_in_the_log_only_where_that_is_wanted(tmp_path: Path, *, log_users: bool) -> None:
    (tmp_path / "known.py").write_text(
        "from agentsocket import User\n"
        "async def authenticate(login):\n    return User('ada\\n2026-01-01 forged')\n"
        "async def agent(message):\n    raise ValueError\n"
    )
    flags = ["--log-users"] if log_users else []
    arguments = (
        "--port",
        "0",
        "--agent",
        "known:agent",
        "--auth",
        "known:authenticate",
        "--log-level",
        "debug",
        *flags,
    )
    async with started(tmp_path, *arguments) as process:
        async with talking(process) as peer:
            await peer.request("fail")
            await peer.expect("error")
        process.terminate()
        _, _, log = await ended(process)
    lines = [line for line in log.splitlines() if "task=" in line]
    assert lines
    assert all(("user='ada" in line) == log_users for line in lines)
    assert "\n2026-01-01 forged" not in log


async def test_after_a_logout_the_log_lays_nothing_at_the_door_of_who_has_left() -> None:
    async with identified(Users(), log_users=True) as server, logged_in(server, token="ada") as peer:
        (connection,) = server.connections
        assert "user='ada'" in connection.log_ids
        await peer.send("logout")
        await peer.expect("logout_response")
        assert connection.log_ids == " connection=1"


# ---- Refresh and expiry ----------------------------------------------------------------------------------------------


async def test_a_fresh_token_lets_the_login_go_on_and_is_answered_to_the_connection_that_asked() -> None:
    users = Users(ada=User("ada", expires_at=datetime.now(UTC) + LONG))
    async with identified(users) as server, connected(server) as peer:
        opened = await peer.login(token="ada", resumable=True, features=[])
        assert 3590 < opened["expires_in"] <= 3600
        users.users["ada"] = User("ada", "Countess", expires_at=datetime.now(UTC) + 2 * LONG)
        await peer.send("refresh", token="ada", request_id="mine")
        answer = await peer.expect("refresh_response")
        assert answer.pop("request_id") == "mine"
        assert 7190 < answer.pop("expires_in") <= 7200
        assert not answer  # no seq: it is not numbered
        assert users.attempts[-1].resuming


@pytest.mark.parametrize("token", ["bob", "eve", ""])
async def test_a_refresh_by_somebody_else_changes_nothing(token: str) -> None:
    users = Users(ada=User("ada", expires_at=datetime.now(UTC) + LONG))
    async with identified(users) as server, logged_in(server, token="ada") as peer:
        error = await refused(peer, "refresh", token=token, request_id="mine")
        assert (error["code"], error["request_id"]) == ("authentication_failed", "mine")
        assert await peer.ask("who") == "ada"


@pytest.mark.parametrize("token", ["bob", "eve", "confined"])
async def test_a_refresh_that_is_refused_counts_as_a_failed_login(token: str) -> None:
    users = Users(confined=User("ada", agents=["another"]))
    async with identified(users, max_failed_logins=2) as server, connected(server) as peer:
        await peer.login(token="ada")
        for _ in range(2):
            assert (await refused(peer, "refresh", token=token))["code"] == "authentication_failed"
        assert (await refused(peer, "refresh", token="ada", request_id="mine"))["code"] == "rate_limited"
    async with identified(users) as server, connected(server) as peer:
        await peer.login(token="ada")
        for _ in range(3):
            await refused(peer, "refresh", token=token)
        assert await peer.closed() == 4500


@pytest.mark.parametrize("wrong", [{}, {"token": 5}, {"token": None}, {"token": "ada", "request_id": "x" * 65}])
async def test_a_refresh_that_cannot_be_read_is_answered_to_the_connection_alone(wrong: dict[str, Any]) -> None:
    async with identified(Users()) as server, connected(server) as peer:
        await peer.login(token="ada", resumable=True)
        error = await refused(peer, "refresh", **{"request_id": "mine"} | wrong)
        assert error["code"] == "invalid_frame"
        assert error.get("request_id") == (None if "request_id" in wrong else "mine")
        assert "seq" not in error
        await peer.send("agent_request", message="who")
        assert (await peer.expect("agent_request_received"))["seq"] == 1


async def test_a_refresh_that_is_proved_after_a_newer_connection_has_the_session_changes_nothing() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    class Slow(Users):
        async def authenticate(self, login: LoginAttempt) -> User | None:
            if login.token == "slow":
                asked.set()
                await gate.wait()
            return await super().authenticate(login)

    users = Slow(slow=User("ada", "As she was"), now=User("ada", "As she is"))
    async with identified(users) as server, connected(server) as old, connected(server) as new:
        opened = await old.login(token="ada", resumable=True)
        await old.send("refresh", token="slow")
        await asked.wait()
        await new.login(token="now", session_id=opened["session_id"], resume_token=opened["resume_token"])
        gate.set()
        assert await old.closed() == 4501
        user = server.manager.sessions[opened["session_id"]].context.user
        assert user
        assert user.name == "As she is"


async def test_what_was_too_fast_says_so_to_clients_that_know_of_limits() -> None:
    async with identified(Users(), rate_limit=1, rate_burst=2) as server:
        for login, told in ((Login(), set[str]()), (Login(features=[]), {"retry_after", "scope"})):
            async with connected(server) as peer:
                await peer.login(token="ada", **login.model_dump(exclude_unset=True))
                for _ in range(2):
                    await peer.send("cancel_request", task_id="none")
                answers = [await peer.expect("error") for _ in range(2)]
                assert answers[-1]["code"] == "rate_limited"
                assert set(answers[-1]) - {"code", "message"} == told
                assert answers[-1].get("scope", "session") == "session"


async def test_a_login_after_a_logout_may_be_as_long_as_the_first() -> None:
    async with identified(Users()) as server, logged_in(server, token="ada") as peer:
        assert await peer.ask("x" * 17_000) == "x" * 17_000
        await peer.send("logout")
        await peer.expect("logout_response")
        await peer.send("login", token="ada", params={"x": "x" * 17_000})
        assert await peer.closed() == 1009


async def test_a_refresh_that_was_too_fast_is_refused_under_its_own_id() -> None:
    async with identified(Users(), rate_limit=1, rate_burst=4) as server, logged_in(server, token="ada") as peer:
        for number in range(7):
            await peer.send("refresh", token="ada", request_id=str(number))
        answers = [await peer.receive() for _ in range(7)]
        assert {data["request_id"] for _, data in answers} == set("0123456")
        assert {data["code"] for event, data in answers if event == "error"} == {"rate_limited"}


async def test_a_refresh_that_takes_the_sessions_agent_away_is_refused() -> None:
    users = Users()
    async with identified(users) as server, logged_in(server, token="ada") as peer:
        users.users["ada"] = User("ada", agents=["another"])
        assert (await refused(peer, "refresh", token="ada"))["code"] == "authentication_failed"
        assert await peer.ask("who") == "ada"


async def test_a_task_keeps_the_context_that_it_began_with() -> None:
    users = Users()
    agents: list[Knowing] = []

    def create(context: Context) -> Knowing:
        agents.append(Knowing(context))
        agents[-1].scripts["later"] = later
        return agents[-1]

    async def later(_: str, turn: Turn) -> str:
        agents[0].parked.set()
        await agents[0].gate.wait()
        assert turn.context.user is not None
        return turn.context.user.name or ""

    async with identified(users, {"agent": create}) as server, logged_in(server, token="ada") as peer:
        await peer.request("later")
        await agents[0].parked.wait()
        users.users["ada"] = User("ada", "Countess")
        await peer.send("refresh", token="ada")
        await peer.expect("refresh_response")
        agents[0].gate.set()
        assert (await peer.expect("agent_response"))["response"] == "Ada"
        assert agents[0].context.user == User("ada", "Ada")


async def test_after_the_end_of_a_login_requests_are_refused_and_later_the_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "LATER", 0.2)
    users = Users(ada=User("ada", expires_at=datetime.now(UTC) + timedelta(seconds=0.1)))
    agents: list[Knowing] = []

    def create(context: Context) -> Knowing:
        agents.append(Knowing(context))
        return agents[-1]

    async with identified(users, {"agent": create}) as server:
        async with connected(server) as peer:
            opened = await peer.login(token="ada", resumable=True)
            await peer.request("park")
            assert await peer.closed() == 4401
        users.users["ada"] = User("ada")
        async with connected(server) as peer:
            await peer.login(token="ada", session_id=opened["session_id"], resume_token=opened["resume_token"])
            await peer.expect("agent_request_received")
            agents[0].gate.set()
            assert (await peer.expect("agent_response"))["response"] == "released"


async def test_a_request_after_the_end_of_the_login_is_refused_and_a_refresh_lets_it_go_on() -> None:
    users = Users(ada=User("ada", expires_at=datetime.now(UTC)))
    async with identified(users) as server, logged_in(server, token="ada") as peer:
        error = await refused(peer, "agent_request", message="who", request_id="late")
        assert (error["code"], error["request_id"]) == ("authentication_failed", "late")
        users.users["ada"] = User("ada", expires_at=datetime.now(UTC) + LONG)
        await peer.send("refresh", token="ada")
        await peer.expect("refresh_response")
        assert await peer.ask("who") == "ada"


# ---- Limits ----------------------------------------------------------------------------------------------------------


async def test_sessions_of_a_user_are_counted_across_connections() -> None:
    users = Users(bob=User("bob", max_sessions=2))
    async with identified(users, max_sessions_per_user=1) as server, connected(server) as other:
        async with logged_in(server, token="ada"):
            error = await refused(other, token="ada")
            assert (error["code"], error["scope"]) == ("too_many_sessions", "user")
            async with logged_in(server, token="bob"), logged_in(server, token="bob"):
                assert (await refused(other, token="bob"))["code"] == "too_many_sessions"
        await eventually(lambda: not server.manager.sessions)
        assert (await other.login(token="ada"))["status"] == "success"


async def left(server: AgentServer, token: str, **options: Any) -> None:
    """Open a session that waits for its client."""
    async with connected(server, **options) as peer:
        login = await peer.login(token=token, resumable=True)
    session = server.manager.sessions[login["session_id"]]
    await eventually(lambda: session.client is None)


async def test_a_place_of_another_user_at_the_same_address_is_no_place_for_a_user_who_has_all_of_theirs() -> None:
    here: dict[str, Any] = {"additional_headers": {"X-Forwarded-For": "203.0.113.7"}}
    limits: dict[str, Any] = {
        "max_sessions_per_address": 2,
        "max_sessions_per_user": 1,
        "trusted_proxies": ("127.0.0.1",),
    }
    async with identified(Users(), **limits) as server, connected(server, **here) as one:
        await left(server, "bob", **here)
        await one.login(token="ada")
        async with connected(server, **here) as two:
            error = await refused(two, token="ada")
            assert (error["code"], error["scope"]) == ("too_many_sessions", "user")
        assert len(server.manager.sessions) == 2


async def test_a_session_counts_for_its_user_also_before_there_is_a_limit() -> None:
    users = Users()
    async with identified(users) as server, logged_in(server, token="ada"), connected(server) as other:
        await left(server, "ada")
        users.users["ada"] = User("ada", max_sessions=1)
        assert (await refused(other, token="ada"))["scope"] == "user"
        users.users["ada"] = User("ada", max_sessions=2)
        await other.login(token="ada")
        assert len(server.manager.sessions) == 2  # the one that waited made room


async def test_tasks_of_a_user_are_counted_across_sessions() -> None:
    async with (
        identified(Users(), max_tasks_per_user=1) as server,
        logged_in(server, token="ada") as one,
        logged_in(server, token="ada") as two,
        logged_in(server, token="bob") as other,
    ):
        task_id = await one.request("park")
        error = await refused(two, "agent_request", message="who", request_id="mine")
        assert (error["code"], error["scope"], error["request_id"]) == ("too_many_tasks", "user", "mine")
        assert await other.ask("who") == "bob"
        await one.send("cancel_request", task_id=task_id)
        await one.expect("task_cancelled")
        assert await two.ask("who") == "ada"


async def test_requests_of_a_user_have_a_rate_of_their_own() -> None:
    users = Users(bob=User("bob", requests_per_minute=1))
    async with identified(users, user_requests_per_minute=2) as server:
        async with logged_in(server, token="ada") as one, logged_in(server, token="ada") as two:
            assert await one.ask("who") == await two.ask("who") == "ada"
            error = await refused(two, "agent_request", message="who")
            assert (error["code"], error["scope"]) == ("rate_limited", "user")
            assert 0 < error["retry_after"] <= 60
        async with logged_in(server, token="bob") as other:
            await other.ask("who")
            assert (await refused(other, "agent_request", message="who"))["code"] == "rate_limited"


async def test_a_session_limit_and_a_server_limit_say_whose_they_are() -> None:
    async with identified(Users(), max_tasks=1) as server, logged_in(server, token="ada", features=[]) as peer:
        await peer.request("park")
        assert (await refused(peer, "agent_request", message="who"))["scope"] == "session"
    async with identified(Users(), max_total_tasks=1) as server, logged_in(server, token="ada", features=[]) as peer:
        await peer.request("park")
        assert (await refused(peer, "agent_request", message="who"))["scope"] == "server"
    async with identified(Users(), max_sessions=1) as server, logged_in(server, token="ada"), connected(server) as peer:
        assert (await refused(peer, token="ada", features=[]))["scope"] == "server"
        assert "scope" not in await refused(peer, token="ada")


# ---- What an older client sees ---------------------------------------------------------------------------------------


async def test_a_client_that_names_no_features_is_told_no_more_than_who_it_is() -> None:
    users = Users(ada=User("ada", expires_at=datetime.now(UTC) + LONG))
    async with identified(users) as server, connected(server) as peer:
        assert set(await peer.login(token="ada")) == {"session_id", "status", "user", "expires_in"}
        assert await asyncio.wait_for(peer.ask("who"), 5) == "ada"
