"""Proper frames at the wrong time: each gets the answer that the protocol promises, and changes nothing else."""

import asyncio

import pytest

from agent_contract import Turn
from protocol import InputRequired
from tests.support import Peer, Scripted, connected, logged_in, serving
from tests.wire import undisturbed

UNKNOWN = "0123456789abcdef"


async def asks(_: str, turn: Turn) -> str:
    return str(await turn.ask(InputRequired(prompt="?")))


def asking() -> Scripted:
    return Scripted(ask=asks)


async def refused(peer: Peer, event: str, **data: object) -> dict[str, object]:
    """Send a frame; return the error that it gets."""
    await peer.send(event, **data)
    return await peer.expect("error")


EARLY: dict[str, dict[str, object]] = {
    "agent_request": {"message": "hello"},
    "cancel_request": {"task_id": UNKNOWN},
    "input_response": {"task_id": UNKNOWN, "input_id": UNKNOWN, "response": True},
    "logout": {},
}


@pytest.mark.parametrize(("event", "data"), EARLY.items(), ids=EARLY.keys())
async def test_before_the_login_nothing_else_is_accepted(
    event: str, data: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, undisturbed(server, caplog), connected(server) as peer:
        assert (await refused(peer, event, **data))["code"] == "not_logged_in"
        await peer.login()
        assert await peer.ask("now") == "now"


@pytest.mark.parametrize(("event", "data"), EARLY.items(), ids=EARLY.keys())
async def test_after_the_logout_nothing_is_accepted_but_a_login(
    event: str, data: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, undisturbed(server, caplog), logged_in(server) as peer:
        await peer.send("logout")
        await peer.expect("logout_response")
        assert (await refused(peer, event, **data))["code"] == "not_logged_in"
        await peer.login()
        assert await peer.ask("again") == "again"


async def test_a_second_login_is_refused_and_the_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), logged_in(server) as peer:
        task_id = await peer.request("park")
        assert (await refused(peer, "login"))["code"] == "already_logged_in"
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.expect("task_cancelled"))["task_id"] == task_id


BAD_TOKENS = {"none": None, "wrong": "secreT", "empty": "", "huge": "x" * 10_000, "not ASCII": "sécret", "nul": "secret\x00"}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_login_without_the_right_token_is_refused_and_the_third_one_closes(
    token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    given = {} if token is None else {"token": token}
    async with serving(auth_token="secret") as server, connected(server) as peer:
        for _ in range(3):
            assert (await refused(peer, "login", **given))["code"] == "authentication_failed"
        assert await peer.closed() == 4500
        assert len(caplog.records) <= 1


async def test_no_event_passes_the_gate_of_the_token() -> None:
    async with serving(auth_token="secret") as server, connected(server) as peer:
        for event, data in EARLY.items():
            assert (await refused(peer, event, **data))["code"] == "not_logged_in"
        resume = {"session_id": UNKNOWN, "resume_token": "x", "last_seq": 0}
        assert (await refused(peer, "login", **resume))["code"] == "authentication_failed"
        await peer.login(token="secret")


async def test_unknown_finished_and_foreign_tasks_get_the_same_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), logged_in(server) as peer, logged_in(server) as other:
        finished = await peer.request("done")
        await peer.expect("agent_response")
        foreign = await other.request("park")
        answers = [
            await refused(peer, "cancel_request", task_id=task_id) for task_id in (UNKNOWN, finished, foreign, "", "é\n")
        ]
        assert {(answer.pop("task_id"), *answer.values()) for answer in answers} == {
            (task_id, "No such task is running.", "unknown_task") for task_id in (UNKNOWN, finished, foreign, "", "é\n")
        }
        await other.send("cancel_request", task_id=foreign)
        assert (await other.expect("task_cancelled"))["task_id"] == foreign


async def test_another_sessions_input_cannot_be_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(asking) as server, undisturbed(server, caplog), logged_in(server) as peer, logged_in(server) as other:
        task_id = await other.request("ask")
        question = await other.expect("input_required")
        answer = {"task_id": task_id, "input_id": question["input_id"], "response": "stolen"}
        assert (await refused(peer, "input_response", **answer))["code"] == "unknown_task"
        await other.send("input_response", **{**answer, "response": "own"})
        assert (await other.expect("agent_response"))["response"] == "own"


async def test_the_same_request_id_twice_runs_the_agent_once(caplog: pytest.LogCaptureFixture) -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, undisturbed(server, caplog), logged_in(server) as peer:
        first = await peer.request("park", request_id="mine")
        assert await peer.request("park", request_id="mine") == first
        agent.gate.set()
        await peer.expect("agent_response")
        assert await peer.request("park", request_id="mine") == first
        assert agent.runs.count("park") == 1


async def test_a_request_above_the_limit_is_refused_until_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_tasks=2) as server, undisturbed(server, caplog), logged_in(server) as peer:
        tasks = [await peer.request("park") for _ in range(2)]
        for _ in range(30):  # no matter how often: that is no error to be closed for
            answer = await refused(peer, "agent_request", message="one more", request_id="mine")
            assert (answer["code"], answer["request_id"]) == ("too_many_tasks", "mine")
            assert "task_id" not in answer
        await peer.send("cancel_request", task_id=tasks[0])
        await peer.expect("task_cancelled")
        assert await peer.ask("room") == "room"


async def test_the_limit_of_all_tasks_holds_across_sessions(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_total_tasks=1) as server, undisturbed(server, caplog), logged_in(server) as peer:
        async with logged_in(server) as other:
            await other.request("park")
            assert (await refused(peer, "agent_request", message="x"))["code"] == "too_many_tasks"
            await other.send("logout")
            await other.until("logout_response")
        assert await peer.ask("room") == "room"


async def test_a_flood_of_valid_messages_is_refused_and_then_closed(caplog: pytest.LogCaptureFixture) -> None:
    limits = {"rate_limit": 1, "rate_burst": 5}
    async with serving(**limits) as server, logged_in(server) as peer:
        for number in range(15):
            await peer.send("agent_request", message="x", request_id=str(number))
        refusals = [data for event, data in await _all(peer) if event == "error"]
        assert peer.socket.close_code == 4429
        assert {data["code"] for data in refusals} == {"rate_limited"}
        assert all("request_id" in data for data in refusals)
        assert not [record for record in caplog.records if record.exc_info]


async def _all(peer: Peer) -> list[tuple[str, dict[str, object]]]:
    import json
    return [(frame["event"], frame["data"]) async for message in peer.socket for frame in [json.loads(message)]]


WRONG_RESUMES = {
    "a wrong token": {"resume_token": "wrong"},
    "an empty token": {"resume_token": ""},
    "no token": {"resume_token": None},
    "a token that is not ASCII": {"resume_token": "ü" * 100},
    "an unknown session": {"session_id": UNKNOWN},
    "an empty session id": {"session_id": ""},
}


@pytest.mark.parametrize("wrong", WRONG_RESUMES.values(), ids=WRONG_RESUMES.keys())
async def test_a_wrong_resume_gets_one_and_the_same_answer(
    wrong: dict[str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, undisturbed(server, caplog), connected(server) as peer:
        async with logged_in(server, resumable=True) as owner:
            login = await owner.login_again()
