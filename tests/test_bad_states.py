"""Proper frames at the wrong time: each gets the answer that the protocol promises, and changes nothing else."""

from types import SimpleNamespace

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import InputRequired
from tests.support import Peer, Scripted, connected, logged_in, serving
from tests.wire import text, undisturbed, upgraded

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


BAD_TOKENS = {
    "none": None,
    "wrong": "secreT",
    "empty": "",
    "huge": "x" * 10_000,
    "not ASCII": "sécret",
    "nul": "secret\x00",
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_login_without_the_right_token_is_refused_and_the_third_one_closes(
    token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    given = {} if token is None else {"token": token}
    async with serving(auth_token="secret") as server, connected(server) as peer:
        for _ in range(3):
            assert (await refused(peer, "login", **given))["code"] == "authentication_failed"
        assert await peer.closed() == 4500
        assert [record.name for record in caplog.records] == ["agentsocket.login"] * 3


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
            await refused(peer, "cancel_request", task_id=task_id)
            for task_id in (UNKNOWN, finished, foreign, "", "é\n")
        ]
        assert {(answer.pop("task_id"), *answer.values()) for answer in answers} == {
            (task_id, "No such task is running.", "unknown_task") for task_id in (UNKNOWN, finished, foreign, "", "é\n")
        }
        await other.send("cancel_request", task_id=foreign)
        assert (await other.expect("task_cancelled"))["task_id"] == foreign


async def test_another_sessions_input_cannot_be_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(asking) as server,
        undisturbed(server, caplog),
        logged_in(server) as peer,
        logged_in(server) as other,
    ):
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
    async with (
        serving(rate_limit=1, rate_burst=5, close_timeout=0.2) as server,
        undisturbed(server, caplog),
        upgraded(server.port, resumable=False) as wire,
    ):
        # The login took the first of five tokens, so four pass, and after five more refusals it is enough.
        wire.send(*(text("cancel_request", task_id=str(number)) for number in range(11)))
        answers = [await wire.receive_event() for _ in range(9)]
        assert [data["code"] for _, data in answers] == ["unknown_task"] * 4 + ["rate_limited"] * 5
        assert await wire.close_code() == 4429


async def test_a_request_that_came_too_fast_is_told_so_with_its_id() -> None:
    async with serving(rate_limit=1, rate_burst=1) as server, logged_in(server) as peer:
        answer = await refused(peer, "agent_request", message="x", request_id="mine")
        assert (answer["code"], answer["request_id"]) == ("rate_limited", "mine")


WRONG_RESUMES: dict[str, dict[str, str | None]] = {
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
    async with serving() as server, undisturbed(server, caplog), connected(server) as owner, connected(server) as peer:
        right = await owner.login(resumable=True)
        resume = {"session_id": right["session_id"], "resume_token": right["resume_token"], "last_seq": 0, **wrong}
        answer = {"code": "session_not_found", "message": "There is no such session to take up."}
        assert await refused(peer, "login", **resume) == answer
        await peer.login()
        assert await owner.ask("still mine") == "still mine"


async def test_one_sessions_token_does_not_open_another(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, undisturbed(server, caplog), connected(server) as owner, connected(server) as thief:
        right = await owner.login(resumable=True)
        own = await thief.login(resumable=True)
        await thief.send("logout")
        await thief.expect("logout_response")
        for token in (own["resume_token"], right["session_id"]):
            resume = {"session_id": right["session_id"], "resume_token": token, "last_seq": 0}
            assert (await refused(thief, "login", **resume))["code"] == "session_not_found"
        assert await owner.ask("still mine") == "still mine"


async def test_neither_an_ended_session_nor_one_that_is_not_resumable_can_be_taken_up() -> None:
    async with serving() as server, connected(server) as peer, connected(server) as other:
        plain = await other.login()
        ended = await peer.login(resumable=True)
        await peer.send("logout")
        await peer.expect("logout_response")
        for session_id, token in ((ended["session_id"], ended["resume_token"]), (plain["session_id"], "")):
            resume = {"session_id": session_id, "resume_token": token, "last_seq": 0}
            assert (await refused(peer, "login", **resume))["code"] == "session_not_found"


@pytest.mark.parametrize("last_seq", [1, 2**62, -1, "0", 2**63, 2**64, 0.5, True, [], {}])
async def test_a_last_seq_that_was_never_given_out_is_an_invalid_frame(
    last_seq: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, undisturbed(server, caplog), connected(server) as owner, connected(server) as peer:
        right = await owner.login(resumable=True)
        resume = {"session_id": right["session_id"], "resume_token": right["resume_token"]}
        answer = await refused(peer, "login", **resume, last_seq=last_seq)
        assert answer["code"] == "invalid_frame"
        assert "'last_seq'" in str(answer["message"])
        assert await owner.ask("still mine") == "still mine"


async def test_a_cancel_pipelined_right_behind_its_request_ends_it_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, undisturbed(server, caplog), upgraded(server.port) as wire:
        await wire.login()
        # Nobody can know the id that early; who guesses it all the same cancels a task before its first step.
        monkeypatch.setattr("agentsocket.session.session.secrets", SimpleNamespace(token_hex=lambda _: UNKNOWN))
        wire.send(text("agent_request", message="park"), text("cancel_request", task_id=UNKNOWN))
        assert [await wire.receive_event() for _ in range(2)] == [
            ("agent_request_received", {"task_id": UNKNOWN}),
            ("task_cancelled", {"task_id": UNKNOWN}),
        ]
        assert "park" not in agent.runs


async def test_a_logout_pipelined_right_behind_requests_ends_each_of_them_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server, undisturbed(server, caplog), upgraded(server.port) as wire:
        await wire.login()
        wire.send(text("agent_request", message="park") * 3, text("logout"), text("cancel_request", task_id=UNKNOWN))
        events = [await wire.receive_event() for _ in range(8)]
        assert [event for event, _ in events] == [
            *["agent_request_received"] * 3,
            *["task_cancelled"] * 3,
            "logout_response",
            "error",
        ]
        assert events[-1][1]["code"] == "not_logged_in"


async def test_an_input_is_answered_once_and_not_after_its_task(caplog: pytest.LogCaptureFixture) -> None:
    async def asks_twice(_: str, turn: Turn) -> str:
        return f"{await turn.ask(InputRequired(prompt='1'))} {await turn.ask(InputRequired(prompt='2'))}"

    agent = Scripted(ask=asks_twice)
    async with serving(lambda: agent) as server, undisturbed(server, caplog), logged_in(server) as peer:
        task_id = await peer.request("ask")
        first = {"task_id": task_id, "input_id": (await peer.expect("input_required"))["input_id"], "response": "a"}
        await peer.send("input_response", **first)
        second = {**first, "input_id": (await peer.expect("input_required"))["input_id"], "response": "b"}
        again = await refused(peer, "input_response", **first)
        assert (again["code"], "task_id" in again) == ("unknown_input", False)
        await peer.send("input_response", **second)
        assert (await peer.expect("agent_response"))["response"] == "a b"
        late = await refused(peer, "input_response", **second)
        assert (late["code"], late["task_id"]) == ("unknown_task", task_id)
