"""``python -m agentsocket``: the server."""

from agentsocket.process import main

if __name__ == "__main__":
    main()
