"""An agent within what its factory opens for it remembers as it would without."""

from pathlib import Path

from agentsocket.agent.loader import load_agents
from tests.conversations.keeping import entered, keeping

AGENT = """
from contextlib import asynccontextmanager
from tests.conversations.keeping import Rememberer


@asynccontextmanager
async def make():
    yield Rememberer()
"""


async def test_an_agent_of_a_context_manager_is_saved_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "opened.py").write_text(AGENT)
    (make,) = load_agents([f"{tmp_path / 'opened.py'}:make"]).values()
    async with keeping(tmp_path, make) as server:
        async with entered(server) as (peer, opened):
            assert await peer.ask("a") == "A"
            await peer.send("logout")
            await peer.expect("logout_response")
        async with entered(server, conversation_id=opened["conversation_id"]) as (peer, answer):
            assert answer["memory"] == "restored"
            assert await peer.ask("recall") == "a"
