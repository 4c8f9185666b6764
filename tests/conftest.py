"""What every test starts from: no settings of whoever runs it."""

import asyncio
import os

import pytest

if os.environ.get("EVENT_LOOP") == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("WS_") or name == "AGENT_MODEL":
            monkeypatch.delenv(name)
