"""Put an AI agent behind a WebSocket. What an application imports stands here; it is loaded where it is used (PEP 562).

The rooms: ``protocol`` (the vocabulary of the wire), ``agent`` (what an agent is), ``containment`` (what one may do to
the process), ``identity`` (who is there), ``files`` (what is
uploaded and sent), ``session`` (one login), ``connection`` (one socket), ``server`` and
``process`` above them; ``client`` and ``terminal`` on the other side.
"""

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; to import it would take longer than all the rest
if TYPE_CHECKING:
    from agentsocket.agent.adapters.frameworks import adapt
    from agentsocket.agent.contract import Agent, AgentError, Approval, Attachment, Context, Turn
    from agentsocket.agent.current import current_turn
    from agentsocket.client.client import WebSocketClient
    from agentsocket.identity.user import AuthError, LoginAttempt, User
    from agentsocket.protocol.events import (
        AgentData,
        AgentFile,
        AgentOutput,
        AgentReasoning,
        AgentResponse,
        InputRequired,
        ToolCall,
        ToolProgress,
        ToolResult,
    )
    from agentsocket.server import AgentServer
    from agentsocket.settings import Settings

__version__ = "1.0.0"

__all__ = [
    "Agent",
    "AgentData",
    "AgentError",
    "AgentFile",
    "AgentOutput",
    "AgentReasoning",
    "AgentResponse",
    "AgentServer",
    "Approval",
    "Attachment",
    "AuthError",
    "Context",
    "InputRequired",
    "LoginAttempt",
    "Settings",
    "ToolCall",
    "ToolProgress",
    "ToolResult",
    "Turn",
    "User",
    "WebSocketClient",
    "adapt",
    "current_turn",
]

_ROOMS = {
    "agent.adapters.frameworks": ("adapt",),
    "agent.contract": ("Agent", "AgentError", "Approval", "Attachment", "Context", "Turn"),
    "agent.current": ("current_turn",),
    "client.client": ("WebSocketClient",),
    "identity.user": ("AuthError", "LoginAttempt", "User"),
    "protocol.events": (
        *("AgentData", "AgentFile", "AgentOutput", "AgentReasoning", "AgentResponse", "InputRequired"),
        *("ToolCall", "ToolProgress", "ToolResult"),
    ),
    "server": ("AgentServer",),
    "settings": ("Settings",),
}


def __getattr__(name: str) -> object:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
