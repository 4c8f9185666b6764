"""Why a connection is closed, in the numbers that the wire has for it."""

from enum import IntEnum


class CloseCode(IntEnum):
    """The close codes that the server itself sends (RFC 6455, section 7.4.1; those of broken frames are the library's).

    From 4000 on they are the server's own, and from 4500 on a client must not reconnect by itself.
    """

    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    INVALID_DATA = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TOO_SLOW = 4000
    LOGIN_EXPIRED = 4401
    RATE_LIMITED = 4429
    AUTHENTICATION_FAILED = 4500
    TAKEN_OVER = 4501
    LOGIN_TIMEOUT = 4502
    TOO_MANY_ERRORS = 4509
