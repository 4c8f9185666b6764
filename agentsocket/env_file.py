"""The file ``.env``: which one is read, and what of it counts."""

import argparse
import os
from collections.abc import MutableMapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from agentsocket.settings import ENV_FILE, PREFIX, SettingsError, is_unset

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class EnvFile(NamedTuple):
    """A file that was read."""

    path: Path
    names: tuple[str, ...]
    """The variables that it has set: those that were not set already."""

    def __str__(self) -> str:
        """Say what it is, and what of it counts: names, and no values."""
        path = os.fsencode(self.path).decode(errors="backslashreplace")
        return f"{path} sets {', '.join(self.names) or 'nothing that is not set already'}"


def read_env_file(arguments: Sequence[str], environment: MutableMapping[str, str]) -> EnvFile | None:
    """Put what the file has into the environment, where nothing stands there yet; without a file, do nothing.

    Raises:
        SettingsError: if it cannot be read, or the one that was asked for is not there.
    """
    chosen = _chosen(arguments, environment)
    if chosen.lower() == "none":
        return None
    try:
        path = Path(chosen or ".env").absolute()
        if not chosen and not path.exists():
            return None
    except OSError as exc:  # what stands there may be a token, so nobody goes on without
        where = "the current folder" if exc.filename is None else exc.filename
        raise SettingsError(f"{where}: {exc.strerror}; start it elsewhere, or with {ENV_FILE} none") from None
    values = _parse(_read(path))
    taken = {name: value for name, value in values.items() if value is not None and _is_free(name, environment)}
    try:
        environment.update(taken)
    except ValueError:
        raise SettingsError(f"{path}: a name in it is none that a variable can have") from None
    return EnvFile(path, tuple(taken))


def _chosen(arguments: Sequence[str], environment: MutableMapping[str, str]) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(ENV_FILE)
    try:
        known, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        raise SettingsError(f"{ENV_FILE}: expected a path, or none") from None
    return str(known.env_file or environment.get(f"{PREFIX}ENV_FILE", "")).strip()


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror or exc}") from None
    encoding = "it is UTF-16: save it as UTF-8" if data.startswith(UTF16_MARKS) or b"\0" in data else "it is not UTF-8"
    try:
        text = data.decode("utf-8-sig")  # some editors put a mark before it
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise SettingsError(f"{path}, line {line}: cannot be read: {encoding}") from None
    if "\0" in text:
        raise SettingsError(f"{path}: cannot be read: {encoding}")
    return text


def _parse(text: str) -> dict[str, str | None]:
    from dotenv.main import DotEnv  # noqa: PLC0415  # most starts have no such file, and are the quicker for it

    return DotEnv(None, StringIO(text), override=False).dict()


def _is_free(name: str, environment: MutableMapping[str, str]) -> bool:
    return name not in environment or (name.startswith(PREFIX) and is_unset(name, environment[name]))
