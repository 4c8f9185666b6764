"""Imports the client's command once, and starts it whenever it is told to: each is a process of its own, forked.

To import it takes longer than most tests of it. ``tests/client_process.py`` runs this, and says what to start.
"""

import contextlib
import fcntl
import gc
import importlib.util
import json
import os
import random
import signal
import socket
import sys
import termios
from pathlib import Path
from typing import Any

COMMAND = Path(__file__).parent.parent / "websocket_client_example.py"
KEYBOARD = "agentsocket.terminal.prompt_toolkit_keyboard"
MAX_ORDER = 1_000_000
"""Bytes that are read at once."""

sys.path[0] = str(COMMAND.parent)

import agentsocket.client.command  # noqa: E402  # after it can be found
import agentsocket.client.renewal  # noqa: E402
import agentsocket.terminal.program  # noqa: E402

if all(importlib.util.find_spec(name) for name in ("prompt_toolkit", "rich")):
    import rich.console
    import rich.markdown  # noqa: F401  # the command imports all of these

    import agentsocket.terminal.prompt_toolkit_keyboard


def main() -> int:
    """Wait for orders; return, in a process that was started, its exit code."""
    _hurry()
    gc.freeze()  # what is there is nobody's garbage, and to look at it would copy it in each process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=0) as orders:
        while True:
            order, descriptors, *_ = socket.recv_fds(orders, MAX_ORDER, 4)
            if not order:
                return 0
            while not order.endswith(b"\n"):
                order += orders.recv(MAX_ORDER)
            if not os.fork():
                break
            for descriptor in descriptors:
                os.close(descriptor)
            orders.send(b".")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, news = descriptors
    if pid := os.fork():
        _watch(pid, news, streams)
    os.close(news)
    return _run(json.loads(order), streams)


def _hurry() -> None:
    """Wait less where only a crowd of clients would have to: before each reconnection, and between two renewals."""
    uniform = random.uniform
    random.uniform = lambda a, b: uniform(a, b / 20)
    agentsocket.client.renewal.AT_LEAST = 0.1


def _watch(pid: int, news: int, streams: list[int]) -> None:
    """Say which process it is and, once it has ended, with which code."""
    for descriptor in streams:
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):
        os.write(news, b"%d\n" % pid)
        os.write(news, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _run(order: dict[str, Any], streams: list[int]) -> int:
    """Be the command, as if Python had been started for it."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if order["terminal"]:  # whoever leads a session is controlled by its terminal: then Ctrl-C is a signal
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if folder := order["environment"].get("PYTHONPATH"):
        _prefer(folder)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = [str(COMMAND), *order["arguments"]]
    return agentsocket.client.command.main()


def _prefer(folder: str) -> None:
    """Import what is in this folder from there, though it has been imported from elsewhere."""
    sys.path.insert(1, folder)
    there = {path.stem for path in Path(folder).iterdir()}
    for name in list(sys.modules):
        if name.partition(".")[0] in there or (there and name == KEYBOARD):
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
