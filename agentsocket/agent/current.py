"""The turn that the running code works for: how a tool, however deep in a framework, knows for whom it runs."""

from contextvars import ContextVar
from typing import Final

from agentsocket.agent.contract import Turn

TURN: Final[ContextVar[Turn]] = ContextVar("turn")
"""Set in the context of each task; asyncio's tasks, ``to_thread`` and the threads of synchronous agents copy it."""


def current_turn() -> Turn:
    """Return the turn that the calling code runs for.

    It is found in asyncio tasks, in ``asyncio.to_thread`` and in the server's own threads. A thread or a worker that an
    agent starts by itself is to be handed the turn.

    Raises:
        LookupError: outside a turn, and once its task is over.
    """
    turn = TURN.get(None)
    if turn is None:
        raise LookupError("no turn runs here: a thread that an agent has started itself is to be handed the turn")
    if turn.ended:
        raise LookupError("the task of this turn is over")
    return turn
