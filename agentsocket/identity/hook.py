"""The operator's own function decides about logins."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from agentsocket.containment.stopping import failure_of, outcome
from agentsocket.identity.authenticator import AuthenticationUnavailable
from agentsocket.identity.user import AuthError, LoginAttempt, User

MAX_HOOKS: Final = 100
"""Calls of the hook that run at once; the rest wait, within their time-out."""

REFUSED: Final = "This login is refused."

Hook = Callable[[LoginAttempt], User | Awaitable[User | None] | None]


class HookAuthenticator:
    """Asks a function of the operator's: a coroutine function on the event loop, any other in a thread."""

    ambient = ("cookie", "authorization")

    def __init__(self, function: Hook, timeout: float) -> None:
        """Ask this function; a call that takes longer than ``timeout`` seconds is given up."""
        self._function, self._timeout = function, timeout
        self._in_loop = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  # an object may be the function
        )
        self._room = asyncio.Semaphore(MAX_HOOKS)
        self._threads = ThreadPoolExecutor(MAX_HOOKS, "authentication")

    async def authenticate(self, attempt: LoginAttempt) -> User:
        """Return whom the function names.

        Raises:
            AuthError: if it names nobody, or raises one.
            AuthenticationUnavailable: if it takes too long, raises anything else or returns anything else: a sick
                identity provider is not a wrong password.
        """
        # A task of its own, since a function may swallow the cancel that gives it up: the client is told in time.
        call = asyncio.create_task(self._ask(attempt))
        call.add_done_callback(failure_of)  # counts as looked at: the login may have been given up long ago
        failure = await outcome(call, self._timeout, stopping=self._timeout)
        if isinstance(failure, AuthError):
            raise failure
        if not call.done():
            raise AuthenticationUnavailable(f"the hook took longer than {self._timeout:g} s")
        if failure is not None:
            raise AuthenticationUnavailable("the hook raised an exception") from failure
        user = call.result()
        if user is None:
            raise AuthError(REFUSED)
        if not isinstance(user, User):
            raise AuthenticationUnavailable(f"the hook returned {type(user).__name__}, not User or None")
        return user

    async def _ask(self, attempt: LoginAttempt) -> Any:
        await self._room.acquire()
        if self._in_loop:
            try:
                return await self._await(self._function(attempt))
            except (SystemExit, KeyboardInterrupt) as exc:
                raise _exited() from exc
            finally:
                self._room.release()
        # A thread cannot be stopped: its place is free when it has really ended, however long ago it was given up.
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._call, attempt)
        call.add_done_callback(self._ended)
        try:
            return await self._await(await asyncio.shield(call))
        except (SystemExit, KeyboardInterrupt) as exc:
            raise _exited() from exc

    def _call(self, attempt: LoginAttempt) -> Any:
        try:
            return self._function(attempt)
        except (SystemExit, KeyboardInterrupt) as exc:
            raise _exited() from exc
        except StopIteration as exc:  # of a next() that found nothing: no future may end with one
            raise RuntimeError("the hook raised StopIteration") from exc

    def _ended(self, call: asyncio.Future[Any]) -> None:
        self._room.release()
        if not call.cancelled():
            call.exception()  # counts as looked at: the login may have been given up long ago

    @staticmethod
    async def _await(answer: Any) -> Any:
        return await answer if inspect.isawaitable(answer) else answer


def _exited() -> RuntimeError:
    return RuntimeError("the hook tried to end the process")
