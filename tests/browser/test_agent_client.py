"""``agent_client.js`` in a real browser: held to the contract by the golden frames, and to its word by a server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from agentsocket.console.files import Console
from agentsocket.protocol.frames import AnyClientFrame
from tests.browser.agents import stage
from tests.browser.link import linked
from tests.support import PATIENCE, eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

Frame = dict[str, Any]

GOLDEN = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "golden").glob("*.json"), key=lambda path: path.stem)
}
CLIENT_EVENTS = {frame.event for frame in get_args(AnyClientFrame)}
# What belongs to a login, an upload or a conversation and to no task: tested on its own.
ELSEWHERE = {
    "refresh_response",
    "error.retry_after",
    *(name for name in GOLDEN if "upload" in name),
    *("conversation", "conversations", "conversation_updated", "conversation_deleted"),
}
FEATURES = ["heartbeat", "reasoning", "progress", "data", "files"]
SENT = [name for name, frame in GOLDEN.items() if frame["event"] in CLIENT_EVENTS and name not in ELSEWHERE]
RECEIVED = [name for name, frame in GOLDEN.items() if frame["event"] not in CLIENT_EVENTS and name not in ELSEWHERE]

# What a page does to send each frame, given the frame's data.
ACTIONS = {
    "login": """({session_id, resume_token, last_seq, conversation_id, ...options}) => {
        const client = page.make({resumable: false, conversationId: conversation_id, ...options});
        return void (session_id ? client.resume({session_id, resume_token, last_seq}) : client.login());
    }""",
    "agent_request": """({message, request_id, params, attachments = []}) => void client.sendAgentRequest(
        message, {requestId: request_id, params, attachments: attachments.map((file_id) => ({file_id}))})""",
    "cancel_request": "({task_id}) => void client.cancel(task_id)",
    "input_response": "({task_id, input_id, response}) => client.answer(task_id, input_id, response)",
    "logout": "() => void client.logout()",
    "heartbeat": "() => client.wake()",
    "refresh": "({token}) => void client.login({token})",
    "list_conversations": "(page) => void client.conversations(page)",
    "get_conversation": "({conversation_id, ...page}) => void client.history(conversation_id, page)",
    "rename_conversation": "({conversation_id, title}) => void client.renameConversation(conversation_id, title)",
    "delete_conversation": "({conversation_id}) => void client.deleteConversation(conversation_id)",
}


class Puppet:
    """A server that says what the test tells it to, and nothing else."""

    def __init__(self) -> None:
        self._console = Console()
        self._heard: asyncio.Queue[Frame] = asyncio.Queue()
        self._sockets: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.server: Server

    @property
    def port(self) -> int:
        return int(next(iter(self.server.sockets)).getsockname()[1])

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        del connection
        return None if "Upgrade" in request.headers else self._console.respond(request.path)

    async def handle(self, socket: ServerConnection) -> None:
        self._sockets.put_nowait(socket)
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                self._heard.put_nowait(json.loads(text))

    async def connected(self) -> ServerConnection:
        async with asyncio.timeout(PATIENCE):
            self.socket = await self._sockets.get()
            return self.socket

    async def hears(self, event: str) -> Frame:
        """Wait for the next frame, which is to be of this event; return its data."""
        async with asyncio.timeout(PATIENCE):
            frame = await self._heard.get()
        assert frame["event"] == event, frame
        return frame

    async def say(self, name: str, **changes: Any) -> Frame:
        """Send a golden frame; return it."""
        frame = GOLDEN[name]
        frame = {**frame, "data": {**frame["data"], **changes}}
        await self.socket.send(json.dumps(frame))
        return frame


@contextlib.asynccontextmanager
async def puppet() -> AsyncIterator[Puppet]:
    puppet = Puppet()
    async with serve(puppet.handle, "127.0.0.1", 0, process_request=puppet.answer) as puppet.server:
        yield puppet


async def load(tab: "Tab", port: int) -> None:
    """Open a page that has the module and nothing else."""
    await tab.page.goto(f"http://127.0.0.1:{port}/icon.svg")
    await tab.page.evaluate(
        """async () => {
            const module = await import("/agent_client.js");
            const url = location.origin.replace("http", "ws");
            const make = (options) => (window.client = new module.AgentClient(url, options));
            // Follows a task to its end: every frame, and what was thrown.
            const follow = async (message) => {
                const frames = [];
                try { for await (const frame of client.stream(message)) frames.push(frame); }
                catch (error) {
                    const {code, errorId} = error;
                    return {frames, thrown: error.constructor.name, code, errorId};
                }
                return {frames};
            };
            window.page = {make, follow, ...module};
        }"""
    )


async def log_in(
    tab: "Tab", puppet: Puppet, answer: str = "login_response.resumable", options: str = "{}", **changes: Any
) -> None:
    await tab.page.evaluate(f"void (window.loggedIn = page.make({options}).login())")
    await puppet.connected()
    await puppet.hears("login")
    await puppet.say(answer, **changes)
    await tab.page.evaluate("window.loggedIn")


@pytest.mark.parametrize("name", SENT)
async def test_the_module_sends_each_frame_as_the_contract_has_it(tab: "Tab", name: str) -> None:
    golden = GOLDEN[name]
    async with puppet() as server:
        await load(tab, server.port)
        if golden["event"] != "login":
            ends: dict[str, Any] = {"expires_in": 3600} if golden["event"] == "refresh" else {}
            await log_in(tab, server, "login_response.terms", **ends)
        await tab.page.evaluate(f"(data) => ({ACTIONS[golden['event']]})(data)", golden["data"])
        if golden["event"] in {"cancel_request", "logout"}:
            await server.hears("heartbeat")
        heard = await server.hears(golden["event"])
        if golden["event"] == "login":
            golden = {**golden, "data": {**golden["data"], "features": FEATURES}}
        if golden["event"] == "refresh":
            golden = {**golden, "data": {**golden["data"], "request_id": heard["data"]["request_id"]}}
        if golden["event"] == "agent_request" or golden["event"].endswith(("_conversation", "_conversations")):
            golden = {**golden, "data": {**golden["data"], "request_id": heard["data"]["request_id"]}}
        assert heard == golden


async def received(tab: "Tab", server: Puppet, name: str) -> tuple[Frame, Any]:
    """Have the page told a golden frame in the middle of a task; return the frame and how the task went on."""
    await log_in(tab, server)
    await tab.page.evaluate("void (window.followed = page.follow('What time is it?'))")
    request = (await server.hears("agent_request"))["data"]
    if GOLDEN[name]["data"].get("request_id"):
        frame = await server.say(name, request_id=request["request_id"])
    else:
        await server.say("agent_request_received", request_id=request["request_id"])
        frame = await server.say(name)
    if frame["event"] not in {"agent_response", "task_cancelled", "error"}:
        if frame["event"] == "agent_request_received":
            await server.say("agent_output")
        await server.say("agent_response")
    return frame, await tab.page.evaluate("window.followed")


@pytest.mark.parametrize("name", [name for name in RECEIVED if "log" not in name])
async def test_the_module_understands_each_frame_of_a_task(tab: "Tab", name: str) -> None:
    async with puppet() as server:
        await load(tab, server.port)
        frame, went_on = await received(tab, server, name)
        match frame["event"]:
            case "error":
                data = frame["data"]
                assert went_on == {
                    "frames": [],
                    "thrown": "ServerError",
                    "code": data["code"],
                    "errorId": data.get("error_id"),
                }
            case "task_cancelled":
                assert went_on["thrown"] == "TaskCancelled"
            case "agent_request_received":
                assert [frame["event"] for frame in went_on["frames"]] == ["agent_output", "agent_response"]
            case _:
                assert went_on["frames"][0] == frame
                assert "thrown" not in went_on


@pytest.mark.parametrize("name", [name for name in RECEIVED if name.startswith("login_response")])
async def test_the_module_understands_each_answer_to_a_login(tab: "Tab", name: str) -> None:
    data = GOLDEN[name]["data"]
    async with puppet() as server:
        await load(tab, server.port)
        if "resumed" in data:
            await tab.page.evaluate(
                "(session) => void (window.loggedIn = page.make().resume({...session, last_seq: 41}))",
                {"session_id": data["session_id"], "resume_token": data["resume_token"]},
            )
            await server.connected()
            await server.hears("login")
            await server.say(name)
            await tab.page.evaluate("window.loggedIn")
        else:
            await log_in(tab, server, name)
        session = await tab.page.evaluate("client.session")
        if "resume_token" in data:
            last_seq = data.get("last_seq", 0)
            assert session == {key: data[key] for key in ("session_id", "resume_token")} | {"last_seq": last_seq}
        else:
            assert session is None


async def test_the_module_understands_the_answer_to_a_logout(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        await tab.page.evaluate("void (window.loggedOut = client.logout())")
        await server.hears("logout")
        await server.say("logout_response")
        await tab.page.evaluate("window.loggedOut")
        assert await tab.page.evaluate("[client.state.name, client.session]") == ["connected", None]


async def test_a_gap_is_bridged_with_what_the_server_says_and_marked(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        tasks = {"5f0c2a9be1d34c77": "running", "77aa": "completed", "78ab": "failed", "79ac": "unheard of"}
        follow_all = "(names) => void (window.all = Promise.all(names.map(page.follow)))"
        await tab.page.evaluate(follow_all, list(tasks.values()))
        for task_id in tasks:
            request = (await server.hears("agent_request"))["data"]
            await server.say("agent_request_received", request_id=request["request_id"], task_id=task_id)
        await server.say("agent_output.numbered", seq=5)
        await server.socket.close(4000)
        await server.connected()
        assert (await server.hears("login"))["data"]["last_seq"] == 5
        await server.say("login_response.resumed")
        await server.say("agent_output.numbered", seq=5120)  # what it says it has covered already
        await server.say("agent_output.numbered", seq=5121)
        await server.say("agent_response", seq=5122)
        running, completed, failed, unknown = await tab.page.evaluate("window.all")
        marked = [(frame["event"], frame.get("gap", False)) for frame in running["frames"]]
        assert marked == [
            ("agent_output", False),
            ("agent_output", True),
            ("input_required", True),
            ("agent_output", False),
            ("agent_response", False),
        ]
        assert [frame["event"] for frame in completed["frames"]] == ["agent_output", "agent_response"]
        assert (failed["thrown"], failed["errorId"]) == ("ServerError", "63a82063")
        assert unknown["thrown"] == "ConnectionLost"


async def test_an_unconfirmed_request_is_sent_again_under_its_own_id(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        await tab.page.evaluate("void (window.taskId = client.sendAgentRequest('once'))")
        first = await server.hears("agent_request")
        await server.socket.close(1011)
        await server.connected()
        await server.hears("login")
        await server.say("login_response.resumed", lossless=True, tasks=[])
        assert await server.hears("agent_request") == first
        await server.say("agent_request_received", request_id=first["data"]["request_id"])
        assert await tab.page.evaluate("window.taskId") == GOLDEN["agent_request_received"]["data"]["task_id"]


async def test_close_codes_are_honoured(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        outcomes = {}
        for code in (1000, 1001, 1003, 1007, 1009, 1011, 1013, 4000, 4429, 4500, 4501, 4502, 4509):
            await log_in(tab, server)
            # The page is told only when it has decided.
            await tab.page.evaluate(
                """() => void (window.decided = new Promise((done) =>
                    client.addEventListener("state", () => done(client.state.name), {once: true})))"""
            )
            await server.socket.close(code)
            outcomes[code] = await tab.page.evaluate("window.decided")
            await tab.page.evaluate("client.close()")
        waiting = {code for code, name in outcomes.items() if name == "waiting"}
        assert waiting == {1001, 1011, 1013, 4000, 4429}
        assert set(outcomes.values()) == {"waiting", "refused"}


async def test_it_backs_off_at_random_up_to_half_a_minute(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
    delays = await tab.page.evaluate(
        """() => new Promise((done) => {
            const delays = [];
            Math.random = () => 0.5;
            const client = page.make();
            client.addEventListener("state", ({ detail: { name, retryAt } }) => {
                if (name !== "waiting") return;
                delays.push((retryAt - Date.now()) / 500);
                if (delays.length === 7) { client.close(); done(delays); }
                else setTimeout(() => client.retryNow());
            });
            client.connect().catch(() => {});
        })"""
    )
    assert delays == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.1)


async def test_it_does_what_its_first_lines_say(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await load(tab, server.port)
        said = await tab.page.evaluate(
            """async () => {
                const client = page.make();
                await client.login();
                const said = [];
                for await (const { event } of client.stream("say hello")) said.push(event);
                said.push(...await Promise.all([client.ask("emit one"), client.ask("emit two")]));
                said.push(await client.ask("question text", { onInput: async ({ prompt }) => `${prompt} That.` }));
                await client.logout();
                client.close();
                return [...said, client.state.name];
            }"""
        )
        assert said == ["agent_output", "agent_response", "one", "two", "answered 'Which? That.'", "idle"]
        assert agent.closed == 1


async def test_leaving_a_stream_early_stops_its_task_and_a_cancel_tells_when_it_has_ended(tab: "Tab") -> None:
    async with stage() as (agent, server):
        await load(tab, server.port)
        agent.steps.put_nowait("first")
        await tab.page.evaluate(
            """async () => {
                await page.make().login();
                for await (const frame of client.stream("stream")) break;
            }"""
        )
        await eventually(lambda: not server.manager.running)
        await tab.page.evaluate(
            """async () => {
                window.id = await client.sendAgentRequest("resist");
                window.cancelled = false;
                client.cancel(id).then(() => { window.cancelled = true; });
            }"""
        )
        await asyncio.wait_for(agent.parked.wait(), PATIENCE)
        assert await tab.page.evaluate("window.cancelled") is False
        agent.may_stop.set()
        await tab.page.evaluate("client.cancel(id)")
        assert await tab.page.evaluate("window.cancelled") is True
        assert await tab.page.evaluate("client.ask('emit on')") == "on"


async def test_streams_go_on_across_a_cut_as_if_nothing_had_happened(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await load(tab, link.port)
        agent.steps.put_nowait("one ")
        await tab.page.evaluate(
            """async () => {
                await page.make({ firstDelay: 1 }).login();
                window.text = "";
                window.answer = (async () => {
                    for await (const { event, data } of client.stream("stream")) {
                        if (event === "agent_output") window.text += data.output;
                        if (event === "agent_response") return data.response;
                    }
                })();
            }"""
        )
        await eventually(agent.steps.empty)
        for piece in ("two ", "three "):
            link.cut()
            agent.steps.put_nowait(piece)
            await eventually(agent.steps.empty)
            link.mend()
        agent.steps.put_nowait("")
        whole = "one two three "
        assert await tab.page.evaluate("window.answer.then((answer) => [window.text, answer])") == [whole, whole]


async def test_a_session_that_the_server_lost_fails_what_ran_in_it_and_the_next_one_works(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        await load(tab, link.port)
        park = "page.make({firstDelay: 1}).login().then(() => page.follow('park'))"
        await tab.page.evaluate(f"void (window.lost = {park})")
        await asyncio.wait_for(agent.parked.wait(), PATIENCE)
        link.cut()
        (session,) = server.manager.sessions.values()
        ending = server.manager.end(session)
        assert ending is not None
        await ending
        link.mend()
        assert (await tab.page.evaluate("window.lost"))["thrown"] == "ConnectionLost"
        assert await tab.page.evaluate("client.ask('emit anew')") == "anew"


async def test_one_of_several_agents_is_asked_for_by_its_name(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate("void page.make({agent: 'helper'}).login()")
        assert (await server.hears("login"))["data"] == {
            "agent": "helper",
            "resumable": True,
            "features": FEATURES,
        }
        await tab.page.goto(f"http://127.0.0.1:{server.port}/?agent=helper")
        assert (await server.hears("login"))["data"]["agent"] == "helper"
        await server.connected()
        await server.connected()
        await server.say("login_response")
        await tab.sees(".bar h1", "helper")


async def test_a_link_that_falls_silent_is_lost_and_taken_up_again(tab: "Tab") -> None:
    async with stage(ping_interval=0.2) as (agent, server), linked(server.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({firstDelay: 1}).login()")
        await tab.page.evaluate("void (window.answer = client.ask('park'))")
        await asyncio.wait_for(agent.parked.wait(), PATIENCE)
        link.fall_silent()
        agent.gate.set()
        assert await tab.page.evaluate("window.answer") == "released"


async def test_a_link_that_is_only_quiet_stands(tab: "Tab") -> None:
    async with stage(ping_interval=0.1) as (_, server):
        await load(tab, server.port)
        beats = await tab.page.evaluate(
            """async () => {
                await page.make().login();
                const states = [], beats = [];
                client.addEventListener("state", ({ detail }) => states.push(detail.name));
                await new Promise((done) => client.addEventListener("frame", ({ detail }) => {
                    if (beats.push(detail.frame.event) === 8) done();
                }));
                return [new Set(beats).size, beats[0], states.length];
            }"""
        )
        assert beats == [1, "heartbeat", 0]


@pytest.mark.parametrize("event", ["online", "pageshow", "visibilitychange"])
async def test_a_page_that_wakes_up_finds_out_at_once_whether_its_link_is_dead(tab: "Tab", event: str) -> None:
    async with stage(ping_interval=600) as (_, server), linked(server.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({firstDelay: 1, probePatience: 100}).login()")
        link.fall_silent()
        where = "document" if event == "visibilitychange" else "window"
        wake = f"void {where}.dispatchEvent(new Event('{event}'))"
        await tab.page.evaluate(
            f"""() => new Promise((done) => {{
                client.addEventListener("state", ({{ detail }}) => detail.name === "ready" && done());
                {wake};
            }})"""
        )
        assert await tab.page.evaluate("client.ask('emit again')") == "again"


async def test_a_page_that_wakes_up_with_its_link_alive_keeps_it(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server, "login_response.terms")
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        assert await server.hears("heartbeat") == GOLDEN["heartbeat"]
        await server.say("heartbeat")
        await tab.page.evaluate("void client.sendAgentRequest('on')")
        await server.hears("agent_request")


async def test_an_older_server_is_sent_nothing_that_it_does_not_know(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await tab.page.evaluate("void client.cancel('77aa')")
        await server.hears("cancel_request")


QUICK = "{firstDelay: 1, slowPatience: 500, probePatience: 300}"


@pytest.mark.parametrize("terms", ["login_response.terms", "login_response.resumable"])
@pytest.mark.parametrize(
    ("action", "request_event", "answer"),
    [
        ("client.cancel('5f0c2a9be1d34c77')", "cancel_request", "task_cancelled"),
        ("client.logout()", "logout", "logout_response"),
    ],
)
async def test_a_stop_and_a_logout_on_a_dead_link_go_to_the_next_connection(
    tab: "Tab", terms: str, action: str, request_event: str, answer: str
) -> None:
    features = GOLDEN[terms]["data"].get("features", [])

    async def asked(server: Puppet) -> None:
        for event in [*features, request_event]:
            await server.hears(event)

    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate(f"void (window.loggedIn = page.make({QUICK}).login())")
        await server.connected()
        await server.hears("login")
        await server.say(terms, resumable=True, resume_token="secret")
        await tab.page.evaluate("window.loggedIn")
        await tab.page.evaluate(f"void (window.done = {action})")
        await asked(server)
        await server.connected()  # since nothing was said to that
        await server.hears("login")
        await server.say("login_response.resumed", lossless=True, tasks=[], features=features)
        await asked(server)
        await server.say(answer)
        await tab.page.evaluate("window.done")


async def test_a_login_without_an_answer_is_tried_on_another_connection(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate(f"void (window.loggedIn = page.make({QUICK}).login())")
        for _ in range(2):
            await server.connected()
            await server.hears("login")
        await server.say("login_response")
        await tab.page.evaluate("window.loggedIn")


async def test_what_is_too_long_for_the_server_is_refused_before_it_is_sent(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server, "login_response.terms")
        refused = await tab.page.evaluate(
            """async () => {
                const why = (error) => [error.constructor.name, error.limit, error.size];
                const long = "é".repeat(131072); // one byte for each of its halves, and the frame round it
                const tries = [
                    client.sendAgentRequest(long), client.ask(long), (async () => client.check(long))(),
                    (async () => client.answer("77aa", "9d3e", { reason: long }))(),
                    (async () => client.sendText(long))(),
                ];
                return Promise.all(tries.map((one) => one.then(() => "sent", why)));
            }"""
        )
        assert [one[:2] for one in refused[:4]] == [["MessageTooBig", 262144]] * 4
        assert all(size > 262144 for _, _, size in refused[:4])
        assert refused[4] == "sent"  # it is the limit to the byte
        await server.socket.close(1011)


async def test_an_agent_that_is_not_there_is_not_tried_for_ever(tab: "Tab") -> None:
    async with stage() as (_, server):
        await load(tab, server.port)
        state = await tab.page.evaluate(
            "page.make({agent: 'typo'}).login().then(() => null, (error) => [error.code, client.state])"
        )
        assert state[0] == "agent_unavailable"
        assert state[1]["name"] == "refused"
        assert state[1]["agents"] == [{"name": "agent"}]


# A token that is another one each time that it is asked for, and text that stays the same.
NEW_TOKENS = "{firstDelay: 1, token: async () => `token ${window.asked = (window.asked ?? 0) + 1}`}"


async def refreshed(server: Puppet, token: str, **answer: Any) -> None:
    refresh = (await server.hears("refresh"))["data"]
    assert refresh["token"] == token
    await server.say(answer.pop("name", "refresh_response"), request_id=refresh["request_id"], **answer)


async def test_a_token_is_asked_for_at_each_connection_and_before_the_login_ends(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate(f"void (window.loggedIn = page.make({NEW_TOKENS}).login())")
        await server.connected()
        assert (await server.hears("login"))["data"]["token"] == "token 1"
        await server.say("login_response.resumable", user={"id": "ada", "name": "Ada"}, expires_in=1)
        await tab.page.evaluate("window.loggedIn")
        assert await tab.page.evaluate("[client.user, client.expiresIn]") == [{"id": "ada", "name": "Ada"}, 1]
        await refreshed(server, "token 2", expires_in=2)
        await refreshed(server, "token 3", expires_in=3600)
        await server.socket.close(4401)
        await server.connected()
        assert (await server.hears("login"))["data"]["token"] == "token 4"


async def test_a_token_that_cannot_be_had_is_final_at_first_and_a_failed_attempt_later(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate("""() => {
            window.working = false;
            window.token = async () => {
                if (!working) { window.working = true; throw new Error("Log in first."); }
                return "right";
            };
        }""")
        why = await tab.page.evaluate("page.make({firstDelay: 1, token}).login().catch((error) => error.message)")
        assert (why, await tab.page.evaluate("client.state.name")) == ("Log in first.", "refused")
        await server.connected()
        await log_in(tab, server, options="{firstDelay: 1, token}")
        await tab.page.evaluate("() => { window.working = false; }")
        await server.socket.close(1011)
        await server.connected()
        await server.connected()
        login = (await server.hears("login"))["data"]
        assert (login["token"], login["session_id"]) == (
            "right",
            GOLDEN["login_response.resumable"]["data"]["session_id"],
        )


async def test_a_refused_refresh_is_told_and_another_token_goes_on(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate("void (window.loggedIn = page.make({token: 'old'}).login())")
        await server.connected()
        await server.hears("login")
        await tab.page.evaluate(
            """void (window.expiring = new Promise((done) =>
                client.addEventListener("expiring", ({detail}) => done([detail.code, detail.retryAfter]))))"""
        )
        await server.say("login_response.resumable", expires_in=1)
        await refreshed(server, "old", name="error.frame", code="authentication_failed", retry_after=7)
        assert await tab.page.evaluate("window.expiring") == ["authentication_failed", 7]
        await tab.page.evaluate("void (window.renewed = client.login({token: 'new'}))")
        await refreshed(server, "new", expires_in=60)
        await tab.page.evaluate("window.renewed")
        assert await tab.page.evaluate("[client.expiresIn, client.state.name]") == [60, "ready"]


async def test_a_login_without_a_token_is_renewed_by_another_connection(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server, expires_in=1)
        await server.connected()
        assert (await server.hears("login"))["data"]["session_id"]


@pytest.mark.parametrize("code", ["rate_limited", "authentication_unavailable"])
async def test_a_login_that_is_to_wait_is_tried_again_when_the_server_says(tab: "Tab", code: str) -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await tab.page.evaluate("void (window.loggedIn = page.make({firstDelay: 1}).login())")
        await server.connected()
        await server.hears("login")
        await server.say("error.retry_after", code=code, retry_after=0.2)
        await server.connected()
        await server.hears("login")
        await server.say("login_response")
        await tab.page.evaluate("window.loggedIn")


async def test_an_error_tells_whose_limit_it_is_and_how_long(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        await tab.page.evaluate(
            "void (window.why = client.ask('on', {params: {a: 1}}).catch((e) => [e.retryAfter, e.scope]))"
        )
        request = (await server.hears("agent_request"))["data"]
        assert request["params"] == {"a": 1}
        await server.say("error.retry", request_id=request["request_id"], retry_after=3)
        assert await tab.page.evaluate("window.why") == [3, "user"]
