"""What can be wrong: for programs a code, for people a sentence."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The ``code`` of an ``error``: for programs, as its ``message`` is for people."""

    INVALID_JSON = "invalid_json"
    INVALID_FRAME = "invalid_frame"
    UNKNOWN_EVENT = "unknown_event"
    NOT_LOGGED_IN = "not_logged_in"
    ALREADY_LOGGED_IN = "already_logged_in"
    AUTHENTICATION_FAILED = "authentication_failed"
    AUTHENTICATION_UNAVAILABLE = "authentication_unavailable"
    SESSION_NOT_FOUND = "session_not_found"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_INPUT = "unknown_input"
    TOO_MANY_TASKS = "too_many_tasks"
    TOO_MANY_SESSIONS = "too_many_sessions"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_FILE = "unknown_file"
    UNKNOWN_UPLOAD = "unknown_upload"
    FILE_TOO_LARGE = "file_too_large"
    FILE_TYPE_REFUSED = "file_type_refused"
    TOO_MANY_FILES = "too_many_files"
    FILES_UNAVAILABLE = "files_unavailable"
    CONVERSATION_NOT_FOUND = "conversation_not_found"
    CONVERSATION_BUSY = "conversation_busy"
    TOO_MANY_CONVERSATIONS = "too_many_conversations"
    STORE_UNAVAILABLE = "store_unavailable"
    AGENT_UNAVAILABLE = "agent_unavailable"
    AGENT_FAILED = "agent_failed"
    AGENT_TIMEOUT = "agent_timeout"
    CANCEL_FAILED = "cancel_failed"
    SHUTTING_DOWN = "shutting_down"


class ProtocolError(Exception):
    """What is wrong with a frame, as its answer will say it: nothing of the peer's own is repeated.

    ``fields`` are what the ``error`` carries beside them: ``request_id``, ``task_id``, ``upload_id``, ``error_id``,
    ``retry_after``, ``scope``, ``agents``.
    """

    event: str | None = None
    """The event of a frame that could not be read, where its name could."""

    def __init__(self, code: ErrorCode, message: str, **fields: object) -> None:
        super().__init__(message)
        self.code, self.message, self.fields = code, message, fields
