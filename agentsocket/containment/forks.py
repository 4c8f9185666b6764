"""A process that an agent forks shares nothing with the server by which it could harm it, or outlive it."""

import asyncio
import os
import signal
import socket
import stat
import threading
from collections.abc import Collection

DESCRIPTORS = "/dev/fd"


def keep_apart(loop: asyncio.AbstractEventLoop, ports: Collection[int], signals: Collection[int]) -> None:
    """From now on take from each forked child the server's sockets, which are those at these ports, and its signals.

    A fork inherits the descriptor by which a signal wakes the loop: what is to end the child would end the server. So
    these signals wait while a process forks, and meet their default in the child. And a child that holds the
    server's sockets would keep its port and its clients' connections open.
    """
    waiting = threading.local()

    def before() -> None:
        waiting.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def after_in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting.mask)

    def after_in_child() -> None:
        signal.set_wakeup_fd(-1)
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        _let_go(ports)
        loop.stop()  # where the agent's code comes back in the child, this is no second server
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting.mask)  # what came meanwhile ends it here
        if signal.SIGINT in signals:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)


def _let_go(ports: Collection[int]) -> None:
    """Put nothing in the place of the server's sockets: closed, their numbers would be given out again, and closed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208  # numbers, not paths
        if _port(int(name)) in ports:
            os.dup2(nothing, int(name), inheritable=False)
    os.close(nothing)


def _port(descriptor: int) -> int | None:
    """Return the port of a socket of ours; nothing for what is none."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        opened = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        address = opened.getsockname()
    except OSError:
        return None
    finally:
        opened.detach()
    return address[1] if isinstance(address, tuple) and len(address) > 1 else None
