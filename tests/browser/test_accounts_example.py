"""``examples/accounts`` in a real browser: a page with a login of its own, and an agent that knows who is there."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import PATIENCE

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
START = "import asyncio; from examples.accounts.__main__ import main; asyncio.run(main(0, 0))"


@contextlib.asynccontextmanager
async def accounts() -> AsyncIterator[str]:
    """Run the example on ports of its own; give the page's address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, cwd=ROOT, env={**os.environ}, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def log_in(tab: "Tab", name: str, password: str) -> None:
    await tab.page.get_by_label("Name").fill(name)
    await tab.page.get_by_label("Password").fill(password)
    await tab.page.get_by_role("button", name="Log in").click()


async def ask(tab: "Tab", message: str, answer: str) -> None:
    await tab.page.get_by_label("Message").fill(message)
    await tab.page.get_by_role("button", name="Ask").click()
    await tab.expect(tab.page.locator("#said li").last).to_contain_text(answer)


async def test_each_user_is_greeted_by_name_and_a_tool_knows_who_may_use_it(tab: "Tab") -> None:
    async with accounts() as address:
        await tab.page.goto(address)
        for name, called, refund in (
            ("ada", "Ada", "on its way back"),
            ("bob", "Bob", "Only a manager"),
        ):
            await log_in(tab, name, name)
            await tab.sees("#who", called)
            await ask(tab, "Hello", f"Hello {called}!")
            await ask(tab, "Refund 8", refund)
            await tab.page.reload()
            await tab.sees("#who", called)
            await tab.page.get_by_role("button", name="Log out").click()
            await tab.sees("#login")
            assert await tab.page.locator("#said li").count() == 0


async def test_a_wrong_password_is_told(tab: "Tab") -> None:
    async with accounts() as address:
        await tab.page.goto(address)
        await log_in(tab, "ada", "bob")
        await tab.sees("#problem", "That is not the password.")
        assert len(tab.complaints) == 1  # the browser's own words for what the page has told
        tab.complaints.clear()
