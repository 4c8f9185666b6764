"""The server under cProfile: the file for its profile, then the server's own arguments."""

import atexit
import cProfile
import sys

from agentsocket.process import main

PROFILE = cProfile.Profile()


def write(path: str) -> None:
    """Write what was counted: an exit function, for the server ends its process itself."""
    PROFILE.disable()
    PROFILE.dump_stats(path)


if __name__ == "__main__":
    atexit.register(write, sys.argv.pop(1))
    PROFILE.enable()
    main()
