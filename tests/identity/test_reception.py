"""Where every login comes by: what is told of those that fail, and who has to wait."""

import inspect
import logging
from typing import Any

import pytest

from agentsocket.identity import reception as room
from agentsocket.identity.authenticator import ExpiredLogin, SharedToken
from agentsocket.identity.hook import HookAuthenticator
from agentsocket.identity.reception import FailedLogins, Reception
from agentsocket.identity.user import AuthError, LoginAttempt, User
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from tests.support import PATIENCE


async def proved(reception: Reception, **attempt: Any) -> User | None:
    user = reception.prove(LoginAttempt(**attempt))
    return await user if inspect.isawaitable(user) else user


async def refused(reception: Reception, **attempt: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        await proved(reception, **attempt)
    return caught.value


async def test_too_many_failed_logins_from_one_address_have_to_wait_whatever_they_bring() -> None:
    reception = Reception(SharedToken("right"), 3)
    for _ in range(3):
        assert (await refused(reception, address="192.0.2.7")).code == ErrorCode.AUTHENTICATION_FAILED
    waits = await refused(reception, token="right", address="192.0.2.7")
    assert waits.code == ErrorCode.RATE_LIMITED
    assert waits.fields["retry_after"] in range(1, 61)
    await proved(reception, token="right", address="192.0.2.8")


async def test_after_a_minute_an_address_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = FailedLogins(1)
    failed.count("192.0.2.7")
    assert 59 < failed.wait("192.0.2.7") <= 60
    monkeypatch.setattr(room, "MINUTE", 0)
    assert failed.wait("192.0.2.7") == 0


def test_of_ipv6_a_whole_network_counts_as_one_and_the_memory_for_it_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = FailedLogins(2)
    failed.count("2001:db8:0:1::1")
    failed.count("2001:db8:0:1:ffff::2")
    assert failed.wait("2001:db8:0:1::3")
    assert not failed.wait("2001:db8:0:2::1")
    failed.count("::ffff:192.0.2.7")
    failed.count("192.0.2.7")
    assert failed.wait("192.0.2.7")
    monkeypatch.setattr(room, "MAX_ADDRESSES", 2)
    failed.count("192.0.2.9")
    assert not failed.wait("2001:db8:0:1::3")
    assert not FailedLogins(None).wait("192.0.2.7")


async def test_a_token_that_was_right_once_is_no_guess() -> None:
    class Ended:
        ambient = ()

        def authenticate(self, attempt: LoginAttempt) -> User | None:  # noqa: ARG002  # whatever it is
            raise ExpiredLogin("The token has expired.")

    reception = Reception(Ended(), 1)
    for _ in range(3):
        error = await refused(reception, address="192.0.2.7")
        assert (error.code, error.message) == (ErrorCode.AUTHENTICATION_FAILED, "The token has expired.")


async def test_what_cannot_be_checked_is_told_with_an_id_and_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    async def sick(_: LoginAttempt) -> User:
        raise ConnectionError("a secret of the database")

    reception = Reception(HookAuthenticator(sick, PATIENCE), 1)
    for _ in range(3):
        error = await refused(reception, address="192.0.2.7")
        assert error.code == ErrorCode.AUTHENTICATION_UNAVAILABLE
        assert error.fields["retry_after"]
        assert "secret" not in error.message
        assert f"error_id={error.fields['error_id']}" in caplog.text
    assert caplog.text.count("a login from 192.0.2.7 could not be checked") == 3
    assert "a secret of the database" in caplog.text  # the traceback
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_what_a_hook_says_reaches_the_client() -> None:
    async def closed(_: LoginAttempt) -> User:
        raise AuthError("We open at nine.")

    assert (await refused(Reception(HookAuthenticator(closed, PATIENCE), 10))).message == "We open at nine."


async def test_what_a_hook_says_is_text_that_can_be_sent() -> None:
    async def closed(_: LoginAttempt) -> User:
        raise AuthError("We open at nine\ud800.")

    assert (await refused(Reception(HookAuthenticator(closed, PATIENCE), 10))).message == "We open at nine?."
