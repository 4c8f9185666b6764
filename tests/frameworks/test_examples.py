"""The examples, served as their users serve them: `--agent`, a process of its own, a client on a socket."""

import pytest
from websockets.asyncio.client import connect

from tests.frameworks.model_server import ModelServer
from tests.server_process import ROOT, server_process
from tests.support import Peer


async def test_an_example_talks_calls_a_tool_and_asks_before_it_books(
    framework: str, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{models.url}/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", models.url)
    agent = f"{ROOT / 'examples' / f'with_{framework}.py'}:agent"
    async with server_process(agent=agent) as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
        peer = Peer(socket)
        await peer.login()
        await peer.request("weather(Oslo) then say")
        frames = await peer.until("agent_response", "error")
        assert [event for event, _ in frames[:2]] == ["tool_call", "tool_result"], server.log
        assert frames[1][1]["tool_name"] == "weather"
        assert frames[1][1]["tool_output"] == "Oslo: 7 degrees, light rain"
        assert frames[1][1]["tool_call_id"] == frames[0][1]["tool_call_id"]
        said = "".join(data["output"] for event, data in frames if event == "agent_output")
        assert said == frames[-1][1]["response"] == "Heard: [weather(Oslo) then say]"

        await peer.request("book_flight(Bergen) then say")
        question = (await peer.until("input_required"))[-1][1]
        await peer.send("input_response", task_id=question["task_id"], input_id=question["input_id"], response="yes")
        frames = await peer.until("agent_response", "error")
        assert [data["tool_output"] for event, data in frames if event == "tool_result"] == [
            "A seat to Bergen is booked."
        ]
        assert "weather(Oslo)" in frames[-1][1]["response"]

        task_id = await peer.request("hold")
        await peer.until("agent_output")
        await peer.send("cancel_request", task_id=task_id)
        assert (await peer.until("task_cancelled"))[-1][1]["task_id"] == task_id
        await models.hung_up.wait()
