"""A resumable session outlives its connection, and no gap is ever silent."""

import asyncio
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, InputRequired
from tests.support import Peer, Scripted, connected, eventually, logged_in, serving


def resume(opened: dict[str, Any], last_seq: int) -> dict[str, Any]:
    return {"session_id": opened["session_id"], "resume_token": opened["resume_token"], "last_seq": last_seq}


async def count(rest: str, turn: Turn) -> str:
    for number in range(int(rest)):
        await turn.emit(AgentOutput(output=f"{number} "))
    return "counted"


async def drop(peer: Peer) -> None:
    peer.socket.transport.abort()
    await peer.socket.wait_closed()


async def test_a_resumable_session_numbers_every_frame_and_no_other_does() -> None:
    async with serving(lambda: Scripted(count=count)) as server, connected(server) as peer:
        opened = await peer.login(resumable=True)
        assert opened["resumable"] is True
        assert "seq" not in opened
        await peer.request("count 3")
        frames = await peer.until("agent_response")
        await peer.send("cancel_request", task_id="gone")
        frames.append(await peer.receive())
        await peer.send("logout")
        frames.append(await peer.receive())
        assert [data["seq"] for _, data in frames] == list(range(2, 8))
        await peer.login()
        await peer.request("hello")
        assert "seq" not in await peer.expect("agent_response")


async def test_a_task_runs_on_without_its_client_and_nothing_of_it_is_lost() -> None:
    agent = Scripted(count=count)
    async with serving(lambda: agent) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            await peer.request("park")
            running = await peer.request("count 3")
            await peer.expect("agent_output")
            await drop(peer)
        agent.gate.set()
        await eventually(lambda: not server.manager.running)
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=3))
            assert (answer["resumed"], answer["lossless"], answer["last_seq"]) == (True, True, 7)
            frames = [await peer.receive() for _ in range(4)]
            assert [data["seq"] for _, data in frames] == [4, 5, 6, 7]
            assert "".join(data["output"] for event, data in frames if event == "agent_output") == "1 2 "
            assert {data["response"] for event, data in frames if event == "agent_response"} == {"counted", "released"}
            assert running in {data["task_id"] for _, data in frames}
            assert await peer.ask("hello") == "hello"


async def test_a_gap_is_told_and_the_snapshot_fills_it() -> None:
    agent = Scripted(count=count)
    async with serving(lambda: agent, resume_log_frames=4) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            parked = await peer.request("park")
            await drop(peer)
        session = server.manager.sessions[opened["session_id"]]
        finished = session._start(_request("count 50"))
        await eventually(lambda: len(session.tasks) == 1)
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=1))
            assert (answer["lossless"], answer["last_seq"]) == (False, 52)
            assert answer["tasks"] == [
                {
                    "task_id": finished,
                    "status": "completed",
                    "output": "".join(f"{number} " for number in range(50)),
                    "response": "counted",
                    "pending_inputs": [],
                },
                {"task_id": parked, "status": "running", "output": "", "pending_inputs": []},
            ]
            agent.gate.set()
            live = await peer.expect("agent_response")
            assert (live["task_id"], live["seq"]) == (parked, 53)


def _request(message: str) -> Any:
    from agentsocket.protocol.frames import AgentRequest  # noqa: PLC0415  # only here, for a request that no socket brought

    return AgentRequest(message=message)


async def test_a_question_survives_the_break_under_its_id() -> None:
    async def ask(_: str, turn: Turn) -> str:
        return str(await turn.ask(InputRequired(prompt="Well?")))

    async with serving(lambda: Scripted(ask=ask, count=count), resume_log_frames=1) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            task_id = await peer.request("ask")
            question = await peer.expect("input_required")
            await peer.request("count 3")
            await drop(peer)
        await eventually(lambda: len(server.manager.running) == 1)
        async with connected(server) as peer:
            answer = await peer.login(**resume(opened, last_seq=2))
            assert answer["lossless"] is False
            (waiting,) = [task for task in answer["tasks"] if task["status"] == "running"]
            assert [each["input_id"] for each in waiting["pending_inputs"]] == [question["input_id"]]
            await peer.send("input_response", task_id=task_id, input_id=question["input_id"], response="so")
            assert (await peer.expect("agent_response"))["response"] == "so"


async def test_the_newest_connection_wins() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server, connected(server) as old, connected(server) as new:
        opened = await old.login(resumable=True)
        await old.request("park")
        assert (await new.login(**resume(opened, last_seq=1)))["lossless"] is True
        assert await old.closed() == 4501
        agent.gate.set()
        assert (await new.expect("agent_response"))["seq"] == 2
        assert server.manager.sessions[opened["session_id"]].client is not None


@pytest.mark.parametrize(
    "wrong", [{"resume_token": "guessed"}, {"resume_token": "gütig"}, {"session_id": "unknown"}, {"resume_token": None}]
)
async def test_whatever_is_wrong_with_a_resume_the_answer_is_the_same(wrong: dict[str, str | None]) -> None:
    async with serving() as server, connected(server) as owner, connected(server) as thief:
        opened = await owner.login(resumable=True)
        data = {name: value for name, value in {**resume(opened, 0), **wrong}.items() if value is not None}
        await thief.send("login", **data)
        error = await thief.expect("error")
        assert error == {"code": "session_not_found", "message": "There is no such session to take up."}
        assert await owner.ask("hello") == "hello"


@pytest.mark.parametrize("last_seq", [2, -1, "1", 2**63, 1.5])
async def test_a_last_seq_that_was_never_given_out_is_refused_and_harms_nothing(last_seq: Any) -> None:
    async with serving() as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            await peer.request("park")
            await drop(peer)
        async with connected(server) as peer:
            await peer.send("login", **resume(opened, last_seq))
            error = await peer.expect("error")
            assert error["code"] == "invalid_frame"
            assert "last_seq" in error["message"]
            assert (await peer.login(**resume(opened, 1)))["lossless"] is True


async def test_a_session_that_nobody_comes_back_to_ends() -> None:
    agent = Scripted()
    async with serving(lambda: agent, resume_window=0.05) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            await peer.request("park")
            await drop(peer)
        await asyncio.wait_for(agent.cancelled.wait(), 10)
        await eventually(lambda: agent.closed == 1)
        async with connected(server) as peer:
            await peer.send("login", **resume(opened, 1))
            assert (await peer.expect("error"))["code"] == "session_not_found"


async def test_logout_ends_a_resumable_session_at_once() -> None:
    async with serving() as server, connected(server) as peer:
        opened = await peer.login(resumable=True)
        await peer.send("logout")
        await peer.expect("logout_response")
        await peer.send("login", **resume(opened, 0))
        assert (await peer.expect("error"))["code"] == "session_not_found"
        assert server.manager.budget.held == 0


async def test_a_session_that_is_not_resumable_ends_with_its_connection() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server:
        async with logged_in(server) as peer:
            await peer.request("park")
            await drop(peer)
        await asyncio.wait_for(agent.cancelled.wait(), 10)
        await eventually(lambda: agent.closed == 1 and not server.manager.sessions)


async def test_what_all_logs_hold_is_bounded_and_the_oldest_absent_client_pays_first() -> None:
    async with serving(lambda: Scripted(count=count), resume_memory=20_000) as server:
        opened = []
        for _ in range(3):
            async with connected(server) as peer:
                opened.append(await peer.login(resumable=True))
                await peer.request("count 90")
                await peer.until("agent_response")
                await drop(peer)
        await eventually(lambda: all(session.client is None for session in server.manager.sessions.values()))
        assert server.manager.budget.held <= 20_000
        async with connected(server) as peer:
            assert (await peer.login(**resume(opened[0], 0)))["lossless"] is False
        async with connected(server) as peer:
            assert (await peer.login(**resume(opened[2], 0)))["lossless"] is True


async def test_a_request_sent_again_after_a_break_does_not_run_twice() -> None:
    agent = Scripted()
    async with serving(lambda: agent) as server:
        async with connected(server) as peer:
            opened = await peer.login(resumable=True)
            task_id = await peer.request("park", request_id="once")
            await drop(peer)
        async with connected(server) as peer:
            await peer.login(**resume(opened, 1))
            assert await peer.request("park", request_id="once") == task_id
            assert agent.runs == ["park"]
