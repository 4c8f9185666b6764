"""Every frame on the wire, as a model.

A **frame** is one JSON object in one text message, ``{"event": <name>, "data": {...}}``; an **event** is what an agent
emits; a **task** is one ``agent_request`` in flight; a **session** one login; a **connection** one socket.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.events import (
    AgentData,
    AgentFile,
    AgentResponse,
    Event,
    InputRequired,
    Optional,
    ToolCall,
    ToolProgress,
    ToolResult,
)

MAX_ID = 64  # characters of a request_id, and of an upload_id

MAX_ATTACHMENTS = 20  # files of one request

# ---- Client → server -------------------------------------------------------------------------------------------------


class ClientFrame(BaseModel):
    """Each field is of exactly its type; unknown ones are ignored, so that a client may be newer than its server."""

    model_config = ConfigDict(strict=True, defer_build=True)
    event: ClassVar[str]


RequestId = Annotated[str, Field(max_length=MAX_ID)]

# Longer than any id that the server gives out, short enough to be sent back in an error.
KnownId = Annotated[str, Field(max_length=128)]


MAX_FEATURES = 64
"""Features that a client may name, and characters of the name of one."""

Feature = Annotated[str, Field(max_length=MAX_FEATURES)]


class Login(ClientFrame):
    """Open a session, or with ``session_id``, ``resume_token`` and ``last_seq`` take up an earlier one."""

    event = "login"
    token: Optional[str] = None
    resumable: Optional[bool] = None
    session_id: Optional[str] = None
    resume_token: Optional[str] = None
    last_seq: Optional[Annotated[int, Field(ge=0, lt=2**63)]] = None
    agent: Optional[str] = None
    features: Optional[Annotated[list[Feature], Field(max_length=MAX_FEATURES)]] = None
    params: Optional[dict[str, JsonValue]] = None
    conversation_id: Optional[KnownId] = None


class AgentRequest(ClientFrame):
    """Start a task. ``request_id`` is the client's own; repeated, it does not run the agent twice."""

    event = "agent_request"
    message: str
    request_id: Optional[RequestId] = None
    params: Optional[dict[str, JsonValue]] = None
    attachments: Optional[Annotated[list[KnownId], Field(max_length=MAX_ATTACHMENTS)]] = None


class CancelRequest(ClientFrame):
    """Stop that task, and no other."""

    event = "cancel_request"
    task_id: KnownId


class InputResponse(ClientFrame):
    """Answer an ``input_required``."""

    event = "input_response"
    task_id: KnownId
    input_id: KnownId
    response: JsonValue


UploadId = Annotated[str, Field(min_length=1, max_length=MAX_ID)]

# Longer than any name that is kept: what is too long is cut there.
FileName = Annotated[str, Field(max_length=1024)]
MediaType = Annotated[str, Field(max_length=256)]

Size = Annotated[int, Field(ge=0, lt=2**63)]


class UploadStart(ClientFrame):
    """Begin to send a file, or ask how far it has come. ``upload_id`` is the client's own, ``size`` in bytes."""

    event = "upload_start"
    upload_id: UploadId
    name: FileName
    media_type: MediaType
    size: Size


class UploadChunk(ClientFrame):
    """The next bytes of a file, as base64; ``offset`` says how many came before them."""

    event = "upload_chunk"
    upload_id: UploadId
    offset: Size
    data: str


class UploadCancel(ClientFrame):
    """Give a file up. Not answered."""

    event = "upload_cancel"
    upload_id: UploadId


PageSize = Annotated[int, Field(ge=1, le=100)]

# As ``next`` has it.
Cursor = Annotated[str, Field(max_length=256)]

MAX_TITLE = 200  # characters of a conversation's title


class ListConversations(ClientFrame):
    """Ask for the user's conversations, newest first; ``before`` is the ``next`` of the page before."""

    event = "list_conversations"
    limit: PageSize = 50
    before: Optional[Cursor] = None
    request_id: Optional[RequestId] = None


class GetConversation(ClientFrame):
    """Ask for the turns of a conversation; without an id, of the session's own."""

    event = "get_conversation"
    conversation_id: Optional[KnownId] = None
    limit: PageSize = 50
    before: Optional[Cursor] = None
    request_id: Optional[RequestId] = None


class RenameConversation(ClientFrame):
    """Give a conversation another title."""

    event = "rename_conversation"
    conversation_id: KnownId
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE)]
    request_id: Optional[RequestId] = None


class DeleteConversation(ClientFrame):
    """Delete a conversation, its files and its memory. There is no way back."""

    event = "delete_conversation"
    conversation_id: KnownId
    request_id: Optional[RequestId] = None


class Refresh(ClientFrame):
    """Prove anew, with a fresh token, who is there, before the login ends."""

    event = "refresh"
    token: str
    request_id: Optional[RequestId] = None


class Heartbeat(ClientFrame):
    """Ask for a sign of life; the server's own comes at once."""

    event = "heartbeat"


class Logout(ClientFrame):
    """Stop every task of the session and end it. The connection stays open."""

    event = "logout"


# ---- Server → client -------------------------------------------------------------------------------------------------


class ServerFrame(Event):
    """``seq`` numbers the frames of a resumable session, and only of such a one."""

    event: ClassVar[str]
    seq: Optional[int] = None


class TaskFrame(ServerFrame):
    """A frame that belongs to one task."""

    task_id: str


class PendingInput(InputRequired):
    """A question that still waits for its answer."""

    input_id: str


class TaskSnapshot(Event):
    """How a task stands, for a client that has missed some of its frames."""

    task_id: str
    status: Literal["running", "completed", "cancelled", "failed"]
    output: str  # the text so far; of a long one the newest 256 KiB
    response: Optional[str] = None
    result: Optional[JsonValue] = None
    files: Optional[list[AgentFile]] = None
    data: Optional[list[AgentData]] = None  # of each id the newest
    pending_inputs: list[PendingInput] = Field(default_factory=list)
    code: Optional[str] = None
    message: Optional[str] = None
    error_id: Optional[str] = None


class AgentCard(Event):
    """An agent, as a person is to see it: its name, and where it has them a title, a sentence and first questions."""

    name: str
    title: Optional[str] = None
    description: Optional[str] = None
    starters: Optional[list[str]] = None


class UserCard(Event):
    """Who is logged in, as that person is to see it."""

    id: str
    name: Optional[str] = None


class LoginResponse(ServerFrame):
    """The session is open. Not numbered itself; live frames go on at ``last_seq + 1``."""

    event = "login_response"
    session_id: str
    status: Literal["success"] = "success"
    resumable: Optional[bool] = None
    resume_token: Optional[str] = None
    resumed: Optional[bool] = None
    lossless: Optional[bool] = None
    last_seq: Optional[int] = None
    tasks: Optional[list[TaskSnapshot]] = None
    features: Optional[list[str]] = None
    max_message_size: Optional[int] = None
    heartbeat: Optional[float] = None
    agent: Optional[AgentCard] = None
    agents: Optional[list[AgentCard]] = None
    user: Optional[UserCard] = None
    expires_in: Optional[float] = None
    conversation_id: Optional[str] = None
    memory: Optional[Literal["restored", "none"]] = None


class RefreshResponse(ServerFrame):
    """The login goes on. Neither numbered nor kept: it answers the connection that asked."""

    event = "refresh_response"
    request_id: Optional[str] = None
    expires_in: Optional[float] = None


class UploadProgress(ServerFrame):
    """So many bytes of the file are there: go on from here. Neither numbered nor kept."""

    event = "upload_progress"
    upload_id: str
    received: int


class UploadComplete(ServerFrame):
    """The file is there, and a request may name its ``file_id`` among its attachments. Neither numbered nor kept."""

    event = "upload_complete"
    upload_id: str
    file_id: str


class ConversationCard(Event):
    """A conversation, as a list shows it. Times are RFC 3339, in UTC."""

    conversation_id: str
    title: str
    agent: str
    created_at: str
    updated_at: str
    turns: int
    running: bool


class Conversations(ServerFrame):
    """The user's conversations, newest first. Neither numbered nor kept, like all answers about conversations."""

    event = "conversations"
    conversations: list[ConversationCard]
    next: Optional[str] = None
    request_id: Optional[str] = None


class ConversationTurn(Event):
    """One turn of a conversation: what was asked, what came of it, and the answer."""

    task_id: str
    message: str
    request_id: Optional[str] = None
    attachments: Optional[list[AgentFile]] = None
    status: Literal["running", "completed", "cancelled", "failed", "interrupted"]
    started_at: str
    ended_at: Optional[str] = None
    events: list[dict[str, JsonValue]]
    response: Optional[str] = None
    result: Optional[JsonValue] = None
    error: Optional[dict[str, JsonValue]] = None
    usage: Optional[dict[str, JsonValue]] = None


class ConversationFrame(ServerFrame):
    """The turns of a conversation, oldest first; ``next`` asks for those before them."""

    event = "conversation"
    conversation_id: str
    title: str
    agent: str
    turns: list[ConversationTurn]
    next: Optional[str] = None
    request_id: Optional[str] = None


class ConversationUpdated(ServerFrame):
    """A conversation has another title."""

    event = "conversation_updated"
    conversation_id: str
    title: str
    request_id: Optional[str] = None


class ConversationDeleted(ServerFrame):
    """A conversation is gone."""

    event = "conversation_deleted"
    conversation_id: str
    request_id: Optional[str] = None


class AgentRequestReceived(TaskFrame):
    """The request is accepted. Comes before any other frame of its task."""

    event = "agent_request_received"
    request_id: Optional[str] = None


class ToolCallFrame(ToolCall, TaskFrame):
    """A tool of the task is about to run."""

    event = "tool_call"


class ToolResultFrame(ToolResult, TaskFrame):
    """A tool of the task has returned, or failed."""

    event = "tool_result"


class AgentOutputFrame(TaskFrame):
    """The next piece of the task's text."""

    event = "agent_output"
    output: str


class AgentReasoningFrame(TaskFrame):
    """The next piece of what the model thinks. Feature ``reasoning``."""

    event = "agent_reasoning"
    reasoning: str


class ToolProgressFrame(ToolProgress, TaskFrame):
    """How far a tool is, or the task. Feature ``progress``."""

    event = "tool_progress"


class AgentDataFrame(AgentData, TaskFrame):
    """An application's own event. Feature ``data``."""

    event = "agent_data"


class AgentFileFrame(AgentFile, TaskFrame):
    """A file or picture of the agent's. Feature ``files``."""

    event = "agent_file"


class InputRequiredFrame(PendingInput, TaskFrame):
    """The task waits for an ``input_response``."""

    event = "input_required"


class TerminalFrame(TaskFrame):
    """The last frame of a task. ``unsaved`` where it could not be stored, or what the agent remembers could not."""

    unsaved: Optional[bool] = None


class AgentResponseFrame(AgentResponse, TerminalFrame):
    """The task has ended well. Terminal."""

    event = "agent_response"


class TaskCancelled(TerminalFrame):
    """The task has stopped: its coroutine has ended. Terminal."""

    event = "task_cancelled"


class ErrorFrame(ServerFrame):
    """Something was refused or has failed. With a ``task_id``: no such task is running any more."""

    event = "error"
    message: str
    code: ErrorCode | str = ""
    task_id: Optional[str] = None
    request_id: Optional[str] = None
    upload_id: Optional[str] = None
    error_id: Optional[str] = None  # stands in the server's log, beside the details
    retry_after: Optional[float] = None
    scope: Optional[Literal["session", "user", "server"]] = None
    agents: Optional[list[AgentCard]] = None
    unsaved: Optional[bool] = None

    @classmethod
    def of(cls, error: ProtocolError) -> Self:
        """Return the answer to what was wrong."""
        return cls.model_validate({"code": error.code, "message": error.message, **error.fields})


class HeartbeatFrame(ServerFrame):
    """A sign of life, where nothing else was said for a while. Never numbered."""

    event = "heartbeat"


class LogoutResponse(ServerFrame):
    """The session has ended. The connection may log in again."""

    event = "logout_response"
    status: Literal["success"] = "success"


Upload = UploadStart | UploadChunk | UploadCancel
AboutConversations = ListConversations | GetConversation | RenameConversation | DeleteConversation
AnyClientFrame = (
    Login | AgentRequest | CancelRequest | InputResponse | Upload | AboutConversations | Refresh | Heartbeat | Logout
)
AnyServerFrame = (
    LoginResponse
    | RefreshResponse
    | UploadProgress
    | UploadComplete
    | Conversations
    | ConversationFrame
    | ConversationUpdated
    | ConversationDeleted
    | AgentRequestReceived
    | ToolCallFrame
    | ToolResultFrame
    | AgentOutputFrame
    | AgentReasoningFrame
    | ToolProgressFrame
    | AgentDataFrame
    | AgentFileFrame
    | InputRequiredFrame
    | AgentResponseFrame
    | TaskCancelled
    | ErrorFrame
    | HeartbeatFrame
    | LogoutResponse
)
