"""Somebody else's modules are never shadowed: an agent's own folder comes first, and each agent has its own."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from agentsocket.agent.loader import AgentNotLoadable, load
from agentsocket.agent.neighbours import Neighbourhood
from tests.support import Peer, side_by_side
from tests.test_process import ended, started, talking, told_port

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agentsocket"
OURS = sorted(
    {path.stem for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("*.py")]}
    | {
        path.name
        for folder in (PACKAGE, ROOT)
        for path in folder.iterdir()
        if path.is_dir() and path.stem.isidentifier()
    }
)
# What Python itself has loaded by then is found before anybody's file, with or without a server.
OURS = [n for n in OURS if not n.startswith("_") and n not in sys.stdlib_module_names - {"test"} | {"agentsocket"}]
"""How every module and folder of ours is called."""

NOBODY = 65534
"""A user's id that has no rights."""

ASKER = f"""
import importlib

NAMES = {OURS}

async def agent(message):
    return " ".join(name for name in NAMES if importlib.import_module(name).WHOSE != "mine") or "all mine"
"""


def named_like_ours(folder: Path) -> None:
    """Fill a folder with modules of our names, and one package."""
    for name in OURS[1:]:
        (folder / f"{name}.py").write_text("WHOSE = 'mine'\n")
    (folder / OURS[0]).mkdir()
    (folder / OURS[0] / "__init__.py").write_text("WHOSE = 'mine'\n")


async def test_an_agents_own_modules_come_before_all_of_ours(tmp_path: Path) -> None:
    async def check(spec: str) -> None:
        assert await answer(tmp_path, f"--agent={spec}") == "all mine"

    named_like_ours(tmp_path)
    (tmp_path / "asker.py").write_text(ASKER)
    await side_by_side(check, ["asker:agent", "asker.py:agent"])


async def test_they_do_where_the_server_is_started_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    named_like_ours(tmp_path / "project")
    (tmp_path / "project" / "asker.py").write_text(ASKER)
    assert await answer(tmp_path, "--agent=project/asker.py:agent") == "all mine"


async def test_what_is_installed_comes_before_ours_too(tmp_path: Path) -> None:
    (tmp_path / "installed").mkdir()
    named_like_ours(tmp_path / "installed")
    (tmp_path / "asker.py").write_text(ASKER)
    assert await answer(tmp_path, "--agent=asker:agent", PYTHONPATH=str(tmp_path / "installed")) == "all mine"


async def test_an_agents_file_may_have_any_name(tmp_path: Path) -> None:
    async def check(name: str) -> None:
        folder = tmp_path / f"of {name}"
        folder.mkdir()
        (folder / f"{name}.py").write_text("async def agent(message):\n    return message\n")
        assert await answer(folder, f"--agent={name}.py:agent") == "hello"

    await side_by_side(check, ["protocol", "session", "test", "settings", "logging"])


async def test_the_agent_that_ships_is_found_by_its_doors_name_from_anywhere(tmp_path: Path) -> None:
    assert "offline agent" in await answer(tmp_path, "--agent=test:create_agent")


async def test_an_agent_gets_the_vocabulary_through_the_door_where_nothing_else_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "asker.py").write_text(
        "from protocol import AgentResponse\nasync def agent(message):\n    return AgentResponse.__module__\n"
    )
    assert await answer(tmp_path, "--agent=asker:agent") == "agentsocket.protocol.events"


async def test_a_file_within_a_package_may_import_its_neighbours_relatively(tmp_path: Path) -> None:
    package = tmp_path / "shop" / "desk"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "tools.py").write_text("NAME = 'relative'\n")
    (package / "agent.py").write_text("from .tools import NAME\nasync def agent(message):\n    return NAME\n")
    assert await answer(tmp_path, "--agent=shop/desk/agent.py:agent") == "relative"


OWN_NAME = """
import dataclasses, pickle

@dataclasses.dataclass
class Own:
    value: "int" = 5

async def agent(message):
    assert pickle.loads(pickle.dumps(Own())) == Own()
    return __name__

if __name__ == "__main__":
    raise SystemExit("it was run, not imported")
"""


async def test_a_file_is_imported_under_a_name_that_nothing_else_has(tmp_path: Path) -> None:
    async def check(case: tuple[str, str]) -> None:
        path, name = case
        folder = tmp_path / re.sub(r"\W", "_", path)
        file = folder / path
        file.parent.mkdir(parents=True)
        if file.parent != folder:
            (file.parent / "__init__.py").touch()
        file.write_text(OWN_NAME)
        assert await answer(folder, f"--agent={path}:agent") == name.format(folder.name)

    cases = {
        "my.agent.py": "my_agent",
        "v1.2-beta.py": "v1_2-beta",
        "logging.py": "logging_",
        "__main__.py": "__main___",
        "shop/__init__.py": "shop",
        "shop/my.agent.py": "shop.my_agent",
        "email/agent.py": "agent_1_{}.email.agent",
        "email/__init__.py": "agent_1_{}.email",
    }
    await side_by_side(check, cases.items())


async def test_a_module_of_the_current_folder_comes_before_what_the_server_has_loaded(tmp_path: Path) -> None:
    async def check(spec: str) -> None:
        assert Path(await answer(tmp_path, f"--agent={spec}")).is_relative_to(tmp_path)

    for path in ("email", "test"):
        (tmp_path / path).mkdir()
        (tmp_path / path / "__init__.py").write_text("async def agent(message):\n    return __file__\n")
    for path in ("email/agent.py", "queue.py"):
        (tmp_path / path).write_text("async def agent(message):\n    return __file__\n")
    await side_by_side(check, ["email.agent:agent", "queue:agent", "test:agent"])


@pytest.fixture
def closed() -> Iterator[Path]:
    """Make a folder with one in it that this process, which is not root meanwhile, may not look into."""
    was = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "closed").mkdir(mode=0)
        (folder / "agent.py").touch()
        if was == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(was)
            (folder / "closed").chmod(0o700)


def test_a_folder_that_is_closed_to_this_user_has_no_names(closed: Path) -> None:
    assert Neighbourhood([closed]).has("agent")
    assert not Neighbourhood([closed / "closed"]).has("agent")
    with pytest.raises(AgentNotLoadable, match=r"Permission denied: '.*/closed/agent\.py'"):
        load([f"{closed}/closed/agent.py:agent"])


# ---- Several agents in one server ------------------------------------------------------------------------------------

AGENT = """
import dataclasses, pickle
{at_the_top}
from helpers.texts import polite

@dataclasses.dataclass
class Own:
    value: "int" = 5

async def agent(message):
    {at_first_use}
    import tools.prices as prices
    import only_{name}
    there_and_back = pickle.loads(pickle.dumps([tools.Tool(), Own()]))
    assert isinstance(there_and_back[0], tools.Tool) and there_and_back[1] == Own()
    return polite(f"{{tools.WHOSE}} {{prices.WHOSE}} {{only_{name}.tools.WHOSE}} {{tools.relative.WHOSE}}")
"""


def shops(folder: Path, *, at_the_top: bool) -> None:
    """Make two agents whose files, tools and helpers have the same names."""
    for name in ("desk", "shop"):
        home = folder / name
        for package in ("tools", "helpers"):
            (home / package).mkdir(parents=True)
        module = f"WHOSE = '{name}'\n"
        (home / "tools" / "__init__.py").write_text(f"{module}from . import relative\nclass Tool: pass\n")
        (home / "tools" / "relative.py").write_text(module)
        (home / "tools" / "prices.py").write_text(f"import tools\n{module}assert tools.WHOSE == WHOSE\n")
        (home / "helpers" / "texts.py").write_text(f"def polite(text): return 'The {name} says: ' + text\n")
        (home / f"only_{name}.py").write_text("import tools\n")
        statement = {"at_the_top": "import tools" if at_the_top else "", "at_first_use": "import tools"}
        (home / "agent.py").write_text(AGENT.format(name=name, **statement))


async def test_two_agents_with_modules_of_the_same_names_have_each_their_own(tmp_path: Path) -> None:
    async def check(at_the_top: bool) -> None:  # noqa: FBT001  # a case
        folder = tmp_path / ("at the top" if at_the_top else "at first use")
        shops(folder, at_the_top=at_the_top)
        arguments = [f"--agent={name}={name}/agent.py:agent" for name in ("desk", "shop")]
        async with started(folder, "--port", "0", *arguments) as process:
            port, _ = await told_port(process)
            for name in ("shop", "desk", "shop"):
                async with connect(f"ws://127.0.0.1:{port}") as connection:
                    peer = Peer(connection)
                    await peer.login(agent=name)
                    assert await peer.ask("hello") == f"The {name} says: {name} {name} {name} {name}"

    await side_by_side(check, [True, False])


async def test_a_copy_of_ours_beside_one_of_two_agents_is_not_taken_for_ours(tmp_path: Path) -> None:
    for name in ("desk", "shop"):
        (tmp_path / name / "agentsocket").mkdir(parents=True)
        (tmp_path / name / "agentsocket" / "copied.py").touch()
        (tmp_path / name / f"{name}.py").write_text(
            "import agentsocket.server\nasync def agent(message):\n    return agentsocket.server.__file__\n"
        )
    assert await answer(tmp_path, "--agent=desk/desk.py:agent", "--agent=shop=shop/shop.py:agent") == str(
        PACKAGE / "server.py"
    )


async def test_a_bare_name_that_two_agents_have_is_refused_with_both_places(tmp_path: Path) -> None:
    for name in ("desk", "shop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tools.py").touch()
        (tmp_path / name / f"{name}.py").write_text(
            "import importlib\nimportlib.import_module('tools')\nasync def agent(message): ...\n"
        )
    arguments = [f"--agent={name}={name}/{name}.py:agent" for name in ("desk", "shop")]
    async with started(tmp_path, "--port", "0", *arguments) as process:
        code, _, log = await ended(process)
    assert code == 2
    assert f"'tools' stands in '{tmp_path}/desk' and in '{tmp_path}/shop'" in log
    assert log.count("\n") == 1


async def answer(folder: Path, *arguments: str, **environment: str) -> str:
    """Start a clone's server in this folder, ask its agent, and return what it says."""
    async with started(folder, "--port", "0", *arguments, **environment) as process, talking(process) as peer:
        return await peer.ask("hello")
