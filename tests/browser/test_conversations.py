"""The console in a real browser: conversations that last."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentsocket.conversations.contract import Conversation, StoreError, TurnEnd
from agentsocket.server import AgentServer
from tests.browser.link import linked
from tests.browser.talker import Forgetful, Talker
from tests.browser.test_client_conversations import come_back, ended, kill, storing
from tests.conversations.keeping import keeping
from tests.support import eventually

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


def talks(tab: "Tab") -> "Locator":
    return tab.page.locator(".talk")


async def new(tab: "Tab", *messages: str) -> None:
    """Begin another conversation, and say these there."""
    await tab.page.locator(".begin").click()
    await tab.expect(".turn").to_have_count(0)
    await tab.ready()
    for message in messages:
        await tab.ask_and_wait(message)


async def enter(tab: "Tab", token: str) -> None:
    """Log in as a user."""
    await tab.page.get_by_role("button", name="Enter a token").click()
    await tab.page.fill("#token", token)
    await tab.page.locator("dialog[open] button.primary").click()
    await tab.ready()


async def without_times(turn: "Locator") -> str:
    """Return what stands in a turn, without what the moments between its beginning and its end make of it."""
    return str(
        await turn.evaluate(
            """(turn) => {
                const copy = turn.cloneNode(true);
                for (const one of copy.querySelectorAll(".tool .time, .status")) one.remove();
                for (const one of copy.querySelectorAll("[src], [href]")) for (const name of ["src", "href"])
                    one.removeAttribute(name);
                return copy.innerHTML.replace(/Thought for less than a second/, "Thought").replace(/ hidden=""/g, "");
            }"""
        )
    )


async def test_without_a_store_nothing_of_conversations_is_shown(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker, store=None) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        await tab.expect(".talks").to_be_hidden()
        await tab.expect(".conversations").to_be_hidden()
        assert "#" not in tab.page.url
        assert await tab.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('conversations'))") == []


async def test_a_reload_shows_the_same_conversation_as_it_was(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        turn = await tab.ask("everything")
        await tab.page.get_by_role("button", name="Approve").click()
        await tab.becomes(turn, "done")
        await tab.ask_and_wait("fail", "failed")
        live = [await without_times(one) for one in await tab.page.locator(".turn").all()]
        assert "#/c/" in tab.page.url
        await tab.page.evaluate("sessionStorage.clear()")
        for _ in range(2):
            # The first time from what this page has, then from what the server has alone.
            await tab.page.reload()
            await tab.ready()
            await tab.expect(".turn").to_have_count(2)
            await tab.expect(turn.locator(".reasoning")).not_to_have_attribute("open", "")
            assert [await without_times(one) for one in await tab.page.locator(".turn").all()] == live
            await tab.page.get_by_role("button", name="Log out").or_(tab.page.locator(".pill")).first.click()
            await tab.page.get_by_role("button", name="Log out").click()
            await tab.page.evaluate("sessionStorage.clear()")


async def test_back_and_forward_lead_from_one_to_the_other(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("first")
        await new(tab, "second")
        await tab.expect(talks(tab)).to_have_count(2)
        await tab.expect(talks(tab).nth(0).locator("a")).to_have_attribute("aria-current", "page")
        await talks(tab).nth(1).locator("a").click()
        await tab.sees(".turn", "first")
        await tab.expect(talks(tab).nth(1).locator("a")).to_have_attribute("aria-current", "page")
        await tab.page.go_back()
        await tab.sees(".turn", "second")
        await tab.page.go_forward()
        await tab.sees(".turn", "first")
        turn = await tab.ask_and_wait("recall")
        await tab.expect(turn.locator(".answer")).to_have_text("first")
        await tab.expect(".turn").to_have_count(2)


async def test_one_that_runs_is_marked_and_goes_on_while_another_is_looked_at(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        parked = await tab.ask("park")
        await tab.expect(parked.locator(".answer")).to_have_text("begun")
        await new(tab, "second")
        await tab.expect(tab.page.locator(".talk.running")).to_contain_text("park, running")
        await tab.page.locator(".talk.running a").click()
        await tab.expect(parked.locator(".answer")).to_have_text("begun")
        await tab.becomes(parked, "running")
        await parked.get_by_role("button", name="Stop").click()
        await tab.becomes(parked, "stopped")
        await tab.expect(tab.page.locator(".talk.running")).to_have_count(0)


async def test_a_question_that_was_left_open_can_be_answered_later(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        turn = await tab.ask("everything")
        await tab.sees(".question", "Delete it?")
        await new(tab, "second")
        await tab.page.go_back()
        await tab.sees(".question", "Delete it?")
        await tab.page.get_by_role("button", name="Deny").click()
        await tab.becomes(turn, "done")
        await tab.expect(turn).to_contain_text("It is still there.")


async def test_one_is_renamed_in_place(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        row = talks(tab).first
        await row.hover()
        await row.get_by_role("button", name="Rename: hello").click()
        title = row.get_by_role("textbox", name="Title")
        await title.fill("Not this")
        await title.press("Escape")
        await tab.expect(row.locator(".name")).to_have_text("hello")
        await row.get_by_role("button", name="Rename: hello").click()
        await title.fill("Greetings")
        await title.press("Enter")
        await tab.expect(row.locator(".name")).to_have_text("Greetings")
        await tab.expect(row.get_by_role("button", name="Rename: Greetings")).to_be_focused()
        await tab.page.reload()
        await tab.expect(row.locator(".name")).to_have_text("Greetings")


async def test_what_is_deleted_comes_back_or_is_gone_for_good(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.page.clock.install()
        await tab.open(server.port)
        await tab.ask_and_wait("first")
        await new(tab, "second")
        await tab.expect(talks(tab)).to_have_count(2)
        first = talks(tab).nth(1)
        await first.hover()
        await first.get_by_role("button", name="Delete: first").click()
        await tab.expect(talks(tab)).to_have_count(1)
        await tab.page.get_by_role("button", name="Undo").click()
        await tab.expect(talks(tab)).to_have_count(2)
        assert ended(tmp_path) == 2
        await talks(tab).nth(0).hover()
        await tab.page.get_by_role("button", name="Delete: second").click()  # the one that is shown
        await tab.expect(".turn").to_have_count(0)
        assert "#" not in tab.page.url
        await tab.page.clock.run_for(8000)
        await eventually(lambda: ended(tmp_path) == 1)
        await tab.expect(talks(tab)).to_have_count(1)
        await tab.page.reload()
        await tab.expect(talks(tab)).to_have_count(1)
        await tab.expect(talks(tab)).to_contain_text("first")


async def test_users_see_their_own_and_more_of_them_and_search_all(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker, users=True) as server:
        await fill(server, "ada", 120)
        await fill(server, "bob", 1)
        await tab.open(server.port, ready=False)
        await enter(tab, "ada")
        await tab.expect(talks(tab)).to_have_count(50)
        await tab.expect(talks(tab).first).to_contain_text("ada talk 119")
        await tab.page.get_by_role("button", name="Older").last.click()
        await tab.expect(tab.page.get_by_text("ada talk 60")).to_have_count(1)
        await tab.page.get_by_role("searchbox").fill("TALK 7")
        await tab.expect(talks(tab)).to_have_count(11)
        await tab.page.get_by_role("searchbox").fill("talk 3")
        await tab.expect(talks(tab)).to_have_count(11)
        await tab.page.get_by_role("searchbox").fill("bob")
        await tab.sees(".none", "None has that in its title.")
        await tab.page.get_by_role("searchbox").press("Escape")
        await tab.expect(talks(tab)).to_have_count(120)


async def fill(server: AgentServer, owner: str, count: int) -> None:
    """Have so many conversations of this user in the store."""
    conversations = server.manager.conversations
    assert conversations is not None
    store: Any = conversations._store  # what is to be there before anybody comes
    for i in range(count):
        kept = Conversation(f"{owner}{i}", owner, "agent", f"{owner} talk {i}", 1000 + i, 1000 + i)
        head = b'{"task_id":"%d","message":"hi","started_at":"2026-01-01T00:00:00.000Z"}' % i
        await store.begin(kept, f"t{i}", head, [])
        tail = b'{"ended_at":"2026-01-01T00:00:01.000Z","events":[],"response":"ho"}'
        await store.end(kept.id, TurnEnd(f"t{i}", "completed", tail), None)


async def test_older_turns_come_above_when_they_are_wanted(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        conversation_id = tab.page.url.rpartition("/")[2]
        conversations = server.manager.conversations
        assert conversations is not None
        (session,) = server.manager.sessions.values()
        assert session.keeper is not None
        for i in range(60):
            head = b'{"task_id":"x%d","message":"turn %d","started_at":"2026-01-01T00:00:00.000Z"}' % (i, i)
            await conversations._store.begin(session.keeper.conversation, f"x{i}", head, [])
        assert conversation_id == session.keeper.conversation.id
        await tab.page.reload()
        await tab.expect(".turn").to_have_count(50)
        await tab.page.get_by_role("button", name="Older").first.click()
        await tab.expect(".turn").to_have_count(61)
        await tab.expect(tab.page.locator(".turn").first).to_contain_text("hello")


async def test_an_agent_without_a_memory_is_told(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Forgetful) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("first")
        await new(tab, "second")
        await tab.page.go_back()
        await tab.sees(".turn", "first")
        await tab.sees(".notice", "does not remember what was said above")


async def test_after_a_restart_the_conversation_goes_on_and_says_what_was_interrupted(
    tab: "Tab", tmp_path: Path
) -> None:
    async with storing(tmp_path) as first, linked(first.port) as link:
        await tab.open(link.port)
        await tab.ask_and_wait("first")
        parked, napped = await tab.ask("park"), await tab.ask("nap")
        await tab.expect(napped.locator(".answer")).to_have_text("Half")
        link.cut()
        await eventually(lambda: ended(tmp_path) == 2)
        await kill(first, link)
        async with storing(tmp_path) as second:
            come_back(second, link)
            await tab.page.evaluate("void dispatchEvent(new Event('online'))")
            await tab.becomes(napped, "done")
            await tab.expect(napped.locator(".answer")).to_have_text("Half asleep.")
            await tab.expect(parked).to_contain_text("Interrupted: the server ended while this ran")
            await tab.expect(parked.get_by_role("button", name="Ask again")).to_be_visible()
            turn = await tab.ask_and_wait("recall")
            await tab.expect(turn.locator(".answer")).to_have_text("first nap")
            await tab.expect(".turn").to_have_count(4)


async def test_one_that_is_open_elsewhere_or_not_there_is_said_in_words(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        other = await tab.page.context.new_page()
        await other.goto(tab.page.url)
        words = other.locator(".banner")
        await tab.expect(words).to_contain_text("This conversation is open elsewhere")
        await new(tab)
        await words.get_by_role("button", name="Try again").click()
        await tab.expect(other.locator(".turn")).to_contain_text("hello")
        await other.close()
        await tab.page.goto(f"http://127.0.0.1:{server.port}/#/c/nobodys")
        await tab.sees(".banner", "There is no such conversation")
        await tab.page.locator(".banner").get_by_role("button", name="New conversation").click()
        await tab.ready()
        await tab.ask_and_wait("anew")


async def test_one_that_is_deleted_elsewhere_is_said_in_words(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        conversation_id = tab.page.url.rpartition("/")[2]
        other = await tab.page.context.new_page()
        await other.goto(f"http://127.0.0.1:{server.port}/")
        await other.locator(".talk").hover()
        await other.get_by_role("button", name="Delete: hello").click()
        await other.close(run_before_unload=True)
        await eventually(lambda: ended(tmp_path) == 0)
        assert conversation_id
        await tab.sees(".banner", "This conversation was deleted")
        await tab.page.locator(".banner").get_by_role("button", name="New conversation").click()
        await tab.ask_and_wait("anew")


async def test_what_cannot_be_kept_is_said_at_the_answer_and_can_be_tried_again(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        conversations = server.manager.conversations
        assert conversations is not None
        store: Any = conversations._store  # a disk that is full
        begin, end = store.begin, store.end

        async def fail(*_: object) -> None:
            raise StoreError("the disk is full")

        store.end = fail
        turn = await tab.ask_and_wait("hello")
        await tab.expect(turn).to_contain_text("The server could not keep this")
        store.begin = fail
        refused = await tab.ask_and_wait("again", "lost")
        await tab.expect(refused).to_contain_text("It did not run: the server cannot keep conversations just now.")
        store.begin, store.end = begin, end
        await refused.get_by_role("button", name="Ask again").click()
        await tab.expect(tab.page.locator(".turn").nth(2)).to_contain_text("You said again.")
        await new(tab)
        await tab.page.go_back()
        await tab.expect(turn).to_contain_text("or could not keep how it ended.")
        await tab.expect(tab.page.locator(".talk.running")).to_have_count(0)


@pytest.mark.parametrize("tab", [{"viewport": {"width": 390, "height": 780}}], indirect=True)
async def test_on_a_phone_the_list_is_behind_a_button(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        await tab.expect(".conversations").to_be_hidden()
        button = tab.page.get_by_role("button", name="Conversations")
        await button.click()
        await tab.expect(".conversations").to_be_visible()
        await tab.expect(tab.page.locator(".begin")).to_be_focused()
        await tab.page.keyboard.press("Escape")
        await tab.expect(".conversations").to_be_hidden()
        await tab.expect(button).to_be_focused()
        await button.click()
        await tab.page.locator(".begin").click()
        await tab.expect(".conversations").to_be_hidden()
        await tab.expect(".turn").to_have_count(0)


async def test_a_user_goes_on_in_another_window_with_what_runs(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker, users=True) as server:
        await tab.open(server.port, ready=False)
        await enter(tab, "ada")
        await tab.ask_and_wait("first")
        parked = await tab.ask("park")
        await tab.expect(parked.locator(".answer")).to_have_text("begun")
        other = type(tab)(await tab.page.context.new_page())
        await other.page.goto(tab.page.url)
        await enter(other, "ada")
        await tab.sees(".banner", "taken up in another window")
        turns = other.page.locator(".turn")
        await tab.expect(turns).to_have_count(2)
        await tab.expect(turns.nth(1).locator(".answer")).to_contain_text("begun")
        await turns.nth(1).get_by_role("button", name="Stop").click()
        await tab.becomes(turns.nth(1), "stopped")
        assert other.avoidable_complaints == []


async def test_another_user_of_the_page_sees_nothing_of_the_one_before(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker, users=True) as server:
        await tab.open(server.port, ready=False)
        await enter(tab, "ada")
        await tab.ask_and_wait("secret")
        await tab.page.locator(".pill").click()
        await tab.page.get_by_role("button", name="Log in as somebody else").click()
        await tab.page.fill("#token", "bob")
        await tab.page.locator("dialog[open] button.primary").click()
        await tab.sees(".pill", "Connected as bob")
        await tab.expect(".turn").to_have_count(0)
        await tab.expect(talks(tab)).to_have_count(0)
        await tab.ask_and_wait("mine")
        await tab.expect(talks(tab)).to_have_count(1)


async def test_one_that_was_opened_by_its_link_is_remembered_by_its_name(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("hello")
        url = tab.page.url
        await tab.page.evaluate("localStorage.clear()")
        await new(tab)
        await tab.expect(talks(tab)).to_have_count(0)
        await tab.page.goto(url)
        await tab.sees(".turn", "hello")
        await tab.ask_and_wait("and more")
        await tab.expect(talks(tab)).to_have_count(1)
        await tab.expect(talks(tab)).to_contain_text("hello")


async def test_what_is_copied_of_the_frames_says_nowhere_where_files_are(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask("everything")
        await tab.page.get_by_role("button", name="Approve").click()
        await tab.sees('.turn[data-state="done"]')
        await tab.page.reload()
        await tab.expect(".turn .shown").to_have_count(1)
        frames = await tab.frames()
        assert [frame["frame"]["event"] for frame in frames].count("conversation") == 1
        assert "/files/" not in str(frames)


@pytest.mark.parametrize(
    "tab",
    [
        {"color_scheme": theme, "viewport": {"width": width, "height": 780}}
        for theme in ("light", "dark")
        for width in (1280, 390)
    ],
    indirect=True,
)
async def test_in_each_theme_and_size_the_list_can_be_read_and_nothing_sticks_out(tab: "Tab", tmp_path: Path) -> None:
    async with keeping(tmp_path, Talker) as server:
        await tab.open(server.port)
        await tab.ask_and_wait("wide " * 40)
        if not await tab.page.locator(".conversations").is_visible():
            await tab.page.get_by_role("button", name="Conversations").click()
        await tab.expect(talks(tab)).to_have_count(1)
        await talks(tab).hover()
        await tab.page.get_by_role("button", name="Delete: wide").click()
        await tab.sees(".removal", "Deleted: ")
        contrast = (Path(__file__).parent / "contrast.js").read_text()
        assert await tab.page.locator(".conversations").evaluate(contrast) == []
        panes = "[document.scrollingElement, document.querySelector('.list')]"
        assert await tab.page.evaluate(f"{panes}.map((pane) => pane.scrollWidth - pane.clientWidth)") == [0, 0]
