"""An agent's ``sys.exit()`` ends its own task, wherever on the event loop it is called, and not the server."""

import asyncio
import contextvars
import functools
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn, TypeVar, TypeVarTuple, cast

logger = logging.getLogger("agentsocket.containment")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Exit = SystemExit | KeyboardInterrupt
"""What asyncio lets through, out of the loop. A real Ctrl-C is a signal, and raises neither here."""

Told = Callable[[Exit, contextvars.Context], None]

TOLD: ContextVar[Told | None] = ContextVar("told", default=None)
"""Who is told of an exit that nobody awaits, and in which context that was: whoever runs the agent's code there."""

PATIENCE = 0.05
"""Seconds in which whoever awaits a task that tried to exit has heard of it."""


class Containment:
    """Makes an agent's exit a failure of whatever awaits it."""

    def __init__(self) -> None:
        self.home = os.getpid()
        """The server's process. In a child that an agent forks an exit is an exit."""

    def __enter__(self) -> None:
        """Begin with the agent's code."""

    def __exit__(self, kind: object, failure: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(failure, Exit) and os.getpid() == self.home:
            raise RuntimeError("the agent tried to end the process") from failure


CONTAINED = Containment()


async def contained(awaitable: Awaitable[T]) -> T:
    """Await an agent's code, contained."""
    with CONTAINED:
        return await awaitable


async def called(function: Callable[..., Any], *args: object) -> Any:
    """Call a method that an agent may have, plain or async, contained. A plain one is called on the event loop."""
    with CONTAINED:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result


def run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on this loop, whatever else on it tries to end it.

    An exit that is raised in a task or a callback is thrown out of the loop, and the loop is none the worse for it: the
    task has ended with that exception, whoever awaits it gets it, and what else was due is still due. So it is told
    to whom it concerns, and the loop goes on. The same after an agent's ``loop.stop()``.
    """
    CONTAINED.home = os.getpid()
    asyncio.set_event_loop(loop)
    task = loop.create_task(main)
    task.add_done_callback(lambda _: loop.stop())
    while not task.done():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as exc:
            if os.getpid() != CONTAINED.home:
                end_child(exc)
            loop.call_soon(_tell, loop, exc, *_handle_of(exc))
        if os.getpid() != CONTAINED.home:
            end_child(None)
    return task.result()


def end_child(failure: BaseException | None) -> NoReturn:
    """End a forked child that came back from the agent's code, with what is still to be printed: it is no server."""
    code = failure.code if isinstance(failure, SystemExit) else 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201  # as Python itself does
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a uvloop that knows whose code it runs.

    asyncio's handles are Python, and so stand in an exception's traceback with their context. Those of uvloop do not,
    and are given a frame of their own where they run an agent's code.

    Raises:
        ImportError: where uvloop is not installed.
    """
    import uvloop  # noqa: PLC0415  # it is an extra

    class ContainedLoop(uvloop.Loop):
        __module__ = "uvloop"  # by which libraries know it

        def call_soon(
            self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
        ) -> asyncio.Handle:
            return super().call_soon(self._guarded(callback, context), *args, context=context)

        def call_soon_threadsafe(
            self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
        ) -> asyncio.Handle:
            return super().call_soon_threadsafe(self._guarded(callback, context), *args, context=context)

        def call_at(
            self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
        ) -> asyncio.TimerHandle:
            return super().call_at(when, self._guarded(callback, context), *args, context=context)

        def call_later(
            self,
            delay: float,
            callback: Callable[[*Ts], object],
            *args: *Ts,
            context: contextvars.Context | None = None,
        ) -> asyncio.TimerHandle:
            return super().call_later(delay, self._guarded(callback, context), *args, context=context)

        def add_reader(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
            super().add_reader(fd, self._guarded(callback, None), *args)

        def add_writer(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
            super().add_writer(fd, self._guarded(callback, None), *args)

        def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
            super().add_signal_handler(sig, self._guarded(callback, None), *args)

        def _guarded(
            self, callback: Callable[[*Ts], object], context: contextvars.Context | None
        ) -> Callable[[*Ts], object]:
            told = TOLD.get() if context is None else context.get(TOLD)
            if told is None:
                return callback
            return cast("Callable[[*Ts], object]", functools.partial(_guard, self, callback))

    return ContainedLoop


def _guard(loop: asyncio.AbstractEventLoop, callback: Callable[[*Ts], object], *args: *Ts) -> None:
    try:
        callback(*args)
    except (SystemExit, KeyboardInterrupt) as exc:
        if os.getpid() != CONTAINED.home:
            raise
        _tell(loop, exc, contextvars.copy_context(), callback)


def _handle_of(exc: Exit) -> tuple[contextvars.Context, Any]:
    """Return the context and the callback of the handle that an exit was raised in."""
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        handle = frame.f_locals.get("self") if frame.f_code is asyncio.Handle._run.__code__ else None  # noqa: SLF001  # nothing else tells
        if handle is not None:
            return handle._context, handle._callback  # noqa: SLF001  # likewise
    return contextvars.Context(), None


def _tell(loop: asyncio.AbstractEventLoop, exc: Exit, context: contextvars.Context, callback: Any) -> None:
    """Tell of an exit in a callback at once, and of one in a task if nobody awaits that task."""
    task = getattr(callback, "__self__", None)  # of a step of it
    if isinstance(task, asyncio.Future):
        loop.call_later(PATIENCE, _tell_unawaited, task, exc, context)
    else:
        _tell_now(exc, context)


def _tell_unawaited(task: asyncio.Future[Any], exc: Exit, context: contextvars.Context) -> None:
    if getattr(task, "_log_traceback", False):  # nobody has looked at how it ended
        task.exception()
        _tell_now(exc, context)


def _tell_now(exc: Exit, context: contextvars.Context) -> None:
    told = context.get(TOLD)
    if told is None:
        logger.error("an agent tried to end the process", exc_info=exc)
    else:
        told(exc, context)
