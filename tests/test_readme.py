"""The README's Python snippets run as they stand, but for the address."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from agentsocket.agent.loader import load_agents
from agentsocket.server import AgentServer
from agentsocket.settings import Settings
from tests.support import PATIENCE, side_by_side

ROOT = Path(__file__).parent.parent
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
EMBEDDED = [snippet for snippet in SNIPPETS if "AgentServer(" in snippet]
PROGRAMS = [snippet for snippet in SNIPPETS if "asyncio.run(main())" in snippet and snippet not in EMBEDDED]
AGENTS = [snippet for snippet in SNIPPETS if "class MyAgent" in snippet]


async def run(program: str, port: int) -> str:
    program, replaced = re.subn(r"WebSocketClient\(", f'WebSocketClient("ws://127.0.0.1:{port}", ', program)
    assert replaced == 1
    return await printed_by(program)


async def printed_by(program: str) -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(2 * PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def settings() -> Settings:
    return Settings(host="127.0.0.1", port=0)


async def test_a_client_of_the_readme_runs() -> None:
    async def check(program: str) -> None:
        async with AgentServer(settings(), load_agents(["test:create_agent"])) as server:
            printed = await run(program, server.port)
        if "listen_for_events" in program:
            for event in ("tool_call", "tool_result", "agent_output", "agent_response"):
                assert event in printed
        else:
            assert "Tokyo" in printed
            assert "391" in printed
            assert "8.04" in printed

    await side_by_side(check, PROGRAMS)


async def test_the_agent_of_the_readme_is_served(tmp_path: Path) -> None:
    (snippet,) = AGENTS
    (tmp_path / "readme_agent.py").write_text(snippet)
    async with AgentServer(settings(), load_agents([f"{tmp_path / 'readme_agent.py'}:MyAgent"])) as server:
        ask = PROGRAMS[1].replace("What is 17 * 23?", "one two three").replace("5 miles in km?", "four")
        printed = await run(ask, server.port)
    assert "Counting… " in printed
    assert "That was 3 words." in printed


async def test_the_program_of_the_readme_that_has_a_server_within_it_runs() -> None:
    (program,) = EMBEDDED
    assert await printed_by(program) == "within your own program\n"


def test_every_python_snippet_is_run() -> None:
    assert len(PROGRAMS) + len(AGENTS) + len(EMBEDDED) == len(SNIPPETS)
