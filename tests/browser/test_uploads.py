"""``agent_client.js`` in a real browser: files to and from an agent, by the golden frames and with a server."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput
from tests.browser.agents import Stage, stage
from tests.browser.link import linked
from tests.browser.test_agent_client import FEATURES, GOLDEN, Frame, Puppet, load, log_in, puppet
from tests.browser.test_attachments import files_in, reads
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

DATA = bytes(i % 251 for i in range(1_000_000))
# A file of the same bytes, as a page makes it.
FILE = "new File([Uint8Array.from({length: 1e6}, (_, i) => i % 251)], 'big.bin', {type: 'application/x-big'})"
SMALL = "new File(['a,b\\n1,2\\n3,4'], 'sales.csv', {type: 'text/csv'})"
LOG_IN = "page.make({firstDelay: 1}).login()"


async def ready(tab: "Tab", server: Puppet) -> None:
    await load(tab, server.port)
    await log_in(tab, server, "login_response.terms", features=FEATURES, resumable=True, resume_token="secret")


async def started(tab: "Tab", server: Puppet, action: str) -> str:
    """Have the page begin to upload the small file; return the ``upload_id``."""
    await tab.page.evaluate(action)
    start = await server.hears("upload_start")
    upload_id: str = start["data"]["upload_id"]
    assert start == like("upload_start", upload_id)
    return upload_id


def like(name: str, upload_id: str) -> Frame:
    """Return a golden frame with another upload's id."""
    return {**GOLDEN[name], "data": {**GOLDEN[name]["data"], "upload_id": upload_id}}


async def test_a_file_goes_as_the_contract_has_it(tab: "Tab") -> None:
    async with puppet() as server:
        await ready(tab, server)
        action = (
            f"void (window.uploading = client.upload({SMALL}, {{onProgress: ({{received}}) => seen.push(received)}}))"
        )
        await tab.page.evaluate("window.seen = []")
        upload_id = await started(tab, server, action)
        await server.say("upload_progress", upload_id=upload_id)
        assert await server.hears("upload_chunk") == like("upload_chunk", upload_id)
        await server.say("upload_complete", upload_id=upload_id)
        await tab.page.evaluate(
            "uploading.then((upload) => void client.sendAgentRequest('Read it.', {attachments: [upload]}))"
        )
        request = (await server.hears("agent_request"))["data"]
        assert request["attachments"] == [GOLDEN["upload_complete"]["data"]["file_id"]]
        assert await tab.page.evaluate("seen") == [0, 11]


async def test_a_refused_file_rejects_and_so_does_the_request_that_it_was_for(tab: "Tab") -> None:
    async with puppet() as server:
        await ready(tab, server)
        why = "(error) => [error.constructor.name, error.code]"
        for action in (f"client.upload({SMALL})", f"client.ask('Read it.', {{attachments: [{SMALL}]}})"):
            upload_id = await started(tab, server, f"void (window.refused = {action}.catch({why}))")
            await server.say("error.upload", upload_id=upload_id)
            assert await tab.page.evaluate("refused") == ["ServerError", "file_too_large"]


async def test_a_file_is_given_up_by_its_signal_also_when_it_is_there(tab: "Tab") -> None:
    async with puppet() as server:
        await ready(tab, server)
        for complete in (False, True):
            await tab.page.evaluate("() => { window.control = new AbortController(); }")
            action = f"client.upload({SMALL}, {{signal: control.signal}}).then(() => 'there', (error) => error.name)"
            upload_id = await started(tab, server, f"void (window.given = {action})")
            await server.say("upload_complete" if complete else "upload_progress", upload_id=upload_id)
            if complete:
                assert await tab.page.evaluate("given") == "there"
            else:
                await server.hears("upload_chunk")
            await tab.page.evaluate("control.abort()")
            assert await server.hears("upload_cancel") == like("upload_cancel", upload_id)
            assert await tab.page.evaluate("given") == ("there" if complete else "AbortError")


async def test_a_piece_that_was_dropped_or_is_not_where_it_should_be_is_asked_about_and_sent_again(tab: "Tab") -> None:
    async with puppet() as server:
        await ready(tab, server)
        await tab.page.evaluate(f"void (window.uploading = client.upload({FILE}))")
        upload_id = (await server.hears("upload_start"))["data"]["upload_id"]
        await server.say("upload_progress", upload_id=upload_id)
        first, second = [(await server.hears("upload_chunk"))["data"]["offset"] for _ in range(2)]
        assert first == 0
        await server.say("error.upload", upload_id=upload_id, code="rate_limited", retry_after=0.1)
        await server.say("upload_progress", upload_id=upload_id)  # the second was not where it should be
        await server.hears("upload_start")
        await server.say("upload_progress", upload_id=upload_id)
        assert [(await server.hears("upload_chunk"))["data"]["offset"] for _ in range(2)] == [0, second]
        # Somebody else has gone on with it: no error either, but to be asked about.
        for _ in range(2):
            await server.say("upload_progress", upload_id=upload_id, received=0)
        await server.hears("upload_start")
        await server.say("upload_progress", upload_id=upload_id, received=999_999)
        assert (await server.hears("upload_chunk"))["data"]["offset"] == 999_999
        await server.say("upload_complete", upload_id=upload_id)
        assert await tab.page.evaluate("uploading.then(({received}) => received)") == 1_000_000


async def test_a_server_that_takes_no_files_is_sent_none(tab: "Tab") -> None:
    async with puppet() as server:
        await load(tab, server.port)
        await log_in(tab, server)
        why = await tab.page.evaluate(f"client.upload({SMALL}).catch((error) => error.message)")
        assert why == "This server takes no files."


@pytest.mark.parametrize(
    "settings", [{}, {"max_message_size": 4096, "rate_limit": None}, {"rate_limit": 20, "rate_burst": 5}]
)
async def test_a_file_arrives_whole_whatever_the_limits(tab: "Tab", settings: dict[str, Any]) -> None:
    size = 60_000 if "max_message_size" in settings else len(DATA)
    async with stage(**settings) as (agent, server):
        read = reads(agent)
        await load(tab, server.port)
        steps = await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                const steps = [];
                const onUpload = ({{received}}) => steps.push(received);
                await client.ask("read it", {{attachments: [{FILE}.slice(0, {size})], onUpload}});
                return steps;
            }}"""
        )
        assert list(read[0].values()) == [DATA[:size]]
        assert steps == sorted(steps)
        assert steps[-1] == size


async def test_a_file_goes_on_over_breaks_and_begins_anew_in_a_new_session(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        read = reads(agent)
        await load(tab, link.port)
        await tab.page.expose_function("cut", link.cut)
        await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                window.heard = [];
                window.breaks = 2;
                const onUpload = ({{received}}) => {{
                    heard.push(received);
                    if (heard.length > 6 * (3 - breaks) && breaks-- > 0) cut();
                }};
                window.asked = client.ask("read it", {{attachments: [new Blob(Array(8).fill({FILE}))], onUpload}});
            }}"""
        )
        await eventually(lambda: not link.whole)
        link.mend()
        await eventually(lambda: not link.whole)
        (session,) = server.manager.sessions.values()
        ending = server.manager.end(session)
        assert ending is not None
        await ending
        link.mend()
        assert await tab.page.evaluate("asked") == "read"
        assert list(read[0].values()) == [8 * DATA]
        heard = await tab.page.evaluate("heard")
        # It went on after the first break, and began anew in the new session.
        assert [after for before, after in pairwise(heard) if after < before] == [0]


async def test_a_file_that_was_there_is_sent_again_where_its_session_is_lost(tab: "Tab") -> None:
    async with stage() as (agent, server):
        read = reads(agent)
        await load(tab, server.port)
        answer = await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                const upload = await client.upload({SMALL});
                await client.logout();
                client.login();
                return client.ask("read it", {{attachments: [upload]}});
            }}"""
        )
        assert answer == "read"
        assert read == [{"sales.csv": b"a,b\n1,2\n3,4"}]


async def test_a_request_is_given_up_with_its_uploads_or_its_task(tab: "Tab", tmp_path: Path) -> None:
    async with stage(files_dir=tmp_path) as (agent, server), linked(server.port) as link:
        await load(tab, link.port)
        given_up = await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                const control = new AbortController();
                const options = {{attachments: [{FILE}], onUpload: () => control.abort(), signal: control.signal}};
                return client.ask("park", options).catch((error) => error.name);
            }}"""
        )
        assert given_up == "AbortError"
        await eventually(lambda: files_in(tmp_path) == [])
        assert agent.runs == []
        await tab.page.evaluate(
            """() => {
                window.control = new AbortController();
                window.stopped = client.ask("park", {signal: control.signal}).catch((error) => error.constructor.name);
            }"""
        )
        await agent.parked.wait()
        await tab.page.evaluate("control.abort()")
        assert await tab.page.evaluate("stopped") == "TaskCancelled"


async def test_files_of_the_agents_are_fetched_from_the_server_alone(tab: "Tab") -> None:
    async def send(_: str, turn: Turn) -> str:
        await turn.send_file(b"1,2", "sales.csv", "text/csv")
        return "sent"

    async with stage() as (agent, server):
        agent.scripts["send"] = send
        await load(tab, server.port)
        got = await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                let file;
                for await (const {{event, data}} of client.stream("send")) if (event === "agent_file") file = data;
                const blob = await client.download(file);
                const elsewhere = (() => {{
                    try {{ return client.address({{url: "https://elsewhere.example/x"}}); }}
                    catch (error) {{ return error.message; }}
                }})();
                return [await blob.text(), blob.type, client.address(file).startsWith(location.origin), elsewhere];
            }}"""
        )
        assert got == ["1,2", "text/csv", True, "The file is not on the server."]


def tells(agent: Stage) -> None:
    """Have "tell" say a file and data before it waits, and again behind so much that the first are forgotten."""

    async def tell(_: str, turn: Turn) -> str:
        await turn.send_file(b"1", "one.txt", "text/plain")
        await turn.emit(AgentData(name="same", data=1, id="a"))
        await turn.emit(AgentData(name="other", data=1, id="b"))
        await agent.steps.get()
        await turn.send_file(b"2", "two.txt", "text/plain")
        await turn.emit(AgentData(name="other", data=2, id="b"))
        for piece in ["on "] * 5:
            await turn.emit(AgentOutput(piece))
        agent.parked.set()
        await agent.steps.get()
        return "told"

    agent.scripts["tell"] = tell


async def test_after_a_gap_files_and_data_are_told_once(tab: "Tab") -> None:
    async with stage(resume_log_frames=2) as (agent, server), linked(server.port) as link:
        tells(agent)
        await load(tab, link.port)
        await tab.page.evaluate(
            f"""async () => {{
                await {LOG_IN};
                window.told = [];
                window.half = new Promise((done) => {{
                    window.all = (async () => {{
                        for await (const {{event, data, gap}} of client.stream("tell")) {{
                            if (event === "agent_file") told.push([data.name, gap === true]);
                            if (event === "agent_data") told.push([data.name, data.data, gap === true]);
                            if (data.id === "b") done();
                        }}
                    }})();
                }});
                await half;
            }}"""
        )
        link.cut()
        agent.steps.put_nowait("on")
        await agent.parked.wait()
        link.mend()
        await eventually(lambda: any(session.client for session in server.manager.sessions.values()))
        agent.steps.put_nowait("end")
        told = await tab.page.evaluate("all.then(() => told)")
        assert told[:3] == [["one.txt", False], ["same", 1, False], ["other", 1, False]]
        assert sorted(told[3:]) == [["other", 2, True], ["two.txt", True]]


async def test_a_result_is_told_after_a_gap_too(tab: "Tab") -> None:
    async with puppet() as server:
        await ready(tab, server)
        await tab.page.evaluate("void (window.followed = page.follow('Where?'))")
        request = (await server.hears("agent_request"))["data"]
        await server.say("agent_request_received", request_id=request["request_id"], task_id="77aa")
        await server.say("agent_output.numbered", task_id="77aa", seq=5)
        await server.socket.close(4000)
        await server.connected()
        await server.hears("login")
        task = {"task_id": "77aa", "status": "completed", "output": "", "response": "Oslo.", "result": {"city": "Oslo"}}
        await server.say("login_response.resumed", tasks=[task])
        frames = (await tab.page.evaluate("followed"))["frames"]
        assert frames[-1]["data"] == {"task_id": "77aa", "response": "Oslo.", "result": {"city": "Oslo"}}
