"""The systemd unit of ``docs/deployment.md`` fits the server that it starts."""

import configparser
import shlex
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

from agentsocket.descriptors import RESERVED_DESCRIPTORS
from agentsocket.server import SHUTDOWN
from agentsocket.settings import Settings
from tests.deployment.proxies import blocks, documented_settings

ROOT = Path(__file__).parent.parent.parent
UNIT = configparser.ConfigParser(interpolation=None)
UNIT.read_string(blocks("ini")[0])
SERVICE = UNIT["Service"]
SETTINGS = Settings(**documented_settings())


def test_systemd_waits_longer_than_a_shutdown_takes() -> None:
    assert float(SERVICE["TimeoutStopSec"]) > SETTINGS.shutdown_grace + SHUTDOWN + 1


def test_there_are_files_enough_for_every_connection() -> None:
    assert int(SERVICE["LimitNOFILE"]) > SETTINGS.max_connections + RESERVED_DESCRIPTORS


async def test_a_wrong_setting_ends_the_server_with_the_code_that_is_not_restarted() -> None:
    _, program = shlex.split(SERVICE["ExecStart"])
    process = await create_subprocess_exec(sys.executable, program, "--port", "none", cwd=ROOT, stderr=PIPE)
    await process.communicate()
    assert process.returncode == int(SERVICE["RestartPreventExitStatus"])


def test_conversations_lie_in_the_folder_that_the_unit_makes() -> None:
    assert "DynamicUser" in SERVICE  # so that there is no other that is writable
    environment = dict(line.split("=", 1) for line in blocks("sh")[0].splitlines())
    kind, _, path = environment["WS_STORE"].partition(":")
    assert (kind, Path(path).parent) == ("sqlite", Path("/var/lib") / SERVICE["StateDirectory"])
