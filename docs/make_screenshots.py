"""Make the screenshots of the README: the real page, the real server, the built-in agent.

``python docs/make_screenshots.py`` needs the extra [browser], and Chromium.
"""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from playwright.async_api import Browser, Page  # noqa: E402  # after the path

from agentsocket.agent.loader import load_agents  # noqa: E402
from agentsocket.server import AgentServer  # noqa: E402
from agentsocket.settings import Settings  # noqa: E402
from tests.browser.chromium import Tab, browser_path, launched  # noqa: E402

SIZES = {"console": (1280, 900), "console-phone": (390, 780)}
COUNTED = 3
"""Seconds of the countdown that are on the picture."""


async def main() -> None:
    """Write ``docs/console-light.png``, ``docs/console-dark.png``, and the same of a phone."""
    path = browser_path()
    if path is None:
        sys.exit("no Chromium: install it, or set BROWSER_PATH")
    settings = Settings(host="127.0.0.1", port=8765, shutdown_grace=0)
    async with AgentServer(settings, load_agents(settings.agent)) as server, launched(path) as browser:
        for name, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                page = await open_page(browser, theme, width, height)
                await converse(Tab(page), server.port)
                await page.screenshot(path=ROOT / "docs" / f"{name}-{theme}.png")
                await page.context.close()


async def open_page(browser: Browser, theme: str, width: int, height: int) -> Page:
    """Open a page of this size and theme, with pixels as fine as those of today's screens."""
    size = {"width": width, "height": height}
    context = await browser.new_context(viewport=size, color_scheme=theme, device_scale_factor=1.5)  # type: ignore[arg-type]
    return await context.new_page()


async def converse(tab: Tab, port: int) -> None:
    """Have a conversation worth a picture: parallel calls, an approval, and a task that runs."""
    await tab.open(port)
    await tab.ask_and_wait("Remember: the deploy is on Friday")
    await tab.ask_and_wait("What time is it in Tokyo and in Paris?")
    approval = await tab.ask("Delete all my notes")
    await tab.expect(approval.locator(".question")).to_be_visible()
    countdown = await tab.ask("Count down from 30")
    await tab.expect(countdown.locator(".answer")).to_contain_text(f"{30 - COUNTED}")
    await tab.page.mouse.move(0, 0)


if __name__ == "__main__":
    asyncio.run(main())
