"""What the client raises."""


class ClientError(Exception):
    """What the client raises."""


class ConnectionLost(ClientError):  # noqa: N818  # says what happened, like the two below
    """There is no connection, or it broke and the session could not be taken up again."""


class TaskCancelled(ClientError):  # noqa: N818
    """The task has been stopped."""


class ServerError(ClientError):
    """The server refused something, or a task failed. ``error_id`` finds the details in the server's log."""

    def __init__(self, code: str, message: str, error_id: str | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code, self.message, self.error_id = str(code), message, error_id
