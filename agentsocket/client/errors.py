"""What the client raises."""


class ClientError(Exception):
    """What the client raises."""


class ConnectionLost(ClientError):  # noqa: N818  # says what happened, like those below
    """There is no connection, or it broke and the session could not be taken up again."""


class NoAnswer(ConnectionLost):
    """The server is there, and has not answered in time. What became of the request is not known."""


class MessageTooLong(ClientError, ValueError):  # noqa: N818
    """The server would close the connection because of this message; it was not sent, and nothing else is touched."""


class TaskCancelled(ClientError):  # noqa: N818
    """The task has been stopped."""


class ServerError(ClientError):
    """The server refused something, or a task failed. ``error_id`` finds the details in the server's log."""

    def __init__(self, code: str, message: str, error_id: str | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code, self.message, self.error_id = str(code), message, error_id


def explain(error: ClientError) -> str:
    """Return all that a person can use of an error."""
    return f"{error}, error id {error.error_id}" if isinstance(error, ServerError) and error.error_id else str(error)
