"""What a client that comes back is told, and what is kept for it until then: both have their bounds, and say so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentReasoning, AgentResponse, InputRequired
from agentsocket.server import AgentServer
from agentsocket.session.allowance import Allowance
from agentsocket.session.encoding import newest
from tests.support import Peer, Scripted, connected, eventually, serving
from tests.wire import text, upgraded

FRAME = 256 * 1024
"""Bytes that no frame of the server's own making exceeds."""

TEXTS = ["x" * 1000, "ä😀" * 250, "\x01" * 1000, '"\\\n' * 300]


async def speak(rest: str, turn: Turn) -> str:
    """Say so many kilobytes of some text, then wait for ever."""
    kind, size = map(int, rest.split())
    for _ in range(size):
        await turn.emit(AgentOutput(output=TEXTS[kind]))
    await asyncio.Event().wait()
    return ""


async def answer(rest: str, _: Turn) -> AgentResponse:
    """Answer with so many bytes."""
    return AgentResponse(response="a" * int(rest), usage={"output_tokens": 1})


async def ask(rest: str, turn: Turn) -> str:
    """Ask so many questions at once, each of so many bytes."""
    number, size = map(int, rest.split())
    questions = [InputRequired(prompt=f"{n}?".ljust(size, ".")) for n in range(number)]
    return str(await asyncio.gather(*map(turn.ask, questions)))


@asynccontextmanager
async def away(server: AgentServer, *messages: str, **options: Any) -> AsyncIterator[dict[str, Any]]:
    """Open a session, ask all this of it, and be away until nothing more is said; give its credentials."""
    async with connected(server) as peer:
        login = await peer.login(resumable=True)
        for number, message in enumerate(messages):
            await peer.send("agent_request", message=message, request_id=f"request {number}")
        session = server.manager.sessions[login["session_id"]]
        await eventually(lambda: len(session._received) == len(messages))
        peer.socket.transport.abort()
    await eventually(lambda: session.client is None)
    said = -1
    while said != session._log.last_seq:
        said = session._log.last_seq
        for _ in range(20):
            await asyncio.sleep(0)
    yield {"session_id": login["session_id"], "resume_token": login["resume_token"], "last_seq": 0, **options}


async def back(peer: Peer, login: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Take the session up; return the answer, and how many bytes it had."""
    await peer.send("login", **login)
    received = await asyncio.wait_for(peer.socket.recv(), 10)
    frame = json.loads(received)
    assert frame["event"] == "login_response", frame
    return frame["data"], len(received if isinstance(received, bytes) else received.encode())


def agent() -> Scripted:
    return Scripted(speak=speak, answer=answer, ask=ask)


async def test_where_every_frame_comes_again_the_answer_says_no_more_than_which_tasks_there_are() -> None:
    async with (
        serving(agent) as server,
        away(server, "speak 0 100", "answer 100000", "ask 1 10") as login,
        connected(server) as peer,
    ):
        response, size = await back(peer, login)
        assert response["lossless"] is True
        assert size < 2000
        assert sorted(task["status"] for task in response["tasks"]) == ["completed", "running", "running"]
        assert all(task["output"] == "" and "response" not in task for task in response["tasks"])
        assert [len(task["pending_inputs"]) for task in response["tasks"]].count(1) == 1


@pytest.mark.parametrize("kind", range(len(TEXTS)), ids=["plain", "of many bytes", "control characters", "escapes"])
async def test_the_texts_of_what_runs_share_one_frame_and_the_short_ones_are_whole(kind: int) -> None:
    messages = [f"speak {kind} {size}" for size in (5, 900, 1100, 20, 700)]
    async with (
        serving(agent, resume_log_frames=1) as server,
        away(server, *messages) as login,
        connected(server) as peer,
    ):
        response, size = await back(peer, login)
        assert response["lossless"] is False
        assert FRAME // 2 < size <= FRAME
        outputs = [task["output"] for task in response["tasks"]]
        assert [outputs[0], outputs[3]] == [TEXTS[kind] * 5, TEXTS[kind] * 20] or kind == 2
        for output in outputs:
            assert output
            assert (TEXTS[kind] * 1100).endswith(output)


async def test_an_end_too_big_for_the_answer_comes_behind_it_whole() -> None:
    async with (
        serving(agent, resume_log_frames=1) as server,
        away(server, "answer 10", "answer 400000") as login,
        connected(server) as peer,
    ):
        response, size = await back(peer, login)
        assert size <= FRAME
        end = await peer.expect("agent_response")
        assert (len(end["response"]), end["seq"]) == (400_000, response["last_seq"] + 1)
        assert end["usage"] == {"output_tokens": 1}
        big = next(task for task in response["tasks"] if task["task_id"] == end["task_id"])
        assert (big["status"], big["output"]) == ("running", "")
        # Once it was said it is not said again.
        await peer.send("agent_request", message="", request_id="request 1")
        await peer.expect("agent_request_received")
        assert await peer.ask("hello") == "hello"


async def test_questions_too_big_for_the_answer_come_behind_it_and_can_be_answered() -> None:
    async with (
        serving(agent, resume_log_frames=1) as server,
        away(server, "ask 3 100000") as login,
        connected(server) as peer,
    ):
        response, size = await back(peer, login)
        assert size <= FRAME
        (task,) = response["tasks"]
        inside = [each["input_id"] for each in task["pending_inputs"]]
        behind = [(await peer.expect("input_required"))["input_id"] for _ in range(3 - len(inside))]
        assert inside
        assert behind
        for number, input_id in enumerate([*inside, *behind]):
            await peer.send("input_response", task_id=task["task_id"], input_id=input_id, response=number)
        assert (await peer.expect("agent_response"))["response"].count(",") == 2


async def test_hundreds_of_ends_fit_into_one_frame_and_the_newest_are_there() -> None:
    messages = [f"answer {size}" for size in [2000] * 150]
    async with (
        serving(agent, resume_log_frames=1, max_tasks=200, rate_limit=None) as server,
        away(server, *messages) as login,
        connected(server) as peer,
    ):
        response, size = await back(peer, login)
        assert size <= FRAME
        assert len(response["tasks"]) > 100
        assert all(len(task["response"]) == 2000 for task in response["tasks"][-100:])


# ---- A request whose confirmation was lost ---------------------------------------------------------------------------


async def repeated(peer: Peer, number: int) -> str:
    """Send a request again; return its task's id."""
    await peer.send("agent_request", message="", request_id=f"request {number}")
    while (received := await peer.receive())[0] != "agent_request_received":
        pass
    return str(received[1]["task_id"])


async def test_a_request_repeated_after_a_gap_is_followed_by_how_its_task_ended() -> None:
    async with (
        serving(agent, resume_log_frames=1) as server,
        away(server, "answer 10", "answer 400000") as login,
        connected(server) as peer,
    ):
        await back(peer, login)
        task_id = await repeated(peer, 0)
        end = await peer.expect("agent_response")
        assert (end["task_id"], end["response"]) == (task_id, "a" * 10)


async def test_where_nobody_knows_any_more_how_it_ended_that_is_said() -> None:
    messages = [f"answer {size}" for size in (10, 200_000, 200_000, 200_000)]
    async with (
        serving(agent, resume_log_frames=1) as server,
        away(server, *messages) as login,
        connected(server) as peer,
    ):
        await back(peer, login)
        task_id = await repeated(peer, 0)
        error = await peer.expect("error")
        assert (error["task_id"], error["code"]) == (task_id, "unknown_task")


async def test_one_repeated_before_its_replay_was_read_is_not_ended_twice() -> None:
    async with serving(agent) as server, away(server, "answer 10", "answer 20") as login, connected(server) as peer:
        assert (await back(peer, login))[0]["lossless"] is True
        for number in range(2):
            await peer.send("agent_request", message="", request_id=f"request {number}")
        await peer.send("logout")
        frames = await peer.until("logout_response")
        assert [event for event, _ in frames].count("agent_response") == 2
        assert [event for event, _ in frames].count("agent_request_received") == 4


# ---- What is kept, and what is said again ----------------------------------------------------------------------------


async def test_everything_that_is_kept_for_absent_clients_counts_and_is_bounded() -> None:
    limit = 2_000_000
    async with serving(agent, resume_memory=limit, max_tasks=100) as server:
        for _ in range(5):
            async with away(server, *["speak 0 600"] * 4, "answer 100000"):
                assert 300_000 < server.manager.budget.held <= limit


async def test_a_questions_text_counts_as_long_as_it_waits() -> None:
    async with serving(agent) as server, away(server, "ask 1 100000") as login:
        session = server.manager.sessions[login["session_id"]]
        session._log.clear()
        assert 100_000 < server.manager.budget.held < 110_000
        async with connected(server) as peer:
            response, _ = await back(peer, login)
            (task,) = response["tasks"]
            input_id = task["pending_inputs"][0]["input_id"]
            await peer.send("input_response", task_id=task["task_id"], input_id=input_id, response="")
            await peer.expect("agent_response")
            session._log.clear()
            assert server.manager.budget.held < 2000


async def test_request_ids_count_and_outlast_what_is_forgotten() -> None:
    async with serving(agent, rate_limit=None, max_tasks=200) as server, away(server, *["answer 1"] * 100) as login:
        session = server.manager.sessions[login["session_id"]]
        session._forget()
        assert 100 * 64 < server.manager.budget.held < 100_000
        async with connected(server) as peer:
            assert (await back(peer, login))[0]["lossless"] is False
            await repeated(peer, 99)
            assert (await peer.expect("error"))["code"] == "unknown_task"


async def test_what_a_session_kept_counts_no_more_when_it_has_ended() -> None:
    async with serving(agent) as server:
        async with away(server, "speak 0 100", "answer 1000", "ask 2 1000") as login, connected(server) as peer:
            await back(peer, login)
            await peer.send("logout")
            await peer.until("logout_response")
        assert server.manager.budget.held == 0


async def test_a_connection_that_is_displaced_keeps_nothing_of_what_it_has_not_read() -> None:
    async with (
        serving(agent, send_buffer=4096, close_timeout=10) as server,
        away(server, "speak 0 900") as login,
        upgraded(server.port, receive_buffer=4096) as stalled,
        upgraded(server.port, receive_buffer=4096) as newer,
    ):
        for wire in (stalled, newer):
            wire.send(text("login", **login))
            await wire.receive_event()
        (displaced,) = [link for link in server.connections if link.writer.lag == 0]
        assert displaced.transport.get_write_buffer_size() < 100_000
        assert await stalled.close_code() == 4501


async def test_a_session_is_not_said_again_without_end() -> None:
    async with serving(agent) as server, away(server, "speak 0 900") as login:
        times = 0
        while times < 100:
            times += 1
            async with connected(server) as peer:
                await peer.send("login", **login)
                event, data = await peer.receive()
            if event == "error":
                break
        assert (data["code"], data["retry_after"]) == ("rate_limited", 4.0)
        assert 16 < times < 100
        assert server.manager.sessions[login["session_id"]].client is None


async def test_a_resume_that_is_refused_has_nothing_unasked_said_to_whoever_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def think(_: str, turn: Turn) -> str:
        await turn.emit(AgentReasoning("Hm."))
        return "Yes."

    async with serving(lambda: Scripted(think=think)) as server, connected(server) as here, connected(server) as there:
        opened = await here.login(resumable=True)
        monkeypatch.setattr(Allowance, "spent", True)
        known = {name: opened[name] for name in ("session_id", "resume_token")}
        await there.send("login", features=["reasoning"], **known)
        assert (await there.expect("error"))["code"] == "rate_limited"
        await here.send("agent_request", message="think")
        assert [event for event, _ in await here.until("agent_response")] == [
            "agent_request_received",
            "agent_response",
        ]


@pytest.mark.parametrize("said", ["", "abc", "äöü", "\ud83d\ude00", "a\ud800", "\n" * 9])
def test_the_newest_part_of_a_text_is_as_long_as_may_be(said: str) -> None:
    data = said.encode(errors="surrogatepass")
    assert len(newest(data, 1000).encode()) == len(
        said.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    )
    for size in range(30):
        assert len(json.dumps(newest(data, size), ensure_ascii=False).encode()) <= max(2, size)
