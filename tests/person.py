"""A person at a terminal: runs the client's command in one, types, and looks."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable

from tests.client_process import ClientProcess, client_process
from tests.display import Display
from tests.support import PATIENCE

UP, DOWN, LEFT = "\x1b[A", "\x1b[B", "\x1b[D"
CTRL_A, CTRL_C, CTRL_D, CTRL_K, CTRL_U = "\x01", "\x03", "\x04", "\x0b", "\x15"


class Person:
    """What they do, with one bound on every wait."""

    def __init__(self, keyboard: int, display: Display, process: ClientProcess) -> None:
        self.display, self.process = display, process
        self._keyboard = keyboard
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(keyboard, self._look)

    def _look(self) -> None:
        try:
            data = os.read(self._keyboard, 65536)
        except OSError:  # the program has closed its end
            data = b""
        if not data:
            self.look_away()
        self.display.feed(data)
        self._news.set()

    def look_away(self) -> None:
        asyncio.get_running_loop().remove_reader(self._keyboard)

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def enter(self, line: str) -> None:
        self.type(f"{line}\r")

    async def sees(self, *texts: str) -> None:
        """Wait until all of these are on the screen."""
        await self.watches(lambda text: all(wanted in text for wanted in texts))

    async def no_longer_sees(self, text: str) -> None:
        await self.watches(lambda shown: text not in shown)

    async def watches(self, condition: Callable[[str], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition(self.display.text):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(self.display.text) from None

    async def leaves(self) -> int:
        """Press Ctrl-D; return the program's exit code."""
        self.type(CTRL_D)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def at_terminal(
    uri: str, *arguments: str, environment: dict[str, str], columns: int = 100, rows: int = 40
) -> AsyncIterator[Person]:
    """Run the command in a terminal of its own; it does not outlive the block."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    async with client_process("--uri", uri, *arguments, environment=environment, terminal=screen) as process:
        person = Person(keyboard, Display(columns, rows), process)
        try:
            yield person
        finally:
            process.kill()
            await process.wait()
            person.look_away()
            os.close(keyboard)
            os.close(screen)
