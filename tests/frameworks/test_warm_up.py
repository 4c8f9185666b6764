"""What a framework would do at the first message, on the loop and for long, is done at the start."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.frameworks.model_server import ModelServer

ROOT = Path(__file__).parent.parent.parent

AGENT = """
from tests.frameworks.builds import {framework} as builds

def weather(city: str) -> str:
    "Tell the weather."
    return city

agent = builds.build({url!r}, [weather], [])

def factory():
    return agent
"""

PROGRAM = """
import asyncio, json, sys
from agentsocket.agent.loader import load_agents
from tests.frameworks.recorder import Recorder
from tests.support import made

async def main():
    agent = await made(load_agents([sys.argv[1]])["default"])
    before = set(sys.modules)
    await agent.run("weather(Oslo) then say", Recorder())
    print(json.dumps(sorted(set(sys.modules) - before)))

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["agent", "factory"])
async def test_the_first_message_imports_hardly_anything(
    framework: str, name: str, models: ModelServer, tmp_path: Path
) -> None:
    file = tmp_path / "warm_agent.py"
    file.write_text(AGENT.format(framework=framework, url=models.url))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, f"{file}:{name}"),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "GOOGLE_API_KEY": "none"},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    late = json.loads(out.decode().splitlines()[-1])
    assert len(late) <= 3, late
