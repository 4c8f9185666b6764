"""The agent that ships: ``python test.py "What time is it?"`` asks it without a server.

It stands in ``agentsocket/offline_agent/``. (Python has a package ``test`` too, for nothing but its own tests.)
"""

import sys

from agentsocket.offline_agent.agent import OfflineAgent, create_agent
from agentsocket.offline_agent.command import main

__all__ = ["OfflineAgent", "create_agent", "main"]

if __name__ == "__main__":
    sys.exit(main())
