"""``agent_client.js`` and conversations: by a real server, its store, and its restarts."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.link import Link, linked
from tests.browser.test_agent_client import load
from tests.conversations.keeping import keeping
from tests.server_process import ROOT, ServerProcess, server_process
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

AGENT = f"{ROOT / 'tests' / 'browser' / 'talker.py'}:Talker"

TELL = """async (message) => {
    const said = [];
    window.heard = new Promise((done) => addEventListener("heard", () => done(true), { once: true }));
    try {
        for await (const { event, data, gap = false } of client.stream(message)) {
            said.push([event, data.output ?? data.response ?? "", gap]);
            dispatchEvent(new Event("heard"));
        }
    } catch (error) { said.push([error.constructor.name, error.message, false]); }
    return said;
}"""

HEARD = "window.heard"


@contextlib.asynccontextmanager
async def storing(folder: Path, *arguments: str) -> AsyncIterator[ServerProcess]:
    """Run a server that keeps conversations in this folder."""
    async with server_process("--store", f"sqlite:{folder / 'c.db'}", *arguments, agent=AGENT) as server:
        yield server


def ended(folder: Path) -> int:
    """Return how many turns have been completed."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'c.db'}?mode=ro", uri=True)) as store:
        (count,) = store.execute("SELECT count(*) FROM turns WHERE status = 'completed'").fetchone()
        return int(count)


async def kill(server: ServerProcess, link: Link) -> None:
    link.cut()
    server.process.kill()
    await server.process.wait()


def come_back(server: ServerProcess, link: Link) -> None:
    link.target = server.port
    link.mend()


async def test_a_conversation_goes_on_in_another_client_and_tells_what_was_said(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        await load(tab, server.port)
        told = await tab.page.evaluate(
            """async () => {
                await page.make().login();
                const first = client.conversationId;
                await client.ask("one");
                await client.logout();
                client.close();
                await page.make({ conversationId: first }).login();
                const { turns, title } = await client.history();
                const said = turns.map(({ message, status, response }) => [message, status, response]);
                return [client.conversationId === first, client.memory, title, said, await client.ask("recall")];
            }"""
        )
        assert told == [True, "restored", "one", [["one", "completed", "ONE"]], "one"]


async def test_conversations_are_listed_in_pages_renamed_and_deleted(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, users=True) as server:
        await load(tab, server.port)
        told = await tab.page.evaluate(
            """async () => {
                for (const message of ["one", "two", "three"]) {
                    await page.make({ token: "ada" }).login();
                    await client.ask(message);
                    await client.logout();
                    client.close();
                }
                await page.make({ token: "ada" }).login();
                const titles = ({ conversations }) => conversations.map(({ title }) => title);
                const newest = await client.conversations({ limit: 2 });
                const older = await client.conversations({ limit: 2, before: newest.next });
                const [{ conversation_id: id }] = older.conversations;
                const renamed = await client.renameConversation(id, "  The   first ");
                await client.deleteConversation(newest.conversations[0].conversation_id);
                const gone = await client.history(newest.conversations[0].conversation_id).catch(({ code }) => code);
                return [titles(newest), titles(older), older.next ?? null, renamed, gone,
                    titles(await client.conversations())];
            }"""
        )
        listed = [["three", "two"], ["one"], None, "The first", "conversation_not_found", ["two", "The first"]]
        assert told == listed


async def test_one_that_deletes_its_own_conversation_is_told_so_and_begins_another(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        await load(tab, server.port)
        told = await tab.page.evaluate(
            """async () => {
                await page.make().login();
                const first = client.conversationId;
                await client.ask("one");
                await client.deleteConversation(first);
                const { name, code } = client.state;
                await client.login();
                return [name, code, client.conversationId === first, await client.ask("recall")];
            }"""
        )
        assert told == ["connected", "session_ended", False, ""]


async def test_one_that_is_not_there_or_alive_elsewhere_is_refused(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path) as server:
        await load(tab, server.port)
        told = await tab.page.evaluate(
            """async () => {
                await page.make().login();
                const first = window.client;
                await first.ask("one");
                const enter = (conversationId) =>
                    page.make({ conversationId }).login().catch(({ code, retryAfter }) => [code, retryAfter ?? null]);
                const told = [await enter("nobody's"), await enter(first.conversationId)];
                await first.logout();
                return [...told, await enter(first.conversationId)];
            }"""
        )
        assert told == [["conversation_not_found", None], ["conversation_busy", 1], None]


async def test_a_server_without_a_store_refuses_to_go_on_with_one(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, store=None) as server:
        await load(tab, server.port)
        told = await tab.page.evaluate(
            """async () => [
                await page.make({ conversationId: "0123" }).login().catch(({ code, message }) => [code, message]),
                client.state.name,
                await page.make().login().then(() => [client.conversationId, client.memory]),
                await client.conversations(),
            ]"""
        )
        refused = ["conversation_not_found", "This server keeps no conversations."]
        assert told == [refused, "refused", [None, None], {"conversations": []}]
        await eventually(lambda: len(server.manager.sessions) == 1)


async def test_what_is_asked_about_conversations_is_asked_again_after_a_break(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path) as server, linked(server.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({ firstDelay: 1 }).login().then(() => client.ask('one'))")
        link.fall_silent()
        await tab.page.evaluate("void (window.told = client.history())")
        link.cut()
        link.mend()
        assert await tab.page.evaluate("window.told.then(({ turns }) => turns.length)") == 1


async def test_a_conversation_without_a_turn_is_another_after_a_restart(tab: "Tab", tmp_path: Path) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await load(tab, link.port)
        before = await tab.page.evaluate("page.make({ firstDelay: 1 }).login().then(() => client.conversationId)")
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            assert await tab.page.evaluate("client.ask('hello')") == "You said hello."
            assert await tab.page.evaluate("client.conversationId") != before
            await tab.page.evaluate("client.close()")


async def test_what_ran_when_the_server_was_killed_is_interrupted_and_the_next_works(
    tab: "Tab", tmp_path: Path
) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({ firstDelay: 1 }).login().then(() => client.ask('one'))")
        await tab.page.evaluate(f"void (window.told = ({TELL})('park'))")
        await tab.page.evaluate(HEARD)
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            begun, *_, end = await tab.page.evaluate("window.told")
            assert begun == ["agent_output", "begun", False]
            assert end == [
                "TaskInterrupted",
                "The server ended while the task ran, or could not keep how it ended.",
                False,
            ]
            assert await tab.page.evaluate("client.ask('recall')") == "one"
            assert await tab.page.evaluate("client.memory") == "restored"
            await tab.page.evaluate("client.close()")


async def test_an_answer_that_was_missed_before_a_restart_comes_once(tab: "Tab", tmp_path: Path) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({ firstDelay: 1, maxDelay: 50 }).login()")
        await tab.page.evaluate(f"void (window.told = ({TELL})('nap'))")
        await tab.page.evaluate(HEARD)
        link.cut()
        await eventually(lambda: ended(tmp_path) == 1)
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            assert await tab.page.evaluate("window.told") == [
                ["agent_output", "Half ", False],
                ["agent_output", "Half ", True],
                ["agent_response", "Half asleep.", True],
            ]
            await tab.page.evaluate("client.close()")


async def test_a_request_that_may_have_been_accepted_is_not_run_twice(tab: "Tab", tmp_path: Path) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({ firstDelay: 1, maxDelay: 50 }).login().then(() => client.ask('one'))")
        link.swallow_answers()
        await tab.page.evaluate(f"void (window.told = ({TELL})('two'))")
        await eventually(lambda: ended(tmp_path) == 2)
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            assert await tab.page.evaluate("window.told") == [
                ["agent_output", "", True],
                ["agent_response", "You said two.", True],
            ]
            assert await tab.page.evaluate("client.ask('recall')") == "one two"
            assert await tab.page.evaluate("client.history().then(({ turns }) => turns.length)") == 3
            await tab.page.evaluate("client.close()")


async def test_a_request_that_never_arrived_is_sent_to_the_server_that_comes_after(tab: "Tab", tmp_path: Path) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await load(tab, link.port)
        await tab.page.evaluate("page.make({ firstDelay: 1, maxDelay: 50 }).login().then(() => client.ask('one'))")
        link.fall_silent()
        await tab.page.evaluate("void (window.told = client.ask('two'))")
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            assert await tab.page.evaluate("window.told") == "You said two."
            assert await tab.page.evaluate("client.ask('recall')") == "one two"
            await tab.page.evaluate("client.close()")
