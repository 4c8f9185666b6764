"""What the client raises."""

from typing import Final

UNSAVED: Final = "The server could not keep this in the conversation."


class ClientError(Exception):
    """What the client raises."""


class ConnectionLost(ClientError):  # noqa: N818  # says what happened, like those below
    """There is no connection, or it broke and the session could not be taken up again.

    ``close_code`` is what the server has closed it with, where that is why nothing was tried.
    """

    def __init__(self, message: str, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class NoAnswer(ConnectionLost):
    """The server is there, and has not answered in time. What became of the request is not known."""


class MessageTooLong(ClientError, ValueError):  # noqa: N818
    """The server would close the connection because of this message; it was not sent, and nothing else is touched."""


class FileError(ClientError):
    """A file could not be sent or fetched, for a reason that the server has no code for; says why."""


class NoToken(ClientError):  # noqa: N818
    """There was no token to go on with."""


class TaskCancelled(ClientError):  # noqa: N818
    """The task has been stopped. ``unsaved`` where its conversation does not know that."""

    def __init__(self, message: str, *, unsaved: bool = False) -> None:
        super().__init__(message)
        self.unsaved = unsaved


class TaskInterrupted(ClientError):  # noqa: N818
    """The server's process ended while the task ran. How far it came nobody knows; it is not run again by itself."""


class ServerError(ClientError):
    """The server refused something, or a task failed. ``error_id`` finds the details in the server's log.

    ``retry_after`` is the seconds after which the same may well be granted, where waiting helps; ``scope`` says whose
    limit it was: that of the "session", of the "user" or of the "server". ``unsaved`` is true of a task whose
    conversation does not know that it has failed.
    """

    def __init__(  # noqa: PLR0913  # as the frame has them
        self,
        code: str,
        message: str,
        error_id: str | None = None,
        *,
        retry_after: float | None = None,
        scope: str | None = None,
        unsaved: bool = False,
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.code, self.message, self.error_id = str(code), message, error_id
        self.retry_after, self.scope, self.unsaved = retry_after, scope, unsaved


def explain(error: ClientError | OSError) -> str:
    """Return all that a person can use of an error."""
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    parts = [str(error)]
    if isinstance(error, ServerError):
        parts += [f"error id {error.error_id}"] if error.error_id else []
        parts += [f"to be tried again in {error.retry_after:.0f} s"] if error.retry_after else []
    text = ", ".join(parts)
    return f"{text} {UNSAVED}" if isinstance(error, TaskCancelled | ServerError) and error.unsaved else text
