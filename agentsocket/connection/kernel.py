"""What the operating system knows of a socket."""

import asyncio
import fcntl
import sys
import termios

SIOCOUTQ = termios.TIOCOUTQ
"""Linux has one number for both: how much of what was written is still to be sent, or to be confirmed."""


def unsent(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes the kernel holds that the peer has not confirmed; 0 where that is not known."""
    socket = transport.get_extra_info("socket")
    if sys.platform != "linux" or socket is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(socket.fileno(), SIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return 0  # it is closed
