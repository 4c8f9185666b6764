"""The agent of one session: in which context its code runs, and how it is closed."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable

from agentsocket.agent.contract import Agent, Context
from agentsocket.containment.exits import CONTAINED
from agentsocket.containment.stopping import outcome

logger = logging.getLogger("agentsocket.session")


class Instance:
    """An agent, whom it is for, and the variables that its factory has set: ``run`` and ``aclose`` see them."""

    def __init__(self, agent: Agent, context: Context, variables: contextvars.Context) -> None:
        self.agent, self.context, self.variables = agent, context, variables

    async def close(self, seconds: float, keep: Callable[[asyncio.Task[None]], object]) -> None:
        """Close the agent, within so many seconds; ``keep`` owns what takes longer. How it fails goes to the log."""
        if not hasattr(self.agent, "aclose"):
            return
        # In the very context, and no copy: a variable that the factory has set can be reset in no other.
        closing = asyncio.create_task(self._close(), context=self.variables)
        keep(closing)
        failure = await outcome(closing, seconds, stopping=seconds)
        if failure is not None:
            logger.error("the agent could not be closed", exc_info=failure)

    async def _close(self) -> None:
        with CONTAINED:
            closed = self.agent.aclose()  # type: ignore[attr-defined]  # an agent may have it
            if inspect.isawaitable(closed):
                await closed
