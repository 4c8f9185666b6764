"""A real Chromium and its pages."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests.support import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that is this machine, and that the browser trusts no more than any other machine's.
    "--host-resolver-rules=MAP plain.test 127.0.0.1",
)

# The browser's own words for a server that is away, which no page can keep it from saying.
NETWORK = ("WebSocket connection to", "net::ERR_")


def browser_path() -> str | None:
    """Return where Chromium is: what BROWSER_PATH says, or the first of the usual names that is installed."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.asynccontextmanager
async def launched(path: str) -> AsyncIterator[Browser]:
    """Run Chromium without a window."""
    expect.set_options(timeout=PATIENCE * 1000)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


class Tab:
    """One page, and what it said and asked for behind the scenes."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        """What stands in the browser's console."""
        self.requested: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self.requested.append(request.url))

    @property
    def avoidable_complaints(self) -> list[str]:
        """What stands in the browser's console and need not."""
        return [text for text in self.complaints if not any(words in text for words in NETWORK)]

    async def open(self, port: int, *, host: str = "127.0.0.1", ready: bool = True) -> None:
        """Open the console of the server at this port, and wait until it is logged in."""
        await self.page.goto(f"http://{host}:{port}/")
        if ready:
            await self.ready()

    async def ready(self) -> None:
        """Wait until the page is logged in."""
        await self.sees('.pill[data-tone="good"]', "Connected")

    async def ask(self, message: str) -> Locator:
        """Send a message; return its turn."""
        turns = self.page.locator(".turn")
        count = await turns.count()
        await self.page.fill("#message", message)
        await self.page.locator(".send").click()
        return turns.nth(count)

    async def ask_and_wait(self, message: str, state: str = "done") -> Locator:
        """Send a message, and wait for the end of its turn."""
        turn = await self.ask(message)
        await self.becomes(turn, state)
        return turn

    async def becomes(self, turn: Locator, state: str) -> None:
        """Wait for a turn's state."""
        await expect(turn).to_have_attribute("data-state", state)

    async def sees(self, selector: str, text: str = "") -> Locator:
        """Wait until the first of these is visible and contains the text."""
        locator = self.page.locator(selector)
        await expect(locator.first).to_contain_text(text)
        await expect(locator.first).to_be_visible()
        return locator

    def expect(self, where: Locator | str) -> Any:
        """Return what can be waited for of it."""
        return expect(self.page.locator(where) if isinstance(where, str) else where)

    async def clipboard(self) -> str:
        """Return what was copied."""
        return str(await self.page.evaluate("navigator.clipboard.readText()"))

    async def frames(self) -> list[dict[str, Any]]:
        """Return the frames that the inspector shows, through its own button."""
        await self.page.locator(".inspector > header .copy").click()
        return list(await self.page.evaluate("navigator.clipboard.readText().then(JSON.parse)"))
