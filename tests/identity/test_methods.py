"""The hook in every shape, the trusted header, the shared token, and what a user is."""

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentsocket.identity import hook as hook_room
from agentsocket.identity.authenticator import Anybody, AuthenticationUnavailable, Authenticator, SharedToken
from agentsocket.identity.hook import HookAuthenticator
from agentsocket.identity.proxy_header import ProxyHeader
from agentsocket.identity.user import AuthError, LoginAttempt, User
from tests.support import PATIENCE

ADA = User("ada", "Ada")


async def admitted(method: Authenticator, **attempt: Any) -> User | None:
    async with asyncio.timeout(PATIENCE):
        user = method.authenticate(LoginAttempt(**attempt))
        return await user if inspect.isawaitable(user) else user


async def coroutine(attempt: LoginAttempt) -> User | None:
    return ADA if attempt.token == "right" else None


def plain(attempt: LoginAttempt) -> User | None:
    assert threading.current_thread() is not threading.main_thread()
    return ADA if attempt.token == "right" else None


class Callee:
    async def __call__(self, attempt: LoginAttempt) -> User | None:
        return await coroutine(attempt)


@pytest.mark.parametrize("hook", [coroutine, plain, Callee(), functools.partial(coroutine)])
async def test_a_hook_of_any_shape_decides(hook: Callable[[LoginAttempt], Any]) -> None:
    method = HookAuthenticator(hook, PATIENCE)
    assert await admitted(method, token="right") is ADA
    with pytest.raises(AuthError, match="This login is refused"):
        await admitted(method, token="wrong")


async def test_what_a_hook_says_of_a_refusal_is_told() -> None:
    async def closed(_: LoginAttempt) -> User | None:
        raise AuthError("We open at nine.")

    with pytest.raises(AuthError, match="We open at nine"):
        await admitted(HookAuthenticator(closed, PATIENCE))


def fails(_: LoginAttempt) -> Any:
    raise ConnectionError("the database is gone")


def leaves(_: LoginAttempt) -> Any:
    raise SystemExit(3)


async def leaves_the_loop(_: LoginAttempt) -> Any:
    raise KeyboardInterrupt


async def is_cancelled(_: LoginAttempt) -> Any:
    raise asyncio.CancelledError  # as whoever awaits a request that a library has cancelled gets it


async def ends_a_generator(_: LoginAttempt) -> Any:
    raise GeneratorExit


def finds_nobody(_: LoginAttempt) -> Any:
    return next(iter(()))


def leaves_later(_: LoginAttempt) -> Any:
    return leaves_the_loop(LoginAttempt())


SICK = [
    *(fails, leaves, leaves_the_loop, leaves_later, is_cancelled, ends_a_generator, finds_nobody),
    lambda _: User("\ud800"),
    lambda _: True,
    lambda _: "ada",
    lambda _: {"id": "ada"},
]


@pytest.mark.parametrize("hook", SICK)
async def test_a_hook_that_is_sick_makes_a_login_unavailable(hook: Callable[[LoginAttempt], Any]) -> None:
    with pytest.raises(AuthenticationUnavailable):
        await admitted(HookAuthenticator(hook, PATIENCE))


async def test_a_hook_that_is_sick_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_room, "MAX_HOOKS", 1)

    def finds(attempt: LoginAttempt) -> User:
        return next(user for user in [ADA] if user.id == attempt.token)

    method = HookAuthenticator(finds, PATIENCE)
    with pytest.raises(AuthenticationUnavailable, match="raised an exception"):
        await admitted(method, token="eve")
    assert await admitted(method, token="ada") is ADA


async def test_a_hook_that_takes_too_long_and_resists_is_given_up_and_lets_nobody_in() -> None:
    async def late(_: LoginAttempt) -> User:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ADA

    gate = asyncio.Event()

    async def deaf(_: LoginAttempt) -> User:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        return ADA

    for hook in (late, deaf):
        with pytest.raises(AuthenticationUnavailable, match=r"longer than 0\.05 s"):
            await admitted(HookAuthenticator(hook, 0.05))
    gate.set()


async def test_a_hook_that_takes_too_long_is_given_up_and_its_place_is_free_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hook_room, "MAX_HOOKS", 1)
    go = threading.Event()

    def waits(attempt: LoginAttempt) -> User:
        if attempt.token == "slow":
            go.wait(PATIENCE)
        return ADA

    method = HookAuthenticator(waits, 0.05)
    with pytest.raises(AuthenticationUnavailable, match=r"longer than 0\.05 s"):
        await admitted(method, token="slow")
    with pytest.raises(AuthenticationUnavailable):  # the one place is taken by what still runs
        await admitted(method, token="quick")
    go.set()
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            assert await admitted(method, token="quick") is ADA
            break
        except AuthenticationUnavailable:
            assert time.monotonic() < ends

    async def hangs(_: LoginAttempt) -> User:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(AuthenticationUnavailable):
        await admitted(HookAuthenticator(hangs, 0.05))


async def test_a_header_is_believed_of_a_trusted_proxy_only() -> None:
    method = ProxyHeader("X-Remote-User")
    named = {"x-remote-user": " ada "}
    assert await admitted(method, headers=named, peer_trusted=True) == User("ada")
    for attempt in (
        {"headers": named},
        {"peer_trusted": True},
        {"headers": {"x-remote-user": " "}, "peer_trusted": True},
        {"headers": {"x-remote-user": "a" * 129}, "peer_trusted": True},
        {"headers": {"x-remote-user": "ada\x00"}, "peer_trusted": True},
    ):
        with pytest.raises(AuthError):
            await admitted(method, **attempt)


@pytest.mark.parametrize("name", ["José", "Voilà", "李雷"])
async def test_a_name_in_a_header_is_utf_8_and_nobody_is_taken_for_somebody_else(name: str) -> None:
    method = ProxyHeader("X-Remote-User")
    header = name.encode().decode("latin-1")  # as a header is read
    assert await admitted(method, headers={"x-remote-user": header}, peer_trusted=True) == User(name)
    with pytest.raises(AuthError):
        await admitted(method, headers={"x-remote-user": "Jos\xe9"}, peer_trusted=True)


async def test_a_shared_token_and_an_open_server_know_nobody_by_name() -> None:
    assert await admitted(Anybody()) is None
    assert await admitted(SharedToken("räuber"), token="räuber") is None
    for wrong in (None, "", "rauber", "räuber ", "\udcff"):
        with pytest.raises(AuthError):
            await admitted(SharedToken("räuber"), token=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a" * 129},
        {"id": 5},
        {"id": None},
        {"name": 5},
        {"claims": []},
        {"agents": "support"},
        {"expires_at": 5},
        {"expires_at": datetime(2030, 1, 1)},  # noqa: DTZ001  # that is what is wrong
        {"max_tasks": "many"},
        {"max_sessions": True},
    ],
)
def test_a_user_is_well_formed(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        User(**{"id": "ada", **wrong})


def test_a_user_can_be_sent() -> None:
    assert User("ada", "Ada\ud800").name == "Ada?"


def test_a_user_knows_when_the_login_ends_and_which_agents_there_are() -> None:
    assert User("ada").expires_in is None
    assert 59 < (User("ada", expires_at=datetime.now(UTC) + timedelta(minutes=1)).expires_in or 0) <= 60
    assert User("ada", expires_at=datetime.now(UTC) - timedelta(minutes=1)).expires_in == 0
    assert User("ada").may_have("anything")
    assert not User("ada", agents=[]).may_have("support")
    assert User("ada", agents=["support"]).may_have("support")
    assert len(User("ada", "A" * 999).name or "") == 256
