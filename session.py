"""Sessions, and what an agent is to them. They stand in ``agentsocket/session/`` and ``agentsocket/agent/``."""

from agentsocket.agent.contract import Agent, AgentFactory, Turn
from agentsocket.session.manager import SessionManager
from agentsocket.session.session import Client, Session

__all__ = ["Agent", "AgentFactory", "Client", "Session", "SessionManager", "Turn"]
