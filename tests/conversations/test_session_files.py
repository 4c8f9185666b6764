"""Which files an agent finds in ``Turn.session_files``: this request's, earlier ones, its own; after a restart too."""

from pathlib import Path

from agentsocket.agent.contract import Turn
from tests.content.uploading import upload
from tests.conversations.keeping import entered, keeping
from tests.support import Scripted


async def told(_: str, turn: Turn) -> str:
    """Tell of all files, and that an attached one is found by its id."""
    assert all(turn.session_files[file.id].name == file.name for file in turn.attachments)
    return " ".join(sorted([(await file.read()).decode() for file in turn.session_files.values()]))


async def send(_: str, turn: Turn) -> str:
    file = await turn.send_file(b"agent's", name="a.json")
    return turn.session_files[file.file_id].name


async def test_an_agent_finds_the_files_of_its_session_by_their_ids(tmp_path: Path) -> None:
    def agent() -> Scripted:
        return Scripted(told=told, send=send)

    async with keeping(tmp_path, agent) as server:
        async with entered(server) as (peer, opened):
            assert await peer.ask("told") == ""
            file_id = await upload(peer, b"client's")
            assert await peer.ask("told") == "", "nobody has named it yet"
            await peer.request("told", attachments=[file_id])
            assert (await peer.expect("agent_response"))["response"] == "client's"
            assert await peer.ask("send") == "a.json"
            assert await peer.ask("told") == "agent's client's"
        async with entered(server) as (other, _):
            assert await other.ask("told") == ""
    async with keeping(tmp_path, agent) as server, entered(server) as (other, _):
        assert await other.ask("told") == ""
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, _):
            assert await peer.ask("told") == "agent's client's"
