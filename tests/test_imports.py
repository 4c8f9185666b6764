"""Who may import whom, from one table: the direction is held, by folder and by module, so that it cannot rot."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agentsocket"
DOORS = {"websocket_server", "websocket_client_example", "test", "protocol", "session"}

# From the bottom to the top. A folder imports what stands to its right, and itself; a module that may more than its
# folder has a line of its own.
TABLE = """
setting_types
settings               setting_types
env_file               settings
protocol
telemetry
console
addresses
containment
identity               protocol containment settings addresses
agent                  protocol identity containment
conversations
files                  protocol containment conversations settings
session                protocol identity agent containment conversations files telemetry settings
connection             protocol identity agent files session telemetry console settings addresses
signals
sockets
descriptors            settings
server                 protocol identity agent session connection settings sockets
banner                 settings
process                agent containment conversations server banner descriptors signals telemetry settings env_file
__main__               process

client                 protocol
terminal               protocol client
client.command         protocol client terminal

offline_agent          protocol agent files
"""

ALLOWED = {room: set(below) for room, *below in (line.split() for line in TABLE.splitlines() if line)}

# Within a folder: from the bottom to the top. A module imports what stands before it.
ORDER = {
    "protocol": ["close_codes", "errors", "events", "frames", "codec"],
    "containment": ["exits", "forks", "stopping", "threads", "leaving"],
    "agent": ["contract", "current", "callables", "adapters", "card", "neighbours", "recognition", "loader"],
    "conversations": ["contract", "sqlite", "engines"],
    "files": ["kinds", "folder", "store", "shelf", "uploads"],
    "session": [
        "allowance",
        "budget",
        "encoding",
        "big_values",
        "ends",
        "frame_log",
        "shown",
        "transcript",
        "speech",
        "turn",
        "instance",
        "agent_task",
        "making",
        "snapshots",
        "visitor",
        "recap",
        "keeper",
        "session",
        "places",
        "users",
        "conversations",
        "manager",
    ],
    "connection": [
        "proxies",
        "origins",
        "request",
        "file_response",
        "limits",
        "census",
        "kernel",
        "cutter",
        "writer",
        "pace",
        "inbox",
        "download",
        "connection",
        "tls",
        "handshake",
        "attempt",
        "expiry",
        "entrance",
        "handler",
    ],
    "identity": ["user", "authenticator", "hook", "proxy_header", "signed_tokens", "keys", "method", "reception"],
    "telemetry": ["log_lines", "log_output", "logs", "watchdog"],
    "console": ["files"],
    "client": [
        *("errors", "inbox", "printing", "threads", "address", "link", "exchange", "sources", "uploads", "download"),
        *("fates", "credentials", "renewal", "reader", "asking", "conversations", "client"),
        *("person", "saving", "showing", "last_conversation", "whereabouts", "token_command", "command"),
    ],
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """Return a module's name without the package's: ``session.turn``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """Return all that a file imports, as dotted names; what it takes from a package counts as a module of that."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, "imports are absolute"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(path: Path) -> set[str]:
    """Return the folders and modules of the package that a file imports, at most two names deep."""
    parts = [name.split(".") for name in imported(path) if name.startswith("agentsocket.")]
    return {".".join(name[1:3]) for name in parts}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_the_rooms_below_it(path: Path) -> None:
    name = dotted(path)
    if name == "__init__":
        return  # the public names, of any room, and none of them before it is used
    folder = name.partition(".")[0]
    allowed = ALLOWED.get(name, ALLOWED[folder]) | {folder}
    # What comes from the package itself is no room: its version.
    assert {room.partition(".")[0] for room in rooms(path)} - {"__version__"} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_stands_before_it_in_its_folder(path: Path) -> None:
    folder, _, name = dotted(path).partition(".")
    name = name.partition(".")[0]
    if folder not in ORDER or name in {"", "__init__"}:
        return
    neighbours = {room.partition(".")[2] for room in rooms(path) if room.startswith(f"{folder}.")} & set(ORDER[folder])
    assert neighbours <= set(ORDER[folder][: ORDER[folder].index(name) + 1])


def test_every_room_stands_in_the_table() -> None:
    top = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert top - {"__init__", "agentsocket"} == {room for room in ALLOWED if "." not in room}
    for folder, order in ORDER.items():
        inside = {path.stem for path in (PACKAGE / folder).glob("*.py")}
        inside |= {path.parent.name for path in (PACKAGE / folder).glob("*/__init__.py")}
        assert inside - {"__init__"} == set(order)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_nothing_in_the_package_imports_a_door(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & DOORS


@pytest.mark.parametrize("folder", ["protocol", "agent", "session", "offline_agent", "telemetry", "identity"])
def test_what_agents_and_sessions_are_made_of_knows_no_sockets(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("*.py"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"websockets", "socket"}, path


def test_the_vocabulary_knows_no_asyncio_and_no_logging() -> None:
    for path in (PACKAGE / "protocol").glob("*.py"):
        assert not {name.partition(".")[0] for name in imported(path)} & {"asyncio", "logging"}, path


def test_only_the_client_uses_the_asyncio_layer_of_the_library() -> None:
    users = {dotted(path) for path in MODULES if any(name.startswith("websockets.asyncio") for name in imported(path))}
    assert users == {"client.link"}


def test_an_adapter_knows_events_and_nothing_else_of_the_wire() -> None:
    for path in (PACKAGE / "agent" / "adapters").glob("*.py"):
        contained = {"containment.threads", "containment.stopping"}  # where code runs, and how it is stopped
        assert rooms(path) <= {"agent.adapters", "agent.contract", "protocol.events"} | contained, path


def test_a_door_has_no_logic() -> None:
    for door in DOORS:
        for node in ast.parse((ROOT / f"{door}.py").read_text()).body:
            assert isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.If), (door, node.lineno)
