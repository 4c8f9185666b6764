"""How much all sessions keep for clients that may come back, and who forgets first where that is too much."""

from collections import OrderedDict
from collections.abc import Callable

ITEM = 64
"""Bytes, about, that anything kept takes beside its own: an object's head, and its place in a list."""


class Budget:
    """What all sessions may keep together, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._absent: OrderedDict[Account, None] = OrderedDict()
        """Sessions without a client that have something to forget; the one that was left first forgets first."""

    def make_room(self, account: "Account") -> None:
        """Let sessions without a client forget while too much is held; where that is not enough, this one."""
        while self.held > self.limit and self._absent:
            absent, _ = self._absent.popitem(last=False)
            absent.forget()
        if self.held > self.limit:
            account.forget()

    def watch(self, account: "Account", *, absent: bool) -> None:
        """Note whether the client of a session is away."""
        if absent:
            self._absent.setdefault(account, None)
        else:
            self._absent.pop(account, None)


class Account:
    """What one session keeps: frames, ends, texts, questions, and the names of its requests."""

    def __init__(self, budget: Budget, forget: Callable[[], None]) -> None:
        self.forget = forget
        """Gives up what can be done without: a client that misses it will be told so."""
        self._budget = budget
        self._held = 0
        self._absent = False

    def count(self, size: int) -> None:
        """Count so many bytes more, or less; before it returns, what is too much is forgotten, here or elsewhere."""
        self._held += size
        self._budget.held += size
        if size > 0:
            if self._absent:
                self._budget.watch(self, absent=True)  # it may have forgotten all that it had before
            if self._budget.held > self._budget.limit:
                self._budget.make_room(self)

    def leave(self) -> None:
        """The client is away: forget before those whose client is there."""
        self._absent = True
        self._budget.watch(self, absent=True)

    def come_back(self) -> None:
        """The client is there."""
        self._absent = False
        self._budget.watch(self, absent=False)

    def close(self) -> None:
        """Nothing is kept any more."""
        self.come_back()
        self.count(-self._held)
