"""What signals do to the process: noted from its first line on, whether or not it is up."""

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)
"""What ends the server; a second one ends it now."""

TIMERS_AND_LIMITS = ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGPWR")
"""Not every system has them all."""

REAL_TIME = range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else range(0)
"""With one of them, SIGRTMIN+3, some managers of containers stop what they run."""

AS_SIGTERM: tuple[int, ...] = (
    *(signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(int(getattr(signal, name)) for name in TIMERS_AND_LIMITS if hasattr(signal, name)),
    *REAL_TIME,
)
"""Their default is an end without a goodbye. An agent that has a use for one sets a handler of its own over this."""

PROCESS = os.getpid()
TERMINALS = [number for number in range(3) if os.isatty(number)]


def note_signals() -> None:
    """Mind signals from now on: until the server is up, one that stops it ends the process at once, with exit code 0.

    Process 1 of a container would not even hear of them without this.
    """
    for number in STOPS:
        signal.signal(number, _end)
    for other in AS_SIGTERM:
        if signal.getsignal(other) is signal.SIG_DFL:
            signal.signal(other, _end_by_sigterm)
    signal.signal(signal.SIGHUP, _nothing)  # there is no certificate yet to be read anew


def on_hangup(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Have the loop call this on SIGHUP; where that tells that the terminal is gone, the process stops."""

    def hear(*_: object) -> None:
        if all(os.isatty(number) for number in TERMINALS):
            loop.call_soon_threadsafe(callback)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, hear)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # as signal calls it
    if os.getpid() == PROCESS:
        os._exit(0)  # an exception would be raised in whatever is imported, which may catch it
    signal.signal(number, signal.SIG_DFL)  # a child that something imported has forked
    os.kill(os.getpid(), number)


def _end_by_sigterm(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGTERM)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
