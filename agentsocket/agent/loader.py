"""From ``--agent module:attribute`` to a factory that makes the agent of one session."""

import functools
import importlib
import importlib.util
import inspect
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from agentsocket.agent.adapters.frameworks import (
    UnsupportedAgent,
    adapt,
    is_adapter,
    prepare,
    recognise,
    warm_up,
)
from agentsocket.agent.adapters.plain import PlainAgent
from agentsocket.agent.adapters.resources import made_in_thread, open_agent, open_in_thread
from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.callables import UnknownKind, kind_of
from agentsocket.agent.contract import Agent, AgentError, AgentFactory, Context
from agentsocket.agent.neighbours import INSTALLED, NOBODYS, Neighbourhood, settle
from agentsocket.agent.recognition import why_unfit
from agentsocket.containment.exits import called

ACCEPTED = (
    "a factory of agents (a function, class or async function without required parameters, or with a context), "
    "a plain function or generator of one message, or an agent of a framework (docs/frameworks.md)"
)

QUICK = 0.005
"""Seconds. A synchronous factory that was quicker than this is called on the event loop from then on."""


class AgentNotLoadable(Exception):  # noqa: N818  # it is what happened, and reads so where it is caught
    """Nothing that can be served stands where the setting points; the message is one line for whoever set it."""


class _Place(NamedTuple):
    """Where an agent or the hook stands: an attribute of a module, a name, or of a file in a folder of its own."""

    what: str
    """What is looked for there, for messages."""
    spec: str
    module: str
    attribute: str
    folders: tuple[Path, ...]
    """Where its modules are looked for before all others, the module itself in the last one."""
    file: Path | None


class Loaded(NamedTuple):
    """What stands behind ``--agent`` and ``--auth``."""

    agents: dict[str, AgentFactory]
    """By their names; the first is the one to take by default."""
    hook: Any
    """The function that decides about logins, if one is set."""


def load(specs: Sequence[str], hook: str | None = None) -> Loaded:
    """Load each ``name=module:attribute``, and what has no name as "default", and the hook.

    Raises:
        AgentNotLoadable: if one of them cannot be loaded, or a name stands twice.
    """
    places: dict[str, _Place] = {}
    for spec in specs:
        named = re.fullmatch(r"([\w.-]+)=(.+)", spec)
        name, place = (named[1], named[2]) if named else ("default", spec)
        if name in places:
            raise AgentNotLoadable(f"two agents are named '{name}': give each a name of its own, name=module:attribute")
        places[name] = _locate(place)
    hook_place = None if hook is None else _locate(hook, "--auth")
    everything = [*places.values(), *([] if hook_place is None else [hook_place])]
    neighbourhood = settle(
        (folder for place in everything for folder in place.folders),
        # A file alone is imported by itself, whatever its name.
        ((place.folders[-1], place.module) for place in everything if place.file is None or place.folders[1:]),
    )
    agents = {name: _load_factory(place, neighbourhood) for name, place in places.items()}
    return Loaded(agents, None if hook_place is None else _load_hook(hook_place, neighbourhood))


def load_agents(specs: Sequence[str]) -> dict[str, AgentFactory]:
    """Load agents alone; see ``load``."""
    return load(specs).agents


def _locate(spec: str, what: str = "agent") -> _Place:
    """Find out where ``module:attribute`` or ``path/to/file.py:attribute`` points."""
    module, colon, attribute = spec.rpartition(":")
    if not (module and colon and attribute):
        raise AgentNotLoadable(f"cannot load {what} '{spec}': expected module:attribute or path/to/file.py:attribute")
    try:
        if not module.endswith(".py"):
            return _Place(what, spec, module, attribute, (Path.cwd(),), None)
        file = Path(module).resolve()
        if not file.is_file():
            raise AgentNotLoadable(f"cannot load {what} '{spec}': there is no file '{module}'")
        names, folders = _locate_file(file)
        return _Place(what, spec, names, attribute, folders, file)
    except OSError as exc:  # a folder may be closed to this user, or the current one be gone
        raise AgentNotLoadable(f"cannot load {what} '{spec}': {exc.strerror}: '{exc.filename or '.'}'") from exc


def _locate_file(file: Path) -> tuple[str, tuple[Path, ...]]:
    names, folder = [file.stem.replace(".", "_")], file.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names, folder = [folder.name, *names], folder.parent
    if names[1:] and names[-1] == "__init__":
        names.pop()  # it is the package itself
    return ".".join(names), tuple(dict.fromkeys((file.parent, folder)))


def _load(place: _Place, neighbourhood: Neighbourhood) -> Any:
    name = place.spec.rpartition(":")[0]
    try:
        module = _import(place, neighbourhood)
    except BaseException as exc:  # a module may raise anything while it is imported; a real Ctrl-C raises nothing
        raise _not_loadable(place, f"importing '{name}' failed", exc) from exc
    try:
        return getattr(module, place.attribute)
    except BaseException as exc:  # an attribute may be made when it is asked for
        if isinstance(exc, AttributeError) and exc.name in {None, place.attribute}:
            text = f"cannot load {place.what} '{place.spec}': '{name}' has no attribute '{place.attribute}'"
            raise AgentNotLoadable(text) from exc
        raise _not_loadable(place, f"getting '{place.attribute}' failed", exc) from exc


def _load_hook(place: _Place, neighbourhood: Neighbourhood) -> Any:
    found = _load(place, neighbourhood)
    if inspect.isclass(found) or not callable(found) or not _takes_one(found):
        text = f"a function of one LoginAttempt is wanted, not {found!r:.80}"
        raise AgentNotLoadable(f"cannot load {place.what} '{place.spec}': {text}")
    return found


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        return True
    return True


def _load_factory(place: _Place, neighbourhood: Neighbourhood) -> AgentFactory:
    found = _load(place, neighbourhood)
    try:
        return _factory(found, place.spec)
    except (UnsupportedAgent, AgentError) as exc:
        raise AgentNotLoadable(f"cannot load agent '{place.spec}': {exc}") from exc
    except AgentNotLoadable:
        raise
    except BaseException as exc:
        raise _not_loadable(place, f"'{place.attribute}' cannot be served", exc) from exc


def _not_loadable(place: _Place, what: str, failure: BaseException) -> AgentNotLoadable:
    where = f"{place.what} '{place.spec}'"
    return AgentNotLoadable(f"cannot load {where}: {what}: {_reason(failure)}{_own_line(place, failure)}")


def _reason(failure: BaseException) -> str:
    try:
        text = str(failure)
    except BaseException:  # noqa: BLE001  # it is somebody else's
        text = ""
    text = "".join(char if char.isprintable() else " " for char in text.strip().partition("\n")[0][:300])
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__


def _own_line(place: _Place, failure: BaseException) -> str:
    """Say where in the agent's own code it failed, where that can be told."""
    if isinstance(failure, SyntaxError) and failure.filename:
        return f" ({failure.filename}, line {failure.lineno})"
    frames = [frame for frame in traceback.extract_tb(failure.__traceback__) if _is_own(place, Path(frame.filename))]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_own(place: _Place, file: Path) -> bool:
    if any(name in file.parts for name in INSTALLED) or any(file.is_relative_to(folder) for folder in NOBODYS):
        return False
    return any(file.is_relative_to(folder) for folder in place.folders)


def _import(place: _Place, neighbourhood: Neighbourhood) -> ModuleType:
    name = neighbourhood.name_of(place.module, place.folders[-1])
    if place.file is None:
        # The door of a clone, from wherever it is started: Python itself has a package of that name.
        is_door = name == "test" and not neighbourhood.has("test")
        return importlib.import_module("agentsocket.offline_agent" if is_door else name)
    if ("." in name or place.folders[1:]) and "." not in place.file.stem:
        return importlib.import_module(name)
    return _import_file(name, place.file)


def _factory(found: Any, spec: str) -> AgentFactory:
    if recognise(found) is not None:
        warm_up(adapt(found))  # so that what cannot be served is told at the start, too
        return _Shared(adapt, found)  # the object is shared, the memory in its adapter is the session's own
    if (reason := why_unfit(found)) is not None:
        raise AgentNotLoadable(f"cannot load agent '{spec}': {reason}; accepted is {ACCEPTED}")
    try:
        kind = kind_of(found)
    except UnknownKind as exc:
        name = getattr(found, "__qualname__", type(found).__qualname__)
        raise AgentNotLoadable(f"cannot load agent '{spec}': '{name}': {exc}; accepted is {ACCEPTED}") from exc
    prepare()
    match kind:
        case "factory":
            if not inspect.isclass(found) and hasattr(found, "check"):
                found.check()  # so that it says now, and not at the first login, that it can make none
            return _Factory(found)
        case "factory of a context":
            return _ContextFactory(found)
        case "plain" | "plain with turn":
            return _Shared(functools.partial(PlainAgent, wants_turn=kind == "plain with turn"), found)


class _Shared:
    """Makes agents of one object, a function or a framework's agent."""

    def __init__(self, make: Callable[[Any], Agent], found: Any) -> None:
        self._make = make
        self.__wrapped__ = found  # for whoever wants to know what it is of

    def __call__(self) -> Agent:
        return self._make(self.__wrapped__)


class _Factory:
    """Calls a factory that came with the agent."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = self.__wrapped__ = function
        self._quick = inspect.iscoroutinefunction(function)
        self._native: type | None = None
        self._warm = False

    def __call__(self) -> Agent | Awaitable[Agent]:
        return self._make()

    def _make(self, *context: Context) -> Agent | Awaitable[Agent]:
        call = functools.partial(self._call, *context)
        made = self._function(*context) if self._quick else made_in_thread(call, _unmake)
        if type(made) is self._native:
            return cast("Agent", made)  # looked at when the first one was made
        return self._look_at(made)

    async def _look_at(self, made: Any) -> Agent:
        while inspect.isawaitable(made):  # a synchronous factory, called in a thread, may give what is to be awaited
            made = await made
        if recognise(made) is None and isinstance(made, AbstractAsyncContextManager):
            return await _opened(*await open_agent(made))
        if recognise(made) is None and isinstance(made, AbstractContextManager) and not hasattr(made, "run"):
            return await _opened(*await open_in_thread(made))
        agent = _as_agent(made)
        if agent is made:
            self._native = type(made)
        if not self._warm and is_adapter(agent):
            self._warm = True
            await in_thread(warm_up, agent)
        return agent

    def _call(self, *context: Context) -> Any:
        """Make one, in a thread: it may take a minute, and the others should not. Once it was quick, it needs none."""
        started = time.perf_counter()
        made = self._function(*context)
        self._quick = time.perf_counter() - started < QUICK
        return made


class _ContextFactory(_Factory):
    """Calls a factory that is told whom the agent is for."""

    def __call__(self, context: Context) -> Agent | Awaitable[Agent]:  # type: ignore[override]  # the other kind of factory
        return self._make(context)


async def _unmake(made: Any) -> None:
    """Close what a factory made after its login was given up."""
    if inspect.iscoroutine(made):
        made.close()
    elif recognise(made) is None and hasattr(made, "aclose"):
        await called(made.aclose)


async def _opened(made: Any, close: Callable[[], Awaitable[None]]) -> Agent:
    try:
        return _Opened(_as_agent(made), close)
    except BaseException:
        await close()
        raise


class _Opened:
    """An agent with what its factory opened for it, which is closed after it."""

    def __init__(self, agent: Agent, close: Callable[[], Awaitable[None]]) -> None:
        self._agent, self._close = agent, close
        self.__wrapped__ = agent
        self.run = agent.run
        for name in {"save", "load"} & set(dir(agent)):
            setattr(self, name, getattr(agent, name))

    async def aclose(self) -> None:
        """Close the agent, then what was opened for it."""
        try:
            if hasattr(self._agent, "aclose"):
                await called(self._agent.aclose)
        finally:
            await self._close()


def _as_agent(made: Any) -> Agent:
    if recognise(made) is not None:
        return adapt(made)
    if not inspect.iscoroutinefunction(getattr(made, "run", None)):
        raise TypeError(f"the factory made a {type(made).__name__}, which has no 'async def run(message, turn)'")
    return cast("Agent", made)  # checked just now, as far as it can be


def _import_file(name: str, file: Path) -> ModuleType:
    """Import a file by itself: it may be named like a module that is there already, or like none (``my-agent.py``)."""
    while (known := sys.modules.get(name)) is not None:
        if getattr(known, "__file__", None) == str(file):
            return known
        name += "_"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{file}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling and dataclasses look a class's module up
    spec.loader.exec_module(module)
    return module
