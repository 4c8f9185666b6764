"""The five doors at the root: every public name of each, and that each is the one name's one thing."""

import asyncio
import importlib
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from types import ModuleType

import pytest

import agentsocket
from tests.support import PATIENCE, side_by_side

ROOT = Path(__file__).parent.parent

NAMES = {
    "websocket_server": "main",
    "websocket_client_example": "ClientError ConnectionLost File FileError MessageTooLong NoAnswer ServerError "
    "SnapshotOutput TaskCancelled TaskEvent TaskInterrupted WebSocketClient full_jitter main",
    "test": "OfflineAgent create_agent main",
    "session": "Agent AgentFactory Client Session SessionManager Turn",
    "protocol": "AboutConversations AgentCard AgentData AgentDataFrame AgentFile AgentFileFrame AgentOutput "
    "AgentOutputFrame AgentReasoning AgentReasoningFrame AgentRequest AgentRequestReceived AgentResponse "
    "AgentResponseFrame AnyClientFrame AnyServerFrame CLIENT_FRAME CancelRequest ClientFrame CloseCode "
    "ConversationCard ConversationDeleted ConversationFrame ConversationTurn ConversationUpdated "
    "Conversations Cursor DeleteConversation Emitted Envelope ErrorCode ErrorFrame Event FileName "
    "GetConversation Heartbeat HeartbeatFrame InputRequired InputRequiredFrame InputResponse KnownId "
    "ListConversations Login LoginResponse Logout LogoutResponse MAX_ATTACHMENTS MAX_ID MAX_TITLE "
    "MediaType Optional PageSize PendingInput ProtocolError Refresh RefreshResponse RenameConversation "
    "RequestId ServerFrame Size TaskCancelled TaskFrame TaskSnapshot TerminalFrame ToolCall ToolCallFrame "
    "ToolProgress ToolProgressFrame ToolResult ToolResultFrame Upload UploadCancel UploadChunk "
    "UploadComplete UploadId UploadProgress UploadStart UserCard decode_client_frame decode_server_frame "
    "encode",
    "agentsocket": "Agent AgentData AgentError AgentFile AgentOutput AgentReasoning AgentResponse AgentServer Approval "
    "Attachment AuthError Context InputRequired LoginAttempt Settings ToolCall ToolProgress ToolResult "
    "Turn User WebSocketClient adapt current_turn",
}


async def test_a_door_gives_out_every_public_name() -> None:
    async def check(door: str) -> None:
        program = f"import {door}; print(*sorted(n for n in {NAMES[door].split()} if not hasattr({door}, n)))"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT, stdout=PIPE)
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
        assert out == b"\n"
        assert process.returncode == 0

    await side_by_side(check, NAMES)


@pytest.mark.parametrize("door", sorted(NAMES.keys() - {"websocket_server"}))
def test_a_door_says_what_it_gives_out(door: str) -> None:
    module = agentsocket if door == "agentsocket" else _door(door)
    assert sorted(module.__all__) == sorted(NAMES[door].split())


def _door(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"door_{name}", ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'agentsocket' has no attribute 'nothing'"):
        agentsocket.nothing  # noqa: B018
    assert set(dir(agentsocket)) == {*agentsocket.__all__, "__version__"}


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = "import sys; before = set(sys.modules); import agentsocket; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("agentsocket")] == ["agentsocket"]
    assert not {"typing", "asyncio", "pydantic", "websockets"} & set(loaded)
