"""Whose modules an agent imports: those of its own folder first, and of two agents with a ``tools.py`` each its own."""

import builtins
import contextlib
import importlib
import os
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

INSTALLED = ("site-packages", "dist-packages")

NOBODYS = (Path(os.__file__).parent, Path(__file__).parents[1])
"""Folders that are no agent's, though they stand in one that is: the standard library, and this package."""


def make_way() -> None:
    """Look last where the running script stands: what an agent imports is its own or installed, not a file of ours."""
    here = str(Path(sys.argv[0]).resolve().parent)
    if sys.path[0] == here:
        sys.path.append(sys.path.pop(0))


def settle(folders: Iterable[Path], modules: Iterable[tuple[Path, str]] = ()) -> "Neighbourhood":
    """Put the folders of agents first on ``sys.path``, and keep apart what has one name in several of them.

    So is an agent's own module, given by its folder and dotted name, where another is loaded by that name (``email``).
    """
    places = list(dict.fromkeys(folder.resolve() for folder in folders))
    first = [str(place) for place in places]
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]
    taken = [top for folder, name in modules if _is_taken(folder, top := name.partition(".")[0])]
    neighbourhood = Neighbourhood(places, taken)
    if neighbourhood.shared:
        neighbourhood.keep_apart()
    return neighbourhood


class Neighbourhood:
    """The folders of a server's agents.

    ``sys.modules`` has one place for each name. So a name that stands in several folders is imported as a submodule of
    its folder (``agent_1_shop.tools``), and an ``import`` statement, at the top of a file or within a function, gets
    the one of the folder that it stands in. Where only the name is told (``importlib.import_module``), nobody can know
    which is meant: that raises ``ImportError``.
    """

    def __init__(self, folders: Sequence[Path], taken: Iterable[str] = ()) -> None:
        self._names = {folder: frozenset(_names(folder)) for folder in folders}
        self._packages = {
            folder: re.sub(r"\W", "_", f"agent_{number}_{folder.name}") for number, folder in enumerate(folders)
        }
        count = Counter(name for names in self._names.values() for name in names)
        # Ours has one place, though a copy of the client's rooms stands beside an agent.
        self.shared = frozenset({name for name, places in count.items() if places > 1}.union(taken) - {"agentsocket"})
        self._import = builtins.__import__

    def keep_apart(self) -> None:
        """Give each folder its own modules of the shared names, from now on."""
        for folder, name in self._packages.items():
            package = sys.modules[name] = ModuleType(name)
            package.__path__ = [str(folder)]
        sys.meta_path.insert(0, self)
        builtins.__import__ = self._import_own

    def has(self, name: str) -> bool:
        """Return whether a module or package of this name stands in one of the folders."""
        return any(name in names for names in self._names.values())

    def name_of(self, module: str, folder: Path) -> str:
        """Return the name under which this folder's module is to be imported."""
        shared = module.partition(".")[0] in self.shared
        return f"{self._packages[folder.resolve()]}.{module}" if shared else module

    def find_spec(self, name: str, path: Sequence[str] | None = None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Find what is meant by a shared name that was not imported from an agent's folder (a meta path finder's)."""
        if path is not None or name not in self.shared:
            return None
        folders = [folder for folder, names in self._names.items() if name in names]
        found = PathFinder.find_spec(name, [entry for entry in sys.path if Path(entry).resolve() not in self._names])
        if found is None:
            places = " and in ".join(f"'{folder}'" for folder in folders)
            raise ImportError(f"'{name}' stands in {places}: an import statement there gets its own, a bare name none")
        return found

    def _import_own(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  # the builtin's own names
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        package = self._package_of(globals or {}, top) if level == 0 and top in self.shared else None
        if package is None:
            return self._import(name, globals, locals, fromlist or (), level)
        if fromlist:
            return self._import(f"{package}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{top}"]

    def _package_of(self, importer: Mapping[str, Any], name: str) -> str | None:
        """Return the package of the innermost folder with such a module that the importing file stands in."""
        for folder in Path(str(importer.get("__file__") or "")).parents:
            if folder in NOBODYS or folder.name in INSTALLED:
                break
            if name in self._names.get(folder, ()):
                return self._packages[folder]
        return None


def _is_taken(folder: Path, name: str) -> bool:
    """Return whether a name means something else by now than the module or package of it in this folder."""
    known = sys.modules.get(name)
    if known is None or all(name != module.name for module in pkgutil.iter_modules([str(folder)])):
        return False
    return not Path(getattr(known, "__file__", None) or "").is_relative_to(folder)


def _names(folder: Path) -> Iterable[str]:
    """Return what can be imported from a folder: modules, packages, and plain folders with modules in them."""
    yield from (module.name for module in pkgutil.iter_modules([str(folder)]))
    with contextlib.suppress(OSError):  # the folder is closed to this user
        yield from (place.name for place in folder.iterdir() if _is_plain_folder(place))


def _is_plain_folder(place: Path) -> bool:
    if not place.name.isidentifier():
        return False
    with contextlib.suppress(OSError):  # as may be one within it: where a service starts in "/", that is "/root"
        return place.is_dir() and not (place / "__init__.py").exists() and any(place.glob("*.py"))
    return False
