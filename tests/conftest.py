"""What every test starts from: no settings of whoever runs it."""

import os

import pytest


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("WS_") or name == "AGENT_MODEL":
            monkeypatch.delenv(name)
