"""``python -m agentsocket``: the server."""

import sys

from agentsocket.process import main

if __name__ == "__main__":
    sys.exit(main())
