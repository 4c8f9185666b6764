"""The kinds of values that settings have. A value that could never do what it is set for is refused with what would."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

LONGEST = 1e8
"""Seconds, some three years: beyond a hundred times as much, clocks and timers overflow."""

LARGEST = 2**53
"""Whole numbers up to this one are exact wherever they are reckoned with."""

BUFFER = 2**30
"""Bytes that a kernel takes for the size of a buffer."""

DEFAULT_PORTS = {"http": 80, "https": 443}


def _switched_off(value: Any) -> Any:
    return None if str(value).strip().lower() in {"none", "0", "off"} else value


def _items(value: Any) -> Any:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _stripped(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for item in values:
        try:
            right = str(ip_network(item, strict=False))
        except ValueError:
            raise ValueError(f"'{item}' is no address and no network: such as 10.0.0.1 or 10.0.0.0/8") from None
        _expect(item, item if right.partition("/")[0] == item.partition("/")[0] else right)
    return values


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for item in values:
        if "*" in item:
            raise ValueError(f"'{item}': there are no wildcards; list each name that browsers use")
        _expect(item.lower(), _host_of(item))
    return values


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for item in values:
        if "*" in item:
            raise ValueError(f"'{item}': there are no wildcards; list each origin, such as https://app.example")
        if item != "null":  # what a page without an origin of its own sends, if somebody really wants that
            _expect(item, _origin_of(item))
    return values


def _origin_of(text: str) -> str:
    """Return the origin as a browser sends it."""
    scheme, separator, _ = text.partition("://")
    if not separator:
        return f"https://{_host_of(text)}{_port_of(text, 'https')} or the same with http://"
    scheme = {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme.lower())
    host = _host_of(text)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{_port_of(text, scheme)}"


def _port_of(text: str, scheme: str) -> str:
    try:
        port = _split(text).port
    except ValueError:
        raise ValueError(f"'{text}' has no port that there could be") from None
    return "" if port in {None, DEFAULT_PORTS.get(scheme)} else f":{port}"


def _host_of(text: str) -> str:
    """Return the name or address in what may also have a scheme, a port and a path, as browsers write it."""
    try:
        bare = str(ip_address(text))
    except ValueError:
        pass
    else:
        return bare
    try:
        host = _split(text).hostname or ""
        if ":" in host:
            return str(ip_address(host))
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        host = ""
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", host, re.ASCII):
        raise ValueError(f"'{text}' has no host name in it")
    return host


def _split(text: str) -> Any:
    return urlsplit(text if "://" in text else f"//{text}")


def _expect(given: str, right: str) -> None:
    if given != right:
        raise ValueError(f"'{given}' never matches: it would have to be {right}")


def _file_types(values: tuple[str, ...]) -> tuple[str, ...]:
    for item in values:
        if item != "all" and not re.fullmatch(r"[\w!#$&^.+-]+/(\*|[\w!#$&^.+-]+)", item, re.ASCII):
            raise ValueError(f"'{item}' is no media type: such as image/*, text/csv, or all")
        _expect(item, item.lower())
    return values


def _store(value: str) -> str:
    if not re.fullmatch(r"sqlite:.+", value):
        raise ValueError("sqlite: and the path of a file, such as sqlite:conversations.db")
    return value


def _listened_on(value: str) -> str:
    try:
        value.encode("idna")  # as the look-up of a name does
    except UnicodeError:
        raise ValueError("no address and no host name") from None
    if "/" in value:
        raise ValueError("an address or a host name alone, such as 127.0.0.1; the port has a setting of its own")
    return value


def _folder(value: str) -> str:
    """Return ``/agent`` for ``agent``, ``/agent`` and ``/agent/``, and nothing for ``/``."""
    parts = [part for part in value.strip().split("/") if part]
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) and part.strip(".") for part in parts):
        raise ValueError("a path, such as /agent, of letters, digits, and - . _ ~")
    return "".join(f"/{part}" for part in parts)


def _existing(value: Path) -> Path:
    if not value.is_file():
        raise ValueError("there is no such file")
    return value


Seconds = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Grace = Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=LARGEST)]
BufferSize = Annotated[int, Field(gt=0, le=BUFFER)]
SecondsOrNone = Annotated[Seconds | None, BeforeValidator(_switched_off)]
CountOrNone = Annotated[Count | None, BeforeValidator(_switched_off)]
RateOrNone = Annotated[
    Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)] | None, BeforeValidator(_switched_off)
]
TextOrNone = Annotated[str | None, BeforeValidator(_stripped)]
Address = Annotated[str, AfterValidator(_listened_on)]
Items = Annotated[tuple[str, ...], BeforeValidator(_items)]
Agents = Annotated[Items, Field(min_length=1)]
Networks = Annotated[Items, AfterValidator(_networks)]
Hosts = Annotated[Items, AfterValidator(_hosts)]
Origins = Annotated[Items, AfterValidator(_origins)]
Folder = Annotated[str, AfterValidator(_folder)]
FileOrNone = Annotated[Annotated[Path, AfterValidator(_existing)] | None, BeforeValidator(_stripped)]
FolderOrNone = Annotated[Path | None, BeforeValidator(_stripped)]
FileTypes = Annotated[Items, AfterValidator(_file_types), Field(min_length=1)]
StoreOrNone = Annotated[
    Annotated[str, AfterValidator(_store)] | None, BeforeValidator(_switched_off), BeforeValidator(_stripped)
]
