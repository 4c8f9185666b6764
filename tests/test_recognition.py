"""Where ``--agent`` points: what can never serve is refused at the start, in one line that says what can."""

import sys
from pathlib import Path

import pytest

from agentsocket.agent.loader import AgentNotLoadable
from tests.support import load_agent, made
from tests.test_process import ended, started

MODULE = """
import abc, contextlib, functools, typing

class Agent:
    async def run(self, message, turn):
        return message

class OfAnything(Agent):
    def __init__(self, *args, **options):
        pass

class Opened:
    async def __aenter__(self):
        return Agent()
    async def __aexit__(self, *_):
        pass

class Made:
    def __new__(cls):
        return Agent()

class Delegating:
    def __getattr__(self, name):
        return getattr(Agent(), name)

@contextlib.asynccontextmanager
async def opened():
    yield Agent()

async def factory(*, model="small"):
    return Agent()

partial = functools.partial(lambda key: Agent(), "key")

def anything(*args, **kwargs): ...
def any_options(**options): ...
async def anything_async(*args): ...
async def query(*, prompt, options=None): ...
def needs_more(message, other): ...
def needs_named(message, *, key): ...

def silent(message="hello"):
    yield message

async def silent_async():
    yield "hello"

class NoRun:
    pass

class SynchronousRun:
    def run(self, message, turn): ...

class Abstract(abc.ABC):
    @abc.abstractmethod
    async def run(self, message, turn): ...

class Shape(typing.Protocol):
    async def run(self, message, turn): ...

class OddRun:
    async def run(self): ...

class NeedsKey(Agent):
    def __init__(self, key): ...

class NeedsNamed(Agent):
    def __init__(self, *, key): ...

class Program:
    def __call__(self, *args, **kwargs): ...

program = Program()
number = 5
agent = Agent()

class Odd:
    def __call__(self, message): ...
    @property
    def __signature__(self):
        raise RuntimeError("odd")


class Checked(Agent):
    def check(self):
        raise ConnectionError("no\\nnet")
    def __call__(self):
        return Agent()

checked = Checked()

def __getattr__(name):
    if name == "lazy":
        return 1 / 0
    if name == "exits":
        raise SystemExit(3)
    if name == "interrupts":
        raise KeyboardInterrupt
    if name == "lazy_attribute":
        return number.bit
    raise AttributeError(name)
"""

FACTORIES = ["Agent", "OfAnything", "Opened", "Made", "Delegating", "opened", "factory", "partial"]

REFUSED = {
    "anything": "'anything': it takes anything (*args, **kwargs)",
    "any_options": "'any_options': it takes anything (*args, **kwargs)",
    "anything_async": "'anything_async': it takes anything (*args, **kwargs)",
    "program": "'Program': it takes anything (*args, **kwargs)",
    "query": "'query': it requires prompt by name",
    "needs_more": "'needs_more': it has 2 required parameters",
    "needs_named": "'needs_named': it requires key by name",
    "silent": "'silent': it is a generator without a required parameter",
    "silent_async": "'silent_async': it is a generator without a required parameter",
    "NoRun": "the class 'NoRun' has no 'async def run(self, message, turn)'",
    "SynchronousRun": "the class 'SynchronousRun' has no 'async def run(self, message, turn)'",
    "Abstract": "of the class 'Abstract' there can be no instance: it is abstract",
    "Shape": "of the class 'Shape' there can be no instance: it is abstract",
    "OddRun": "'OddRun.run' cannot be called with (message, turn)",
    "NeedsKey": "'NeedsKey': it has 1 required parameters",
    "NeedsNamed": "'NeedsNamed': it requires key by name",
    "number": "found an object of type int",
    "agent": "found an object of type Agent",
}

FAILING = {
    "lazy": "getting 'lazy' failed: ZeroDivisionError: division by zero ({file}, line ",
    "exits": "getting 'exits' failed: SystemExit: 3 ({file}, line ",
    "interrupts": "getting 'interrupts' failed: KeyboardInterrupt ({file}, line ",
    "lazy_attribute": "getting 'lazy_attribute' failed: AttributeError: 'int' object has no attribute 'bit'",
    "missing": "has no attribute 'missing'",
    "checked": "'checked' cannot be served: ConnectionError: no ({file}, line ",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recognised_agents.py"
    path.write_text(MODULE)
    return path


@pytest.mark.parametrize("name", FACTORIES)
async def test_what_makes_agents_is_a_factory(file: Path, name: str) -> None:
    agent = await made(load_agent(f"{file}:{name}"))
    assert await agent.run("hello", None) == "hello"  # type: ignore[arg-type]  # this agent needs none


@pytest.mark.parametrize(("name", "told"), REFUSED.items())
def test_what_could_never_serve_is_refused_with_what_could(file: Path, name: str, told: str) -> None:
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent(f"{file}:{name}")
    assert told in str(caught.value)
    assert "accepted is a factory of agents" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "told"), FAILING.items())
def test_what_fails_when_it_is_looked_at_is_told_in_one_line(file: Path, name: str, told: str) -> None:
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent(f"{file}:{name}")
    assert told.format(file=file) in str(caught.value)
    assert "\n" not in str(caught.value)


UNSERVED = {
    "crewai.crew": "CrewAI",
    "autogen_agentchat.agents": "AutoGen",
    "dspy.predict.react": "DSPy",
    "haystack.components.agents": "Haystack",
    "smolagents.agents": "smolagents",
    "semantic_kernel.agents": "Semantic Kernel",
}

FRAMEWORK = """
class Base:
    def __call__(self, task, **kwargs): ...
    def run(self, *args, **kwargs): ...

Base.__module__ = {module!r}

class Mine(Base):
    pass

class Served(Base):
    async def run(self, message, turn):
        return message

of_theirs, of_mine = Base(), Mine()
"""


@pytest.mark.parametrize(("module", "framework"), UNSERVED.items())
@pytest.mark.parametrize("name", ["of_theirs", "of_mine", "Mine"])
def test_an_agent_of_a_framework_without_an_adapter_is_refused_by_the_frameworks_name(
    tmp_path: Path, module: str, framework: str, name: str
) -> None:
    file = tmp_path / "unserved.py"
    file.write_text(FRAMEWORK.format(module=module))
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent(f"{file}:{name}")
    assert framework in str(caught.value)
    assert "accepted is a factory of agents" in str(caught.value)
    assert module.partition(".")[0] not in sys.modules


def test_ones_own_agent_that_is_made_of_such_a_framework_is_served(tmp_path: Path) -> None:
    file = tmp_path / "served.py"
    file.write_text(FRAMEWORK.format(module="dspy.primitives"))
    load_agent(f"{file}:Served")


BROKEN = {
    "a key": ("import os\n\nKEY = os.environ['NO_SUCH_KEY']\n", "KeyError: 'NO_SUCH_KEY' ({file}, line 3)"),
    "in a library": ("import json\njson.loads('{')\n", "({file}, line 2)"),
    "in a neighbour": ("import broken_neighbour\n", "ZeroDivisionError: division by zero ({neighbour}, line 2)"),
    "syntax": ("\n\ndef f(:\n", "({file}, line 3)"),
    "exit": ("raise SystemExit('no\\nway')\n", "SystemExit: no ({file}, line 1)"),
    "wordless": (
        "class Wordless(Exception):\n    def __str__(self):\n        raise ValueError\nraise Wordless\n",
        "failed: Wordless ({file}, line 4)",
    ),
    "interrupt": ("raise KeyboardInterrupt\n", "failed: KeyboardInterrupt ({file}, line 1)"),
    "its own kind": ("class Own(BaseException): ...\nraise Own('hm')\n", "failed: Own: hm ({file}, line 2)"),
    "a group": ("raise BaseExceptionGroup('g', [SystemExit(1)])\n", "failed: BaseExceptionGroup: g"),
    "wordless by an exit": (
        "class Wordless(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Wordless\n",
        "failed: Wordless ({file}, line 4)",
    ),
    "long": ("raise ValueError('x' * 9999)\n", "x ({file}, line 1)"),
}


@pytest.mark.parametrize(("source", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_an_agent_that_fails_while_it_is_imported_is_told_with_its_own_line(
    tmp_path: Path, source: str, told: str
) -> None:
    file, neighbour = tmp_path / "broken_agent.py", tmp_path / "broken_neighbour.py"
    file.write_text(source)
    neighbour.write_text("\n1 / 0\n")
    with pytest.raises(AgentNotLoadable) as caught:
        load_agent(f"{file}:agent")
    assert told.format(file=file, neighbour=neighbour) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_the_traceback_of_an_agent_that_cannot_be_loaded_is_there_at_debug(tmp_path: Path, level: str) -> None:
    (tmp_path / "broken_agent.py").write_text("KEY = {}['no such key']\n")
    async with started(tmp_path, "--agent", "broken_agent:agent", "--log-level", level) as process:
        code, _, log = await ended(process)
    assert code == 2
    assert f"({tmp_path / 'broken_agent.py'}, line 1)" in log.splitlines()[-1]
    assert ("Traceback" in log) == (level == "debug")
    assert ("KEY = {}['no such key']" in log) == (level == "debug")
