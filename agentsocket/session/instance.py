"""The agent of one session: in which context its code runs, and how it is closed."""

import asyncio
import contextvars
import logging
from collections.abc import Callable

from agentsocket.agent.contract import Agent, Context
from agentsocket.containment.exits import called
from agentsocket.containment.stopping import outcome

logger = logging.getLogger("agentsocket.session")


class Instance:
    """An agent, whom it is for, and the variables that its factory has set: ``run`` and ``aclose`` see them."""

    def __init__(self, agent: Agent, context: Context, variables: contextvars.Context) -> None:
        self.agent, self.context, self.variables = agent, context, variables

    async def close(self, seconds: float, keep: Callable[[asyncio.Task[None]], object]) -> None:
        """Close the agent, within so many seconds; ``keep`` owns what takes longer. How it fails goes to the log."""
        aclose = getattr(self.agent, "aclose", None)
        if aclose is None:
            return
        # In the very context, and no copy: a variable that the factory has set can be reset in no other.
        closing = asyncio.create_task(called(aclose), context=self.variables)
        keep(closing)
        failure = await outcome(closing, seconds, stopping=seconds)
        if failure is not None:
            logger.error("the agent could not be closed", exc_info=failure)
