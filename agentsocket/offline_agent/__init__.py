"""The agent that ships: its tools, and how it makes sense of a message without a model."""

from agentsocket.offline_agent.agent import create_agent

__all__ = ["create_agent"]
