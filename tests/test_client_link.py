"""A connection of the client that can be trusted: silence, deadlines, sizes, proxies; and which agent it leads to."""

import asyncio
from typing import Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.client.address import is_here, proxy_for
from agentsocket.client.client import WebSocketClient
from agentsocket.client.errors import ConnectionLost, MessageTooLong, NoAnswer, ServerError
from agentsocket.protocol import frames
from agentsocket.protocol.codec import encode
from agentsocket.protocol.frames import InputRequiredFrame
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.clients import asking, spawn, talkative, talking, texts
from tests.scripted_server import Wire, listening
from tests.support import PATIENCE, Scripted, serving


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for nothing longer than a moment."""
    for name in ("link.ANSWER_WITHIN", "link.PROBE_WITHIN", "reader.ANSWER_WITHIN"):
        monkeypatch.setattr(f"agentsocket.client.{name}", 0.1)


def black_hole(wire: Wire) -> None:
    """Have the line die without a word: nothing is read, nothing is said, and nothing is closed."""
    wire.socket.transport.pause_reading()


async def test_a_login_names_the_features_of_the_client() -> None:
    async with listening() as line:
        client = line.client()
        await client.connect()
        login = spawn(client.login())
        wire = await line.wires.get()
        assert await wire.expect("login") == {"features": ["heartbeat", "reasoning", "progress", "data", "files"]}
        await wire.send("login_response", session_id="s", status="success")
        await login
        await client.close()


@pytest.mark.parametrize(("features", "said"), [(None, {}), ([], {"features": []}), (["data"], {"features": ["data"]})])
async def test_a_client_may_want_less(features: list[str] | None, said: dict[str, Any]) -> None:
    async with listening() as line:
        client = line.client(features=features)
        await client.connect()
        login = spawn(client.login())
        wire = await line.wires.get()
        assert await wire.expect("login") == said
        await wire.send("login_response", session_id="s", status="success")
        await login
        await client.close()


async def test_silence_beyond_two_and_a_half_heartbeats_is_a_lost_connection() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, features=["heartbeat"], heartbeat=0.1)
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        with pytest.raises(ConnectionLost, match="nothing was heard of the server"):
            await asked
        await client.close()


async def test_a_resumable_session_survives_a_link_that_dies_without_a_word() -> None:
    async with listening() as line:
        client, wire = await line.resumable(features=["heartbeat"], heartbeat=0.1)
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        black_hole(wire)
        again, _ = await line.resumed(last_seq=1)
        await again.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_a_server_that_beats_is_waited_for_and_its_heartbeats_are_nobodys_frames() -> None:
    async with asyncio.timeout(PATIENCE), serving(lambda: agent, ping_interval=0.1) as server:
        agent, shown = Scripted(), list[str]()
        async with WebSocketClient(f"ws://127.0.0.1:{server.port}") as client:
            assert client._reader.session is not None
            assert client._reader.session.heartbeat == 0.1
            listener, asked = spawn(client.listen_for_events(shown.append)), spawn(client.ask("park"))
            await agent.parked.wait()
            await asyncio.sleep(0.6)  # the silence itself: more than twice what would be the end
            agent.gate.set()
            assert await asked == "released"
            await client.close()
            await listener
    assert not any('"heartbeat"' in line for line in shown)


async def test_a_client_that_holds_back_what_comes_does_not_take_that_for_silence() -> None:
    async with listening() as line:
        client = line.client()
        client.max_behind, client.patience = 1, 0.6
        wire = await line.log_in(client, features=["heartbeat"], heartbeat=0.1)
        slow = client.stream("slow")
        first = spawn(anext(slow))
        await wire.accept("t1")
        for number in range(100):
            await wire.send("agent_output", task_id="t1", output=f"{number} " * 1000)
        await first
        assert await wire.expect("cancel_request") == {"task_id": "t1"}  # after its patience, not after a silence
        await client.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", ["login", "logout", "cancel_request", "send_agent_request"])
async def test_every_frame_that_has_an_answer_has_a_deadline(call: str) -> None:
    async with listening() as line:
        client = line.client()
        if call == "login":
            await client.connect()
            wire = await line.wires.get()
        else:
            wire = await line.log_in(client)
        black_hole(wire)
        with pytest.raises(ConnectionLost, match="nothing was heard of the server"):
            await getattr(client, call)(*("x" for _ in range("request" in call)))
        await client.close()


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_lives_and_does_not_answer_is_probed_and_then_waited_for_no_longer() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, features=["heartbeat"], heartbeat=15)
        asked = spawn(client.ask("x"))
        request = await wire.expect("agent_request")
        await wire.expect("heartbeat")
        await wire.send("heartbeat")
        with pytest.raises(NoAnswer):
            await asked
        # The connection goes on; and a task that is confirmed after all is stopped, for nobody knows it.
        await wire.send("agent_request_received", task_id="t1", request_id=request["request_id"])
        assert await wire.expect("cancel_request") == {"task_id": "t1"}
        await wire.send("task_cancelled", task_id="t1")
        await client.close()


@pytest.mark.usefixtures("impatient")
async def test_an_older_server_is_probed_with_what_it_knows() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        asked = spawn(client.send_agent_request("x"))
        await wire.expect("agent_request")
        with pytest.raises(NoAnswer):
            await asked  # it answers pings, as any server does
        leaving = spawn(client.logout())
        await wire.expect("logout")
        await wire.send("error", code="unknown_event", message="There is no event 'heartbeat'.")
        await wire.send("logout_response", status="success")
        await leaving
        await client.close()


@pytest.mark.usefixtures("impatient")
async def test_a_logout_that_takes_its_time_is_not_taken_for_a_dead_link() -> None:
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client, features=["heartbeat"], heartbeat=15)
        leaving = spawn(client.logout())
        await wire.expect("logout")
        with pytest.raises(NoAnswer):
            await leaving  # a server reads nothing meanwhile, no heartbeat either; the ping was answered
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        await wire.send("agent_response", task_id="t1", response="y")
        assert await asked == "y"
        await client.close()


@pytest.mark.usefixtures("impatient")
async def test_a_resume_that_is_not_answered_is_tried_again() -> None:
    async with listening() as line:
        client, wire = await line.resumable()
        asked = spawn(client.ask("x"))
        await wire.accept("t1", seq=1)
        wire.drop()
        await (await line.wires.get()).expect("login")
        wire, _ = await line.resumed(last_seq=1)
        await wire.send("agent_response", task_id="t1", response="y", seq=2)
        assert await asked == "y"
        await client.close()


async def test_the_work_of_a_task_has_no_deadline(impatient: None) -> None:  # noqa: ARG001
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        asked = spawn(client.ask("x"))
        await wire.accept("t1")
        await asyncio.sleep(0.5)  # the work itself
        await wire.send("agent_response", task_id="t1", response="y")
        assert await asked == "y"
        await client.close()


async def test_closing_a_link_that_is_dead_takes_no_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsocket.client.link.CLOSE_WITHIN", 0.1)
    async with listening() as line:
        client = line.client()
        wire = await line.log_in(client)
        black_hole(wire)
        sending = spawn(client.answer("t1", "i1", "x" * 20_000_000))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await client.close()
        await sending


@pytest.mark.parametrize("text", ["x" * 1000, "\u00e9" * 500], ids=["letters", "bytes"])
async def test_a_message_that_is_too_long_is_refused_here_and_everything_else_goes_on(text: str) -> None:
    agent = talkative()
    agent.scripts["asking"] = asking
    async with talking(agent, {"max_message_size": 1000}) as client:
        stream = client.stream("asking")
        first = await anext(stream)
        assert isinstance(first, InputRequiredFrame)
        for call in (
            client.ask(text),
            client.send_agent_request(text),
            client.answer(first.task_id, first.input_id, text),
        ):
            with pytest.raises(MessageTooLong, match=r"1,\d{3} bytes.* 1,000"):
                await call
        await client.answer(first.task_id, first.input_id, "ok")
        assert texts([event async for event in stream]) == ["you said ok"]


async def test_a_message_of_exactly_the_servers_size_is_taken() -> None:
    async with talking(Scripted(), {"max_message_size": 1000}) as client:
        rest = len(encode(frames.AgentRequest(message="", request_id="0" * 32)))
        assert len(await client.ask("x" * (1000 - rest))) == 1000 - rest
        with pytest.raises(MessageTooLong):
            await client.ask("x" * (1001 - rest))
        assert await client.ask("still") == "still"


async def test_an_answer_of_on_input_that_is_too_long_is_told_by_the_stream() -> None:
    async with talking(Scripted(asking=asking), {"max_message_size": 1000}, on_input=lambda _: "x" * 1000) as client:
        with pytest.raises(MessageTooLong):
            await client.ask("asking")
        assert await client.ask("next") == "next"


# ---- Which agent -----------------------------------------------------------------------------------------------------


async def test_of_several_agents_one_is_chosen_by_its_name() -> None:
    async def greet(_: str, _turn: Turn) -> str:
        return "at the desk"

    agents = {"shop": Scripted, "desk": lambda: Scripted(hello=greet)}
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with asyncio.timeout(PATIENCE), AgentServer(settings, agents) as server:
        uri = f"ws://127.0.0.1:{server.port}"
        async with WebSocketClient(uri, agent="desk") as client:
            assert await client.ask("hello") == "at the desk"
        async with WebSocketClient(uri) as client:
            assert await client.ask("hello") == "hello"
        with pytest.raises(ServerError, match="shop, desk") as refused:
            await WebSocketClient(uri, agent="typo").__aenter__()
        assert refused.value.code == "agent_unavailable"


async def test_the_client_tells_which_agent_it_has_and_which_there_are() -> None:
    async with listening() as line:
        client = line.client(agent="desk")
        assert client.agent is None
        await line.log_in(client, agent={"name": "desk", "title": "Desk"}, agents=[{"name": "desk"}, {"name": "shop"}])
        assert client.agent is not None
        assert (client.agent.name, client.agent.title) == ("desk", "Desk")
        assert [card.name for card in client.agents] == ["desk", "shop"]
        await client.close()
        assert client.agents == []


# ---- The way there ---------------------------------------------------------------------------------------------------


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names a proxy, where nobody listens."""
    for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://ada:s3cret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.usefixtures("proxied")
async def test_no_proxy_stands_between_a_client_and_its_own_machine() -> None:
    async with (
        asyncio.timeout(PATIENCE),
        serving() as server,
        WebSocketClient(f"ws://localhost:{server.port}") as client,
    ):
        assert await client.ask("hello") == "hello"


@pytest.mark.parametrize(
    "uri",
    [
        "ws://localhost",
        "ws://LOCALHOST.:1",
        "ws://agent.localhost:1",
        "wss://127.0.0.1:1/x",
        "ws://127.8.9.1",
        "ws://[::1]:8765",
        "ws://[::ffff:127.0.0.1]",
        "ws://0.0.0.0:8765",
        "ws://user:word@localhost/",
    ],
)
def test_an_address_of_this_machine_is_known_as_such(uri: str) -> None:
    assert is_here(uri)


@pytest.mark.parametrize("uri", ["ws://example.org", "ws://localhost.example.org", "ws://10.0.0.1", "ws://[fe80::1]"])
def test_an_address_elsewhere_is_known_as_such(uri: str) -> None:
    assert not is_here(uri)


@pytest.mark.usefixtures("proxied")
async def test_elsewhere_the_error_names_the_proxy_and_no_secret() -> None:
    with pytest.raises(ConnectionLost) as lost:
        await WebSocketClient("ws://eve:w0rd@example.invalid:8765/path?token=t0ken").connect()
    assert "ws://example.invalid:8765/path through the proxy http://127.0.0.1:9" in str(lost.value)
    assert not any(secret in str(lost.value) for secret in ("s3cret", "ada", "eve", "w0rd", "t0ken"))


async def test_what_is_no_address_is_told_without_its_secrets() -> None:
    with pytest.raises(ConnectionLost, match=r"answers at htp://example\.invalid:8765: ") as lost:
        await WebSocketClient("htp://eve:w0rd@example.invalid:8765").connect()
    assert "w0rd" not in str(lost.value)


@pytest.mark.usefixtures("proxied")
async def test_no_proxy_of_the_environment_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.invalid")
    assert proxy_for("ws://example.invalid:8765") is None
    assert proxy_for("wss://example.org") == "http://ada:s3cret@127.0.0.1:9"
