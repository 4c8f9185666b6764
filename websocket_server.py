"""Serve an AI agent over WebSocket: ``python websocket_server.py``; ``--help`` tells what can be set.

The process stands in ``agentsocket/process.py``.
"""

from agentsocket.process import main

if __name__ == "__main__":
    main()
