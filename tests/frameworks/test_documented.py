"""What docs/frameworks.md shows under "Who asks", served as its readers would serve it."""

import re
from pathlib import Path

import pytest

from agentsocket import AgentServer, Settings
from agentsocket.agent.loader import load_agents
from tests.frameworks.model_server import ModelServer
from tests.frameworks.test_who_asks import authenticate, outputs, visit
from tests.server_process import ROOT

DOCUMENT = (ROOT / "docs" / "frameworks.md").read_text().partition("## Who asks")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOCUMENT, re.DOTALL))


async def test_user_model_and_temperature_of_each_request_arrive(
    framework: str, models: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{models.url}/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", models.url)
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    attribute = "agent" if framework == "llamaindex" else "make"
    agents = load_agents([f"{tmp_path}/with_{framework}.py:{attribute}"])
    settings = Settings(host="127.0.0.1", port=0, shutdown_grace=0)
    async with AgentServer(settings, agents, authenticate=authenticate) as server:
        for user in ("ada", "bob"):
            async with visit(server, user) as peer:
                (said,) = await outputs(peer, "whoami() then say", params={"model": "large", "temperature": 0.25})
                assert user in said
                await outputs(peer, "say", params={"model": ["small"], "temperature": "hot"})
    large, small = ("gemini-2.5-pro", "gemini-2.5-flash") if framework == "google_adk" else ("gpt-4.1", "gpt-4.1-mini")
    assert models.models == 2 * [(large, 0.25), (large, 0.25), (small, 1.0)]


def test_there_is_code_for_each_framework() -> None:
    names = ("google_adk", "langgraph", "llamaindex", "openai_agents", "pydantic_ai")
    assert sorted(FILES) == sorted(["wishes", *(f"with_{name}" for name in names)])
