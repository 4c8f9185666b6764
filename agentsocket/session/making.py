"""Which agents there are, and how the one of a new session is made."""

import asyncio
import contextvars
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agentsocket.agent.callables import UnknownKind, kind_of
from agentsocket.agent.card import card
from agentsocket.agent.contract import Agent, AgentFactory, Context
from agentsocket.containment.exits import CONTAINED, contained
from agentsocket.containment.stopping import failure_of, outcome
from agentsocket.containment.threads import THREADS, Threads
from agentsocket.identity.user import User
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import AgentCard, Login
from agentsocket.session.agent_task import told
from agentsocket.session.instance import Instance
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.session")


class AgentMaker:
    """Makes agents by their factories. The first of them is the default."""

    def __init__(
        self,
        settings: Settings,
        agents: Mapping[str, AgentFactory],
        threads: Threads,
        keep: Callable[[asyncio.Task[Any]], Any],
    ) -> None:
        """Make these agents, whose synchronous code runs in ``threads``; ``keep`` owns what nobody waits for."""
        self._settings, self._agents, self._threads, self._keep = settings, agents, threads, keep
        self._for_context = {name: _takes_context(create_agent) for name, create_agent in agents.items()}
        self._makers = Threads(settings.max_threads, "agent-factory")
        """Where synchronous factories run: a login does not wait behind hung calls."""

    @functools.cached_property
    def _cards(self) -> list[AgentCard]:
        cards = [card(name, create_agent) for name, create_agent in self._agents.items()]
        return [each.model_copy(update={"starters": None}) for each in cards]

    @property
    def default(self) -> str:
        """The name of the agent of whoever names none."""
        return next(iter(self._agents))

    def cards(self, user: User | None) -> list[AgentCard]:
        """Return the agents that a login of this user may name, without their starters."""
        return self._cards if user is None else [each for each in self._cards if user.may_have(each.name)]

    def introduce(self, instance: Instance) -> Callable[[], AgentCard]:
        """Return what tells what people are to be told of a session's agent."""
        name = instance.context.agent
        return functools.partial(card, name, instance.agent, self._agents[name])

    def choose(self, login: Login, user: User | None) -> str:
        """Return the name of the agent that a login gets.

        Raises:
            ProtocolError: ``agent_unavailable``.
        """
        names = [name for name in self._agents if user is None or user.may_have(name)]
        name = login.agent or next(iter(names), "")
        if name in names:
            return name
        agents = None if login.features is None else self.cards(user)
        text = f"There is no such agent. There are: {', '.join(names)}." if names else "There is no agent for you."
        raise ProtocolError(ErrorCode.AGENT_UNAVAILABLE, text, agents=agents)

    def make(self, context: Context) -> Instance | Awaitable[Instance]:
        """Make the agent that ``context`` names; one that takes its time is to be awaited at once.

        Raises:
            ProtocolError: ``agent_unavailable``; so may the awaiting.
        """
        variables = contextvars.copy_context()
        variables.run(THREADS.set, self._makers)
        try:
            with CONTAINED:
                given = (context,) if self._for_context[context.agent] else ()
                agent = variables.run(self._agents[context.agent], *given)
        except BaseException as exc:  # a factory may raise anything
            raise _unavailable(exc) from exc
        if isinstance(agent, Awaitable):
            return self._expect(agent, context, variables)
        return self._instance(agent, context, variables)

    def close(self, instance: Instance) -> None:
        """Close an agent that nobody wants any more."""
        self._keep(asyncio.create_task(instance.close(self._settings.cancel_timeout, self._keep)))

    def release(self) -> None:
        """Let go of the threads."""
        self._makers.shutdown(wait=False, cancel_futures=True)

    async def _expect(self, agent: Awaitable[Agent], context: Context, variables: contextvars.Context) -> Instance:
        creation = asyncio.create_task(contained(agent), context=variables)
        self._keep(creation)
        try:
            seconds = self._settings.agent_creation_timeout
            _refuse(await outcome(creation, seconds, stopping=self._settings.cancel_timeout))
        except BaseException:
            # Whatever gave it up, it may be made all the same, now or later.
            creation.add_done_callback(functools.partial(self._close_unwanted, context, variables))
            raise
        return self._instance(creation.result(), context, variables)

    def _close_unwanted(self, context: Context, variables: contextvars.Context, creation: asyncio.Task[Agent]) -> None:
        if failure_of(creation) is None:
            self.close(self._instance(creation.result(), context, variables))

    def _instance(self, agent: Agent, context: Context, variables: contextvars.Context) -> Instance:
        variables.run(THREADS.set, self._threads)
        return Instance(agent, context, variables)


def _takes_context(create_agent: AgentFactory) -> bool:
    try:
        return kind_of(create_agent) == "factory of a context"
    except UnknownKind:
        return False


def _refuse(failure: BaseException | None) -> None:
    if failure is not None:
        raise _unavailable(failure)


def _unavailable(failure: BaseException) -> ProtocolError:
    error_id = secrets.token_hex(4)
    logger.error("no agent could be created, error_id=%s", error_id, exc_info=failure)
    text = told(failure, otherwise="The agent is not available. The server's log has the details.")
    return ProtocolError(ErrorCode.AGENT_UNAVAILABLE, text, error_id=error_id)
