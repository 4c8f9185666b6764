"""Who may import whom: the direction is held, so that it cannot rot."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}

SERVER_ROOMS: dict[str, set[str]] = {
    "protocol": set(),
    "agent_contract": {"protocol"},
    "encoding": set(),
    "logs": set(),
    "limits": set(),
    "settings": set(),
    "watchdog": set(),
    "banner": {"settings"},
    "frame_log": {"encoding", "protocol"},
    "writer": {"frame_log"},
    "close_codes": set(),
    "inbox": {"close_codes", "logs", "writer"},
    "connection": {"close_codes", "inbox", "limits", "logs", "settings", "writer"},
    "turn": {"encoding", "frame_log", "protocol"},
    "agent_task": {"agent_contract", "encoding", "frame_log", "logs", "protocol", "turn"},
    "session": {"agent_contract", "agent_task", "encoding", "frame_log", "protocol", "settings"},
    "handshake": {"connection", "console", "session", "settings"},
    "console": set(),
    "connection_handler": {"close_codes", "connection", "limits", "protocol", "session", "writer"},
    "agent_loader": {"adapters", "agent_contract"},
    "agent_server": {
        "agent_contract",
        "close_codes",
        "connection",
        "connection_handler",
        "handshake",
        "session",
        "settings",
        "writer",
    },
    "websocket_server": {"agent_loader", "agent_server", "banner", "logs", "settings", "watchdog"},
    "websocket_client_example": {"protocol", "terminal"},
}

NO_SOCKETS = {"protocol", "agent_contract", "encoding", "frame_log", "turn", "agent_task", "session"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", SERVER_ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert imported(ROOT / f"{room}.py") & OURS <= SERVER_ROOMS[room]


@pytest.mark.parametrize("room", NO_SOCKETS)
def test_what_agents_and_sessions_are_made_of_knows_no_websockets(room: str) -> None:
    assert "websockets" not in imported(ROOT / f"{room}.py")


@pytest.mark.parametrize("room", SERVER_ROOMS.keys() - {"websocket_client_example"})
def test_the_server_uses_the_library_without_its_asyncio_layer(room: str) -> None:
    assert "websockets.asyncio" not in (ROOT / f"{room}.py").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "adapters").rglob("*.py")), ids=lambda path: path.stem)
def test_an_adapter_knows_events_and_nothing_of_the_server(path: Path) -> None:
    assert imported(path) & OURS <= {"protocol", "agent_contract", "adapters"}


@pytest.mark.parametrize("path", sorted((ROOT / "terminal").glob("*.py")), ids=lambda path: path.stem)
def test_the_terminal_knows_the_client_and_nothing_of_the_server(path: Path) -> None:
    assert imported(path) & OURS <= {"protocol", "terminal", "websocket_client_example"}


def test_the_contract_knows_no_asyncio_no_sockets_and_no_logging() -> None:
    assert not imported(ROOT / "protocol.py") & {"asyncio", "websockets", "logging", "socket"}


def test_every_room_of_the_server_is_held() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} - {"test"} <= set(SERVER_ROOMS)


def test_the_agent_that_ships_is_an_agent_like_any_other() -> None:
    assert imported(ROOT / "test.py") & OURS <= {"protocol", "agent_contract", "adapters", "offline_agent"}
