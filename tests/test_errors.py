"""Every error code, where it applies; what is wrong with a frame changes nothing else."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agentsocket.agent.contract import Agent, AgentError, AgentFactory, Turn
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.events import ToolCall
from tests.support import Scripted, connected, logged_in, serving

BAD_FRAMES = {
    "not json": ErrorCode.INVALID_JSON,
    "[]": ErrorCode.INVALID_FRAME,
    '{"event":"agent_request"}': ErrorCode.INVALID_FRAME,
    '{"event":"agent_request","data":{"message":5}}': ErrorCode.INVALID_FRAME,
    '{"event":"agent_request","data":{"message":"x"},"more":1}': ErrorCode.INVALID_FRAME,
    '{"event":"dance","data":{}}': ErrorCode.UNKNOWN_EVENT,
}


@pytest.mark.parametrize(("text", "code"), BAD_FRAMES.items())
async def test_a_bad_frame_gets_its_error_and_the_session_goes_on(text: str, code: ErrorCode) -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, logged_in(server) as peer:
        task_id = await peer.request("park")
        await peer.socket.send(text)
        error = await peer.expect("error")
        assert error["code"] == code
        assert "task_id" not in error
        agent.gate.set()
        assert (await peer.expect("agent_response"))["task_id"] == task_id


async def test_a_bad_field_is_named_and_its_value_is_not_repeated() -> None:
    async with serving() as server, logged_in(server) as peer:
        await peer.send("agent_request", message=["my secret"], request_id="mine")
        error = await peer.expect("error")
        assert "'message'" in error["message"]
        assert "secret" not in error["message"]
        assert error["request_id"] == "mine"


async def test_unknown_fields_in_data_are_ignored() -> None:
    async with serving() as server, connected(server) as peer:
        await peer.login(colour="blue")
        await peer.request("hello", __class__="x", __proto__=[])
        assert (await peer.expect("agent_response"))["response"] == "hello"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("agent_request", {"message": "hi"}),
        ("cancel_request", {"task_id": "x"}),
        ("input_response", {"task_id": "x", "input_id": "y", "response": None}),
        ("logout", {}),
    ],
)
async def test_everything_but_login_needs_a_login(event: str, data: dict[str, str]) -> None:
    async with serving(auth_token="open sesame") as server, connected(server) as peer:
        await peer.send(event, **data)
        assert (await peer.expect("error"))["code"] == "not_logged_in"
        await peer.login(token="open sesame")


async def test_a_connection_logs_in_once() -> None:
    async with serving() as server, logged_in(server) as peer:
        await peer.send("login")
        assert (await peer.expect("error"))["code"] == "already_logged_in"
        assert await peer.ask("hello") == "hello"


@pytest.mark.parametrize("token", [None, "", "wrong", "sésame", "x" * 10_000])
async def test_three_logins_without_the_token_close_the_connection(token: str | None) -> None:
    async with serving(auth_token="sésame ouvre-toi") as server, connected(server) as peer:
        for _ in range(3):
            await peer.send("login", **({} if token is None else {"token": token}))
            assert (await peer.expect("error"))["code"] == "authentication_failed"
        assert await peer.closed() == 4500


@pytest.mark.parametrize(("token", "reason"), [(None, "A login needs a token."), ("sesame", "the right token.")])
async def test_each_refused_login_is_one_line_of_the_log_with_address_and_reason_and_no_token(
    token: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(auth_token="open sesame") as server, connected(server) as peer:
        for _ in range(3):
            await peer.send("login", **({} if token is None else {"token": token}))
            await peer.expect("error")
        await peer.closed()
    lines = [record.getMessage() for record in caplog.records if record.name == "agentsocket.login"]
    assert len(lines) == 3
    assert all("127.0.0.1" in line and reason in line and "sesame" not in line for line in lines)


async def test_the_token_may_come_in_the_authorization_header() -> None:
    headers = {"Authorization": "Bearer open sesame"}
    async with serving(auth_token="open sesame") as server, connected(server, additional_headers=headers) as peer:
        await peer.login()


async def test_a_session_runs_so_many_tasks_and_no_more() -> None:
    agent = Scripted()
    async with serving(lambda: agent, max_tasks=2) as server, logged_in(server) as peer:
        for _ in range(2):
            await peer.request("park")
        await peer.send("agent_request", message="park", request_id="third")
        error = await peer.expect("error")
        assert (error["code"], error["request_id"]) == ("too_many_tasks", "third")
        agent.gate.set()
        await peer.expect("agent_response")
        await peer.expect("agent_response")
        assert await peer.ask("hello") == "hello"


async def test_all_sessions_together_run_so_many_tasks_and_no_more() -> None:
    async with serving(max_total_tasks=1) as server, logged_in(server) as one, logged_in(server) as other:
        await one.request("park")
        await other.send("agent_request", message="park")
        assert (await other.expect("error"))["code"] == "too_many_tasks"


async def test_there_are_so_many_sessions_and_no_more() -> None:
    async with serving(max_sessions=1) as server, logged_in(server) as one, connected(server) as other:
        await other.send("login")
        assert (await other.expect("error"))["code"] == "too_many_sessions"
        await one.send("logout")
        await one.expect("logout_response")
        await other.login()


async def test_messages_that_come_too_fast_are_refused_and_then_cut_off() -> None:
    async with serving(rate_limit=0.001, rate_burst=5) as server, logged_in(server) as peer:
        for number in range(12):
            await peer.send("agent_request", message="hi", request_id=str(number))
        refused = [(await peer.until("error"))[-1][1] for _ in range(5)]
        assert {data["code"] for data in refused} == {"rate_limited"}
        assert [data["request_id"] for data in refused] == ["4", "5", "6", "7", "8"]
        assert await peer.closed() == 4429


async def test_too_many_errors_close_the_connection() -> None:
    async with serving(max_errors=5) as server, logged_in(server) as peer:
        for _ in range(5):
            await peer.socket.send("{}")
        for _ in range(5):
            assert (await peer.expect("error"))["code"] == "invalid_frame"
        assert await peer.closed() == 4509


async def test_what_an_honest_client_runs_into_does_not_count_as_too_many_errors() -> None:
    async with serving(max_errors=3) as server, logged_in(server) as peer:
        for _ in range(6):
            await peer.send("cancel_request", task_id="gone")
            assert (await peer.expect("error"))["code"] == "unknown_task"
        assert await peer.ask("hello") == "hello"


async def test_no_login_in_time_closes_the_connection() -> None:
    async with serving(login_timeout=0.05) as server, connected(server) as peer:
        assert await peer.closed() == 4502


async def test_a_login_that_opens_no_session_is_none() -> None:
    async with serving(login_timeout=0.05) as server, connected(server) as peer:
        await peer.send("login", session_id="unknown", resume_token="unknown")
        assert (await peer.expect("error"))["code"] == "session_not_found"
        assert await peer.closed() == 4502


async def test_a_login_that_takes_its_time_is_waited_for() -> None:
    async def create() -> Scripted:
        loaded = asyncio.Event()
        asyncio.get_running_loop().call_later(0.15, loaded.set)
        await loaded.wait()
        return Scripted()

    async with serving(create, login_timeout=0.05) as server, connected(server) as peer:
        await peer.login()
        assert await peer.ask("hello") == "hello"


async def test_a_binary_message_closes_the_connection() -> None:
    async with serving() as server, logged_in(server) as peer:
        await peer.socket.send(b"{}")
        assert await peer.closed() == 1003


async def test_an_agent_that_cannot_be_created_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Agent:
        raise RuntimeError("no key in /etc/secret")

    async with serving(broken) as server, connected(server) as peer:
        await peer.send("login")
        error = await peer.expect("error")
        assert error["code"] == "agent_unavailable"
        assert "secret" not in error["message"]
        assert error["error_id"] in caplog.text


async def test_an_agent_that_raises_fails_its_task_and_the_log_tells_why(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="dig", tool_call_id="c"))
        raise ValueError("the spade broke")

    async with serving(lambda: Scripted(fail=fail)) as server, logged_in(server) as peer:
        task_id = await peer.request("fail")
        await peer.expect("tool_call")
        closed = await peer.expect("tool_result")
        assert (closed["tool_name"], closed["tool_call_id"], closed["is_error"]) == ("dig", "c", True)
        error = await peer.expect("error")
        assert (error["code"], error["task_id"]) == ("agent_failed", task_id)
        assert "spade" not in error["message"]
        (record,) = [record for record in caplog.records if error["error_id"] in record.getMessage()]
        assert record.exc_info is not None
        assert "spade" in str(record.exc_info[1])
        assert await peer.ask("hello") == "hello"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("The spade is broken: bring another.", "The spade is broken: bring another."),
        ("The \ud800 spade is broken.", "The \ufffd spade is broken."),
        ("", "The agent failed. The server's log has the details."),
    ],
)
async def test_an_agent_may_say_itself_why_it_fails(caplog: pytest.LogCaptureFixture, own: str, told: str) -> None:
    async def fail(_: str, __: Turn) -> str:
        raise AgentError(own) from ValueError("the handle, bought in a secret shop")

    async with serving(lambda: Scripted(fail=fail)) as server, logged_in(server) as peer:
        task_id = await peer.request("fail")
        error = await peer.expect("error")
        assert error == {**error, "message": told, "code": "agent_failed", "task_id": task_id}
        assert f"error_id={error['error_id']}" in caplog.text
        assert "secret shop" in caplog.text


async def in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(raises())
        group.create_task(asyncio.sleep(3600))


async def in_nested_groups() -> None:
    inner = ExceptionGroup("inner", [KeyError("secret"), AgentError("No spade.")])
    raise BaseExceptionGroup("outer", [ValueError("secret"), inner, AgentError("Too late.")])


async def as_a_cause() -> None:
    try:
        await raises()
    except AgentError as exc:
        raise ExceptionGroup("secret", [RuntimeError("secret")]) from exc


async def while_it_was_handled() -> None:
    try:
        await in_a_task_group()
    finally:
        raise RuntimeError("secret")


async def as_the_cause_within_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(as_a_cause())


async def raises() -> None:
    raise AgentError("No spade.")


REASONS = [raises, in_a_task_group, in_nested_groups, as_a_cause, while_it_was_handled, as_the_cause_within_a_group]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("where", ["run", "factory", "synchronous factory"])
async def test_an_agents_own_word_is_found_wherever_it_is_the_reason(
    reason: Callable[[], Coroutine[Any, Any, None]], where: str
) -> None:
    async def fail(_: str, __: Turn) -> str:
        await reason()
        return "not reached"

    async def factory() -> Agent:
        await reason()
        return Scripted()

    def synchronous() -> Agent:
        asyncio.run(reason())
        return Scripted()

    factories: dict[str, AgentFactory] = {
        "run": lambda: Scripted(fail=fail),
        "factory": factory,
        "synchronous factory": lambda: asyncio.to_thread(synchronous),
    }
    async with serving(factories[where]) as server, connected(server) as peer:
        await peer.send("login")
        if where == "run":
            await peer.expect("login_response")
            await peer.request("fail")
        error = await peer.expect("error")
        assert error["message"] == "No spade."
        assert error["code"] == ("agent_failed" if where == "run" else "agent_unavailable")


async def mended() -> None:
    try:
        await raises()
    except AgentError:
        raise RuntimeError("secret") from None


async def wordless() -> None:
    class WordlessError(AgentError):
        def __str__(self) -> str:
            raise ValueError("secret")

    raise WordlessError


async def exiting() -> None:
    class ExitingError(AgentError):
        def __str__(self) -> str:
            raise SystemExit

    raise ExitingError


@pytest.mark.parametrize("reason", [mended, wordless, exiting])
async def test_where_an_agents_own_word_is_not_the_reason_or_fails_the_client_gets_the_general_one(
    reason: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    async def fail(_: str, __: Turn) -> str:
        await reason()
        return "not reached"

    async with serving(lambda: Scripted(fail=fail)) as server, logged_in(server) as peer:
        await peer.request("fail")
        assert (await peer.expect("error"))["message"] == "The agent failed. The server's log has the details."


async def test_an_agent_that_calls_exit_ends_its_task_and_not_the_server() -> None:
    async def leave(_: str, __: Turn) -> str:
        raise SystemExit(3)

    async with serving(lambda: Scripted(leave=leave)) as server, logged_in(server) as peer:
        await peer.request("leave")
        assert (await peer.expect("error"))["code"] == "agent_failed"
        assert await peer.ask("hello") == "hello"


async def test_an_agent_that_takes_too_long_is_stopped() -> None:
    agent = Scripted()
    async with serving(lambda: agent, agent_timeout=0.05) as server, logged_in(server) as peer:
        task_id = await peer.request("park")
        error = await peer.expect("error")
        assert (error["code"], error["task_id"]) == ("agent_timeout", task_id)
        assert agent.cancelled.is_set()


async def test_a_server_that_shuts_down_takes_nothing_new_and_lets_tasks_end() -> None:
    agent = Scripted()
    async with serving(lambda: agent, shutdown_grace=5) as server, logged_in(server) as peer:
        task_id = await peer.request("park")
        shutdown = asyncio.create_task(server.shut_down())
        await asyncio.sleep(0)
        await peer.send("agent_request", message="more", request_id="late")
        error = await peer.expect("error")
        assert (error["code"], error["request_id"]) == ("shutting_down", "late")
        agent.gate.set()
        assert (await peer.expect("agent_response"))["task_id"] == task_id
        assert await peer.closed() == 1001
        await shutdown
        assert agent.closed == 1


async def test_a_task_that_outlasts_the_grace_is_cancelled_before_goodbye() -> None:
    agent = Scripted()
    async with serving(lambda: agent, shutdown_grace=0.05) as server, logged_in(server) as peer:
        task_id = await peer.request("park")
        await server.shut_down()
        assert await peer.expect("task_cancelled") == {"task_id": task_id}
        assert await peer.closed() == 1001
