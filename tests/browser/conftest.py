"""The browser of these tests; without one they are skipped."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.browser.chromium import Tab


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator["Browser"]:
    pytest.importorskip("playwright.async_api", reason="needs: pip install -e '.[browser]'")
    from tests.browser.chromium import browser_path, launched  # noqa: PLC0415  # needs playwright

    path = browser_path()
    if path is None:
        pytest.skip("needs Chromium: install it, or set BROWSER_PATH")
    async with launched(path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: "Browser", request: pytest.FixtureRequest) -> AsyncIterator["Tab"]:
    """A fresh page. Its test fails if anything stands in the browser's console that need not."""
    from tests.browser.chromium import Tab  # noqa: PLC0415  # needs playwright

    desk = {"viewport": {"width": 1280, "height": 800}, "permissions": ["clipboard-read", "clipboard-write"]}
    context = await browser.new_context(**{**desk, **getattr(request, "param", {})})
    context.set_default_timeout(PATIENCE * 1000)
    tab = Tab(await context.new_page())
    yield tab
    await context.close()
    assert tab.avoidable_complaints == []
