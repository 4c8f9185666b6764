"""What each user has running, and asks for, across all connections."""

import math
import time
from collections import Counter, OrderedDict, deque

from agentsocket.identity.user import User
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.settings import Settings

MINUTE = 60.0

MAX_USERS = 10_000
"""Users whose requests of the last minute are remembered; who asked longest ago is forgotten first."""


class Users:
    """Counts tasks and requests by user."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: Counter[str] = Counter()
        self._requests: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, user: User, request_id: str | None) -> None:
        """Check that a user may ask for one more task, and count the request.

        Raises:
            ProtocolError: ``authentication_failed`` once the login has ended, ``too_many_tasks``, ``rate_limited``.
        """
        if user.expires_in == 0:
            text = "Your login has ended: refresh it."
            raise ProtocolError(ErrorCode.AUTHENTICATION_FAILED, text, request_id=request_id)
        most = _or_else(user.max_tasks, self._settings.max_tasks_per_user)
        if most is not None and self._tasks[user.id] >= most:
            text = "You run as many tasks as you may."
            raise ProtocolError(ErrorCode.TOO_MANY_TASKS, text, request_id=request_id, scope="user")
        rate = _or_else(user.requests_per_minute, self._settings.user_requests_per_minute)
        if rate is not None:
            self._count_request(user, rate, request_id)

    def begin(self, user: User) -> None:
        """Count a task that is about to run."""
        self._tasks[user.id] += 1

    def over(self, user: User) -> None:
        """A task has ended."""
        self._tasks[user.id] -= 1
        if not self._tasks[user.id]:
            del self._tasks[user.id]

    def _count_request(self, user: User, rate: int, request_id: str | None) -> None:
        now = time.monotonic()
        times = self._requests.setdefault(user.id, deque())
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= rate:
            wait = math.ceil(times[-rate] + MINUTE - now) if rate > 0 else MINUTE
            text = f"You may ask {rate} times a minute."
            raise ProtocolError(ErrorCode.RATE_LIMITED, text, request_id=request_id, retry_after=wait, scope="user")
        times.append(now)
        self._requests.move_to_end(user.id)
        if len(self._requests) > MAX_USERS:
            self._requests.popitem(last=False)


def _or_else(own: int | None, setting: int | None) -> int | None:
    return setting if own is None else own
