"""The wheel, installed alone into a virtual environment that ``INSTALLED`` names, and used from an empty folder.

``.ci/wheel`` builds it, makes that environment, and runs this.
"""

import asyncio
import os
import re
import subprocess
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import PATIENCE

if "INSTALLED" not in os.environ:
    pytest.skip("run it by .ci/wheel", allow_module_level=True)

BIN = Path(os.environ["INSTALLED"], "bin")
WEB = Path(__file__).parents[2] / "agentsocket" / "console" / "web"

AGENT = """
from agentsocket import AgentOutput, Turn
import settings, session, protocol, logs

class Echo:
    async def run(self, message: str, turn: Turn) -> str:
        await turn.emit(AgentOutput(output=settings.GREETING))
        return f"You said: {message}"

agent = Echo
"""

EMBEDDING = """
import asyncio

from agentsocket import Agent, AgentError, AgentServer, Approval, InputRequired
from agentsocket import Settings, ToolCall, Turn, WebSocketClient


class Careful:
    async def run(self, message: str, turn: Turn) -> str:
        await turn.emit(ToolCall(tool_name="look", tool_kwargs={"at": message}))
        answer = Approval.read(await turn.ask(InputRequired(prompt="Go on?", kind="approval")))
        if not answer.approved:
            raise AgentError("You said no.")
        return message


def create() -> Agent:
    return Careful()


async def main() -> None:
    async with AgentServer(Settings(host="127.0.0.1", port=0), {"default": create}) as server:
        async with WebSocketClient(f"ws://127.0.0.1:{server.port}", on_input=lambda question: True) as client:
            print(await client.ask("typed and run"))


asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_agent.py").write_text(AGENT)
    for name in ("settings", "session", "protocol", "logs"):
        (tmp_path / f"{name}.py").write_text("GREETING = 'Mine.'\n")
    return tmp_path


@asynccontextmanager
async def started(folder: Path, *command: str) -> AsyncIterator[tuple[Process, int]]:
    process = await asyncio.create_subprocess_exec(
        str(BIN / command[0]), *command[1:], "--host", "127.0.0.1", "--port", "0", cwd=folder, env={}, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(rb"ws://127.0.0.1:(\d+)\n", await process.stdout.readline())):
                assert process.returncode is None
        yield process, int(found[1])
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
    assert process.returncode == 0


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", [("agentsocket",), ("python", "-m", "agentsocket")], ids=["command", "module"])
async def test_the_server_serves_an_agent_of_this_folder_and_the_client_asks_it(
    folder: Path, command: tuple[str, ...]
) -> None:
    async with started(folder, *command, "--agent", "my_agent.py:agent") as (_, port):
        client: list[str | Path] = [BIN / "agentsocket-client", "hello", "--uri", f"ws://127.0.0.1:{port}"]
        done = await asyncio.to_thread(run, folder, *client)
    assert (done.returncode, done.stderr) == (0, "")
    assert "You said: hello" in done.stdout


async def test_the_agent_that_ships_and_the_console_are_there(folder: Path) -> None:
    async with started(folder, "agentsocket") as (_, port):
        for path in (*WEB.iterdir(), Path("asyncapi.json")):
            url = f"http://127.0.0.1:{port}/{path.name}"
            with await asyncio.to_thread(urllib.request.urlopen, url) as response:  # it is http
                assert response.status == 200


def test_a_wrong_setting_is_told_under_the_commands_own_name(folder: Path) -> None:
    assert run(folder, BIN / "agentsocket", "--port", "many").stderr.startswith("agentsocket: --port: ")
    told = run(folder, BIN / "python", "-m", "agentsocket", "--port", "many").stderr
    assert told.startswith("python -m agentsocket: --port: ")


def test_an_embedding_program_is_typed_and_runs(folder: Path) -> None:
    (folder / "embedding.py").write_text(EMBEDDING)
    checked = run(
        folder, sys.executable, "-m", "mypy", "--strict", "--python-executable", BIN / "python", "embedding.py"
    )
    assert checked.returncode == 0, checked.stdout
    for module in ("settings", "session", "protocol", "logs"):
        (folder / f"{module}.py").unlink()
    done = run(folder, BIN / "python", "embedding.py")
    assert (done.stdout, done.stderr) == ("typed and run\n", "")


def test_it_adds_one_name_to_site_packages(folder: Path) -> None:
    program = "import importlib.metadata as m; print(*sorted({f.parts[0] for f in m.files('agentsocket')}))"
    names = run(folder, BIN / "python", "-c", program).stdout.split()
    assert [name for name in names if name != ".." and not name.endswith(".dist-info")] == ["agentsocket"]


def test_importing_it_takes_less_than_ten_milliseconds(folder: Path) -> None:
    program = "import time; t = time.perf_counter(); import agentsocket; print(time.perf_counter() - t)"
    seconds = min(float(run(folder, BIN / "python", "-c", program).stdout) for _ in range(5))
    assert seconds < 0.01
