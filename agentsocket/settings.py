"""Settings: one frozen model, filled from the command line, then from ``WS_`` variables of the environment."""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsocket.setting_types import (
    Address,
    Agents,
    BufferSize,
    Count,
    CountOrNone,
    FileOrNone,
    FileTypes,
    Folder,
    FolderOrNone,
    Grace,
    Hosts,
    Networks,
    Origins,
    RateOrNone,
    Seconds,
    SecondsOrNone,
    StoreOrNone,
    TextOrNone,
)

PREFIX = "WS_"

ENV_FILE = "--env-file"

NOT_SETTINGS = {"WS_ENV_FILE", "WS_URI"}
"""Variables that look like settings: where settings are read from, and one of the client's."""

KUBERNETES = re.compile(r"WS_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""What Kubernetes tells every container of a Service whose name is, or begins with, "ws"."""


class SettingsError(Exception):
    """A setting has a wrong value; the message names the setting."""


class Settings(BaseModel):
    """What can be set. Times are in seconds, sizes in bytes; "none" or 0 switches a limit off where it may be off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Address = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104  # open by design, and warned about
    port: int = Field(default=8765, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    agent: Agents = Field(
        default=("agentsocket.offline_agent:create_agent",),
        description="the agent to serve, module:attribute or file.py:attribute; "
        "several as name=module:attribute each, the first is the default",
    )
    auth_token: TextOrNone = Field(default=None, description="token that a login must carry")
    auth: TextOrNone = Field(
        default=None, description="function of your own that decides about logins, module:function or file.py:function"
    )
    auth_timeout: Seconds = Field(default=5, description="seconds that deciding about one login may take")
    auth_header: TextOrNone = Field(
        default=None, description="name of the header in which one of --trusted-proxies names whom it has logged in"
    )
    jwt_key: FileOrNone = Field(
        default=None, description="path of the public key (PEM), or of the secret, that signed tokens are verified by"
    )
    jwt_jwks_url: TextOrNone = Field(
        default=None, description="address of the keys that signed tokens are verified by (JWKS)"
    )
    jwt_audience: TextOrNone = Field(default=None, description="audience that a signed token must be for; any for any")
    jwt_issuer: TextOrNone = Field(default=None, description="issuer that a signed token must be from; any for any")
    max_failed_logins: CountOrNone = Field(
        default=10, description="number of failed logins from one address within a minute after which it has to wait"
    )
    max_sessions_per_user: CountOrNone = Field(default=None, description="number of sessions that one user may have")
    max_tasks_per_user: CountOrNone = Field(default=None, description="number of tasks that one user runs at once")
    user_requests_per_minute: CountOrNone = Field(
        default=None, description="number of requests that one user may send a minute"
    )
    log_users: bool = Field(default=False, description="log the ids of users, which are personal data")
    tls_cert: FileOrNone = Field(default=None, description="path of the TLS certificate chain, a PEM file")
    tls_key: FileOrNone = Field(default=None, description="path of the TLS private key, a PEM file")
    base_path: Folder = Field(
        default="", description="path under which a proxy shows the server, /agent say, where it passes that path on"
    )
    console: bool = Field(default=True, description="serve the browser console")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged: debug, info, warning or error"
    )

    max_tasks: Count = Field(default=16, description="number of tasks that one session runs at once")
    max_total_tasks: Count = Field(default=1000, description="number of tasks that all sessions run at once")
    max_sessions: Count = Field(
        default=4000, description="number of sessions, those that wait for their client included"
    )
    max_sessions_per_address: CountOrNone = Field(
        default=200, description="number of sessions opened from one address; loopback addresses are exempt"
    )
    max_connections: Count = Field(default=2000, description="number of connections that are open at once")
    max_connections_per_address: CountOrNone = Field(
        default=100, description="number of connections from one address; loopback addresses are exempt"
    )
    max_message_size: Count = Field(default=256 * 1024, description="bytes that one message from a client may have")
    max_login_size: Count = Field(default=16 * 1024, description="bytes that one message may have before the login")
    max_tool_output: CountOrNone = Field(
        default=1_000_000, description="bytes that the result of a tool may have; a larger one is cut, and says so"
    )
    max_queue: Count = Field(default=4, description="number of messages of one connection that wait to be read")
    max_errors: CountOrNone = Field(default=20, description="number of errors within a minute that close a connection")
    max_threads: Count = Field(default=64, description="number of threads for synchronous agents and tools")
    rate_limit: RateOrNone = Field(default=100, description="number of messages a second that one connection may send")
    rate_burst: Count = Field(default=200, description="number of messages that may come at once on top of that")
    uvloop: bool = Field(default=False, description="run on uvloop, which has to be installed")
    compression: bool = Field(
        default=False, description="offer permessage-deflate, which takes some 50 kB of memory a connection"
    )
    send_buffer: BufferSize = Field(
        default=64 * 1024, description="bytes of the kernel's send buffer of one connection"
    )

    handshake_timeout: Seconds = Field(default=5, description="seconds that a connection has to become a WebSocket")
    login_timeout: Seconds = Field(default=10, description="seconds that a connection has to log in")
    ping_interval: SecondsOrNone = Field(default=15, description="seconds between two keepalive pings to a client")
    ping_timeout: Seconds = Field(default=8, description="seconds that a client has to answer a ping")
    write_deadline: Seconds = Field(
        default=10, description="seconds after which a client that reads nothing is cut off"
    )
    close_timeout: Seconds = Field(default=2, description="seconds that a closing connection has to close")
    cancel_timeout: Seconds = Field(default=10, description="seconds that an agent has to stop when it is cancelled")
    agent_creation_timeout: Seconds = Field(
        default=30, description="seconds that the agent of a new session may take to be made"
    )
    agent_timeout: SecondsOrNone = Field(default=None, description="seconds that one task may run")
    shutdown_grace: Grace = Field(
        default=10, description="seconds that running tasks have to end when the server is stopped"
    )
    block_warning: SecondsOrNone = Field(
        default=1, description="seconds that the event loop may stand still before the log says where it stands"
    )

    store: StoreOrNone = Field(
        default=None, description="where conversations are kept, such as sqlite:conversations.db; none: nowhere"
    )
    save_timeout: Seconds = Field(default=5, description="seconds that an agent has to say what it remembers")
    conversation_ttl: SecondsOrNone = Field(
        default=None, description="seconds without a turn after which a conversation is deleted"
    )
    max_conversations_per_user: CountOrNone = Field(
        default=1000, description="number of conversations that one user may have"
    )
    files_dir: FolderOrNone = Field(
        default=None,
        description="path of the folder in which files are kept; without one, the system's own for them",
    )
    max_file_size: Count = Field(default=25 * 1024 * 1024, description="bytes that one file may have")
    max_files_size: Count = Field(
        default=100 * 1024 * 1024,
        description="bytes that the files of one session may have, and likewise those of one user or address",
    )
    max_total_files_size: Count = Field(
        default=4 * 1024 * 1024 * 1024, description="bytes that the files of all sessions may have"
    )
    file_types: FileTypes = Field(
        default=("all",),
        description="media types that clients may upload, such as image/* or text/csv; commas between, all for all",
    )

    resume_window: Seconds = Field(default=120, description="seconds that a resumable session waits for its client")
    resume_log_size: Count = Field(
        default=1024 * 1024, description="bytes of frames that a session keeps for a client that comes back"
    )
    resume_log_frames: Count = Field(default=4096, description="number of frames that it keeps for such a client")
    resume_memory: Count = Field(
        default=256 * 1024 * 1024, description="bytes that all sessions together keep for clients that come back"
    )

    allowed_origins: Origins = Field(
        default=(),
        description="web origins that may connect beside the server's own, such as https://app.example; commas between",
    )
    allowed_hosts: Hosts = Field(
        default=(), description="host names that browsers may use for this server, without a port; commas between"
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="addresses or networks whose X-Forwarded-For and --auth-header are believed; commas between",
    )

    @property
    def is_open(self) -> bool:
        """Whether nobody has to prove who they are."""
        methods = (self.auth_token, self.auth, self.jwt_key, self.jwt_jwks_url, self.auth_header)
        return all(method is None for method in methods)


def load_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read settings from the command line, and what it does not name from the environment. What is empty is not set.

    Raises:
        SettingsError: if a flag is unknown or a value is wrong. ``--help`` ends the process, as argparse does.
    """
    flags = {name: value for name, value in _read_flags(arguments).items() if value not in ("", [])}
    values = {name: environment.get(_variable(name), "") for name in Settings.model_fields}
    given = {name: value.strip() for name, value in values.items() if not is_unset(_variable(name), value)}
    given |= flags
    for name, value in given.items():
        if not _is_text(value):
            raise SettingsError(f"{_source(name, flags)}: it is not UTF-8")
    try:
        settings = Settings.model_validate(given)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = str(error["loc"][0])
        # The value itself may be a secret.
        own, _, text = error["msg"].partition("Value error, ")
        raise SettingsError(f"{_source(name, flags)}: {text or own.lower()}") from None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("--tls-cert and --tls-key go together")
    return settings


def is_unset(variable: str, value: str) -> bool:
    """Whether a ``WS_`` variable says nothing: it is empty, or Kubernetes means a Service named "ws" by it."""
    return not value.strip() or (variable.endswith("_PORT") and re.match("(tcp|udp|sctp)://", value) is not None)


def oddities(environment: Mapping[str, str]) -> Iterable[str]:
    """Give a sentence for each ``WS_`` variable that sets nothing, although it looks as if it were meant to."""
    known = {_variable(name) for name in Settings.model_fields}
    for name, value in environment.items():
        if name in known:
            if value.strip() and is_unset(name, value):
                yield f"{name} is ignored: it is what Kubernetes says of a Service, and not a port"
        elif _is_meant_for_us(name) and not is_unset(name, value):
            yield f"{name} is no setting of this server{_nearest(name, known)}"


def _is_meant_for_us(name: str) -> bool:
    return name.startswith(PREFIX) and name not in NOT_SETTINGS and not KUBERNETES.fullmatch(name)


def program() -> str:
    """Return what the server was started as, for messages and ``--help``."""
    name = Path(sys.argv[0]).name
    return "python -m agentsocket" if name == "__main__.py" else name


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and not how everything else is used."""
        raise SettingsError(message)


def _read_flags(arguments: Sequence[str]) -> dict[str, Any]:
    parser = _parser()
    known, unknown = parser.parse_known_args(arguments)
    flag = next((argument.partition("=")[0] for argument in unknown if argument.startswith("-")), None)
    if flag:  # a value may be a secret
        raise SettingsError(f"unrecognized arguments: {flag}{_nearest(flag, parser._option_string_actions)}")  # noqa: SLF001  # the public way to them is --help
    if unknown:
        raise SettingsError("unrecognized arguments: a value without its flag, which would be such as --port 8765")
    flags = {name: value.strip() if isinstance(value, str) else value for name, value in vars(known).items()}
    if "agent" in flags:
        flags["agent"] = [agent for agent in flags["agent"] if agent.strip()]
    return {name: value for name, value in flags.items() if name in Settings.model_fields}


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # seldom needed

    found = get_close_matches(name, known, 1)
    return f"; did you mean {found[0]}?" if found else ""


def _is_text(value: Any) -> bool:
    """Whether this came as UTF-8; what did not stands in Python as surrogates."""
    return not re.search("[\ud800-\udfff]", str(",".join(value) if isinstance(value, list) else value))


def _source(name: str, flags: Mapping[str, Any]) -> str:
    return _flag(name) if name in flags else _variable(name)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program(),
        description="Serve an AI agent over WebSocket.",
        epilog="A flag comes before its environment variable, which comes before its line in the file .env. "
        "What is empty is not set; where a limit may be off, none switches it off.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    text = f"file of settings to read instead of .env in the current folder, or none ({PREFIX}ENV_FILE)"
    parser.add_argument(ENV_FILE, help=text, metavar="PATH")
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) or "none" if isinstance(field.default, tuple) else field.default
        shown = "none" if default in {None, ""} else default
        text = f"{field.description} (default: {shown}; {_variable(name)})".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(_flag(name), help=text, action=argparse.BooleanOptionalAction)
        elif name == "agent":
            parser.add_argument(_flag(name), help=text, metavar="AGENT", action="append")
        else:
            parser.add_argument(_flag(name), help=text, metavar=_metavar(name, str(field.description)))
    return parser


def _metavar(name: str, description: str) -> str:
    unit = description.partition(" ")[0]
    return {"seconds": "SECONDS", "bytes": "BYTES", "number": "NUMBER", "path": "PATH"}.get(
        unit, name.rpartition("_")[2].upper()
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return PREFIX + name.upper()
