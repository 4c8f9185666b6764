"""The agent that ships, before any model: nothing of one is imported, and what is missing is told at the start."""

import subprocess
import sys
from pathlib import Path

import pytest

from agentsocket.agent.loader import AgentNotLoadable
from agentsocket.offline_agent.agent import OfflineAgent, create_agent
from tests.offline import PATIENCE
from tests.support import load_agent

ROOT = Path(__file__).parent.parent

FACTORIES = """
from agentsocket import AgentError

class Agent:
    async def run(self, message, turn):
        return message

    def check(self):
        raise AssertionError("this is an agent's own")

class Factory:
    def __call__(self):
        return Agent()

    def check(self):
        raise AgentError("the key is missing")

broken = Factory()
"""


@pytest.mark.parametrize("model", [None, ""])
def test_without_a_model_the_offline_agent_answers(monkeypatch: pytest.MonkeyPatch, model: str | None) -> None:
    monkeypatch.delenv("AGENT_MODEL", raising=False)
    if model is not None:
        monkeypatch.setenv("AGENT_MODEL", model)
    assert isinstance(create_agent(), OfflineAgent)


def test_without_a_model_nothing_of_one_is_imported() -> None:
    program = (
        "import sys, websocket_server; from agentsocket.agent.loader import load_agents; "
        "load_agents(['test:create_agent']); "
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, check=True, text=True, timeout=PATIENCE
    )
    assert "agentsocket.offline_agent" in loaded.stdout.split()
    assert not {"pydantic_ai", "openai", "anthropic", "httpx"} & set(loaded.stdout.split())


def test_packages_that_a_model_needs_and_are_missing_are_told_of_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MODEL", "openai:gpt-5-mini")
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    monkeypatch.delitem(sys.modules, "agentsocket.offline_agent.model_agent", raising=False)
    with pytest.raises(AgentNotLoadable, match=r'pip install "\.\[llm\]"$'):
        load_agent("test:create_agent")


def test_a_factory_may_refuse_to_start(tmp_path: Path) -> None:
    (tmp_path / "refusing_agent.py").write_text(FACTORIES)
    with pytest.raises(AgentNotLoadable, match=r"^cannot load agent '.*:broken': the key is missing$"):
        load_agent(f"{tmp_path / 'refusing_agent.py'}:broken")


def test_what_an_agents_class_calls_check_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "checking_agent.py").write_text(FACTORIES)
    assert callable(load_agent(f"{tmp_path / 'checking_agent.py'}:Agent"))
