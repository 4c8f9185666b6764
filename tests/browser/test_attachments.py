"""The console in a real browser: files that go with a message."""

import asyncio
import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentsocket.agent.contract import Turn
from tests.browser.agents import Stage, stage
from tests.browser.link import linked
from tests.browser.pictures import png
from tests.support import PATIENCE, eventually

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIVE = """({name, type, data, how}) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type}));
    const options = {bubbles: true, cancelable: true};
    if (how === "paste") {
        document.querySelector("#message").dispatchEvent(
            new ClipboardEvent("paste", {...options, clipboardData: transfer}));
        return;
    }
    const over = document.querySelector(".scroller");
    over.dispatchEvent(new DragEvent("dragover", {...options, dataTransfer: transfer}));
    window.dropping = document.querySelector(".composer").matches(".dropping");
    over.dispatchEvent(new DragEvent("drop", {...options, dataTransfer: transfer}));
}"""


async def give(tab: "Tab", name: str, data: bytes, media_type: str = "text/plain", how: str = "drop") -> None:
    file = {"name": name, "type": media_type, "data": base64.b64encode(data).decode(), "how": how}
    await tab.page.evaluate(GIVE, file)


async def choose(tab: "Tab", *files: tuple[str, bytes, str]) -> None:
    """Choose files as with the button."""
    from playwright.async_api import FilePayload  # noqa: PLC0415  # needs playwright

    await tab.page.set_input_files(
        ".composer input[type=file]",
        [FilePayload(name=name, mimeType=media_type, buffer=data) for name, data, media_type in files],
    )


def reads(agent: Stage) -> list[dict[str, bytes]]:
    """Have "read" keep what comes with its requests."""
    read: list[dict[str, bytes]] = []

    async def read_all(_: str, turn: Turn) -> str:
        read.append({file.name: await file.read() for file in turn.attachments})
        return "read"

    agent.scripts["read"] = agent.scripts[""] = read_all
    return read


def files_in(folder: Path) -> list[str]:
    return [path.suffix for path in folder.glob("files-*/*") if path.suffix]


async def test_files_are_chosen_dropped_or_pasted_and_go_with_the_message(tab: "Tab") -> None:
    async with stage() as (agent, server):
        read = reads(agent)
        await tab.open(server.port)
        files = tab.page.locator(".attachments .attachment")
        picture = png(30, 20)
        await choose(tab, ("one.txt", b"1", "text/plain"))
        await give(tab, "two.csv", b"a,b" * 100_000, "text/csv")
        assert await tab.page.evaluate("window.dropping") is True
        await give(tab, "three.png", picture, "image/png", how="paste")
        await tab.expect(files).to_have_count(3)
        await tab.expect(tab.page.locator(".attachments .there")).to_have_count(3)
        await tab.expect(files.nth(1)).to_contain_text("293.0 kB")
        await tab.expect(tab.page.get_by_role("status").last).to_contain_text("is attached")
        turn = await tab.ask_and_wait("read these")
        assert read == [{"one.txt": b"1", "two.csv": b"a,b" * 100_000, "three.png": picture}]
        await tab.expect(files).to_have_count(0)
        sent = turn.locator(".sent-files .attachment")
        await tab.expect(sent.locator(".name")).to_have_text(["one.txt", "two.csv", "three.png"])
        await tab.expect(sent.last.locator("canvas")).to_be_visible()
        await tab.page.reload()
        await tab.ready()
        await tab.expect(sent.locator(".name")).to_have_text(["one.txt", "two.csv", "three.png"])
        await tab.ask_and_wait("read no more")
        assert read[1] == {}


async def test_text_that_is_pasted_with_a_picture_of_itself_is_text(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        taken = await tab.page.evaluate(
            """() => {
                const transfer = new DataTransfer();
                transfer.setData("text/plain", "a cell");
                transfer.items.add(new File(["x"], "cell.png", {type: "image/png"}));
                const event = new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true});
                return document.querySelector("#message").dispatchEvent(event);
            }"""
        )
        assert taken is True
        await tab.expect(".attachment").to_have_count(0)


async def test_a_message_waits_for_its_files_over_a_break_and_goes_by_itself(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        read = reads(agent)
        await tab.open(link.port)
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        await give(tab, "late.txt", b"at last")
        await tab.expect(tab.page.get_by_label("Upload: late.txt")).to_be_visible()
        await tab.page.fill("#message", "read it")
        await tab.page.locator(".send").click()
        await tab.sees(".holding", "goes as soon as its files are there")
        await tab.expect(".turn").to_have_count(0)
        link.mend()
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await tab.becomes(tab.page.locator(".turn"), "done")
        assert read == [{"late.txt": b"at last"}]
        await tab.expect(".holding").to_be_hidden()
        await tab.expect("#message").to_have_value("")


async def test_who_writes_on_sends_it_again(tab: "Tab") -> None:
    async with stage() as (agent, server), linked(server.port) as link:
        read = reads(agent)
        await tab.open(link.port)
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        await give(tab, "late.txt", b"at last")
        await tab.page.locator(".send").click()
        await tab.sees(".holding")
        await tab.page.locator("#message").press_sequentially("read")
        await tab.expect(".holding").to_be_hidden()
        link.mend()
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await tab.expect(".attachments .there").to_have_count(1)
        assert read == []
        await tab.page.keyboard.press("Enter")
        await tab.becomes(tab.page.locator(".turn"), "done")
        assert read == [{"late.txt": b"at last"}]


async def test_a_file_alone_is_a_message(tab: "Tab") -> None:
    async with stage() as (agent, server):
        read = reads(agent)
        await tab.open(server.port)
        await choose(tab, ("one.txt", b"1", "text/plain"))
        await tab.expect(".attachments .there").to_have_count(1)
        await tab.page.locator(".send").click()
        await tab.becomes(tab.page.locator(".turn"), "done")
        assert read == [{"one.txt": b"1"}]
        await tab.expect(".said").to_have_count(0)


async def test_a_file_is_taken_back_on_its_way_and_when_it_is_there(tab: "Tab", tmp_path: Path) -> None:
    async with stage(files_dir=tmp_path) as (agent, server), linked(server.port) as link:
        read = reads(agent)
        await tab.open(link.port)
        await choose(tab, ("one.txt", b"1", "text/plain"), ("two.csv", b"2", "text/csv"))
        await tab.expect(".attachments .there").to_have_count(2)
        assert sorted(files_in(tmp_path)) == [".csv", ".txt"]
        await tab.page.get_by_role("button", name="Remove one.txt").click()
        await eventually(lambda: files_in(tmp_path) == [".csv"])
        link.cut()
        await tab.sees(".pill", "Reconnecting")
        await tab.page.get_by_role("button", name="Remove two.csv").click()
        await tab.expect(".attachments").to_be_hidden()
        link.mend()
        await tab.page.evaluate("void dispatchEvent(new Event('online'))")
        await eventually(lambda: files_in(tmp_path) == [])
        await tab.ready()
        await tab.ask_and_wait("read nothing")
        assert read == [{}]


@pytest.mark.parametrize("tab", [{"viewport": {"width": 390, "height": 780}}], indirect=True)
async def test_what_the_server_does_not_take_is_said_and_holds_the_message_until_it_is_removed(tab: "Tab") -> None:
    async with stage(max_file_size=100_000, file_types=("text/*",)) as (agent, server):
        read = reads(agent)
        await tab.open(server.port)
        await choose(tab, ("long.txt", b"1" * 200_000, "text/plain"), ("film.mov", b"2", "video/quicktime"))
        long, film = tab.page.locator(".attachment").nth(0), tab.page.locator(".attachment").nth(1)
        await tab.expect(long).to_contain_text("Too large: it has 195.3 kB. A file may have 97.7 kB.")
        await tab.expect(film).to_contain_text("What is taken: text/*.")
        await tab.page.fill("#message", "read it")
        for name in ("long.txt", "film.mov"):
            await tab.page.locator(".send").click()
            await tab.sees(".compose > .problem", f"{name} is not attached")
            await tab.page.get_by_role("button", name=f"Remove {name}").click()
        await tab.expect(".compose > .problem").to_be_hidden()
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
        await tab.page.locator(".send").click()
        await tab.becomes(tab.page.locator(".turn"), "done")
        assert read == [{}]


async def test_more_files_than_go_with_one_message_are_not_taken(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await choose(tab, *[(f"{i}.txt", b"", "text/plain") for i in range(21)])
        await tab.expect(".attachments .there").to_have_count(20)
        await tab.sees(".compose > .problem", "20 files")


async def test_files_are_attached_and_removed_with_the_keyboard_alone(tab: "Tab", tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("1")
    choosers: asyncio.Queue[Any] = asyncio.Queue()
    # From the beginning: who begins to listen shortly before may miss it.
    tab.page.on("filechooser", choosers.put_nowait)
    async with stage() as (_, server):
        await tab.open(server.port)
        focused = tab.page.locator(":focus")
        for _ in range(2):  # the same one can be chosen again
            await tab.page.focus("#message")
            await tab.page.keyboard.press("Tab")
            await tab.expect(focused).to_have_attribute("aria-label", "Attach files")
            await tab.page.keyboard.press("Enter")
            async with asyncio.timeout(PATIENCE):
                await (await choosers.get()).set_files(path)
            await tab.expect(".attachments .there").to_have_count(1)
            await tab.page.focus("#message")
            await tab.page.keyboard.press("Shift+Tab")
            await tab.expect(focused).to_have_attribute("aria-label", "Remove one.txt")
            await tab.page.keyboard.press("Enter")
            await tab.expect(".attachment").to_have_count(0)
            await tab.expect(focused).to_have_attribute("aria-label", "Attach files")


async def test_files_go_with_a_message_that_is_asked_again_and_into_a_new_session(tab: "Tab") -> None:
    async with stage() as (agent, server):
        read = reads(agent)
        await tab.open(server.port)
        await choose(tab, ("one.txt", b"1", "text/plain"))
        turn = await tab.ask_and_wait("read")
        await turn.get_by_role("button", name="Ask again").click()
        await tab.becomes(tab.page.locator(".turn").last, "done")
        assert read == [{"one.txt": b"1"}] * 2
        await choose(tab, ("two.txt", b"2", "text/plain"))
        await tab.expect(".attachments .there").to_have_count(1)
        await tab.page.get_by_role("button", name="New conversation").click()
        await eventually(lambda: agent.closed == 1 and len(server.manager.sessions) == 1)
        await tab.ready()
        await tab.ask_and_wait("read")
        assert read[2] == {"two.txt": b"2"}


async def test_what_is_uploaded_leaves_no_bytes_in_the_record_nor_in_what_a_tab_keeps(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        await tab.ask_and_wait("say one")
        await choose(tab, ("big.bin", b"0" * 3_000_000, ""))
        await tab.expect(".attachments .there").to_have_count(1)
        record: Any = await tab.frames()
        assert len(str(record)) < 100_000
        await tab.page.reload()
        await tab.ready()
        await tab.expect(".said").to_contain_text("say one")
        await tab.expect(".notice").to_have_count(0)


@pytest.mark.parametrize("tab", [{"color_scheme": scheme} for scheme in ("light", "dark")], indirect=True)
async def test_everything_about_files_can_be_read_in_both_themes(tab: "Tab") -> None:
    async with stage(max_file_size=1000) as (_, server):
        await tab.open(server.port)
        await choose(tab, ("one.txt", b"1", "text/plain"))
        await tab.expect(".attachments .there").to_have_count(1)
        await tab.ask_and_wait("say hello")
        await choose(tab, ("one.txt", b"1", "text/plain"), ("long.txt", b"1" * 2000, "text/plain"))
        await tab.expect(".attachment.failed").to_have_count(1)
        await tab.page.locator(".send").click()
        await tab.sees(".compose > .problem")
        contrast = (Path(__file__).parent / "contrast.js").read_text()
        assert await tab.page.evaluate(contrast) == []
