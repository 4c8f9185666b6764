"""Settings: one frozen model, filled from the command line, then from ``WS_`` variables of the environment."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "WS_"


class SettingsError(Exception):
    """A setting has a wrong value; the message names the setting."""


def _switched_off(value: Any) -> Any:
    return None if str(value).strip().lower() in {"none", "0", "off", ""} else value


def _items(value: Any) -> Any:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        ip_network(item)
    return value


def _existing(value: Path) -> Path:
    if not value.is_file():
        raise ValueError("there is no such file")
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
SecondsOrNone = Annotated[Seconds | None, BeforeValidator(_switched_off)]
CountOrNone = Annotated[Count | None, BeforeValidator(_switched_off)]
TextOrNone = Annotated[str | None, BeforeValidator(lambda value: value or None)]
Items = Annotated[tuple[str, ...], BeforeValidator(_items)]
Agents = Annotated[Items, Field(min_length=1)]
Networks = Annotated[Items, AfterValidator(_networks)]
FileOrNone = Annotated[Annotated[Path, AfterValidator(_existing)] | None, BeforeValidator(lambda value: value or None)]


class Settings(BaseModel):
    """What can be set. Times are in seconds, sizes in bytes; "none" or 0 switches a limit off where it may be off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  # open by design, and warned about
    port: int = Field(8765, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    agent: Agents = Field(
        ("agentsocket.offline_agent:create_agent",),
        description="the agent to serve, module:attribute or file.py:attribute; "
        "several as name=module:attribute each, the first is the default",
    )
    auth_token: TextOrNone = Field(None, description="token that a login must carry")
    tls_cert: FileOrNone = Field(None, description="TLS certificate chain, a PEM file")
    tls_key: FileOrNone = Field(None, description="TLS private key, a PEM file")
    console: bool = Field(default=True, description="serve the browser console")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level to log")

    max_tasks: Count = Field(16, description="tasks that one session runs at once")
    max_total_tasks: Count = Field(1000, description="tasks that all sessions run at once")
    max_sessions: Count = Field(4000, description="sessions, those that wait for their client included")
    max_sessions_per_address: CountOrNone = Field(
        200, description="sessions opened from one address; loopback addresses are exempt"
    )
    max_connections: Count = Field(2000, description="connections")
    max_connections_per_address: CountOrNone = Field(
        100, description="connections from one address; loopback addresses are exempt"
    )
    max_message_size: Count = Field(256 * 1024, description="bytes of one message from a client")
    max_login_size: Count = Field(16 * 1024, description="bytes of one message before the login")
    max_queue: Count = Field(4, description="messages of one connection that wait to be read")
    max_errors: CountOrNone = Field(20, description="errors within a minute after which a connection is closed")
    max_threads: Count = Field(64, description="threads for synchronous agents and tools")
    rate_limit: SecondsOrNone = Field(100, description="messages a second from one connection")
    rate_burst: Count = Field(200, description="messages that may come at once on top of that")
    uvloop: bool = Field(default=False, description="run on uvloop, which has to be installed")
    compression: bool = Field(default=False, description="permessage-deflate, some 50 kB of memory a connection")
    send_buffer: Count = Field(64 * 1024, description="kernel's send buffer of one connection")

    handshake_timeout: Seconds = Field(5, description="for a connection to become a WebSocket")
    login_timeout: Seconds = Field(10, description="for a connection to log in")
    ping_interval: SecondsOrNone = Field(15, description="between keepalive pings")
    ping_timeout: Seconds = Field(8, description="for a client to answer a ping")
    write_deadline: Seconds = Field(10, description="for a client that reads nothing")
    close_timeout: Seconds = Field(2, description="for a closing connection to close")
    cancel_timeout: Seconds = Field(10, description="for an agent to stop when it is cancelled")
    agent_creation_timeout: Seconds = Field(30, description="for the agent of a new session to be created")
    agent_timeout: SecondsOrNone = Field(None, description="for one task to run")
    shutdown_grace: float = Field(
        10, ge=0, allow_inf_nan=False, description="for running tasks to end when the server is stopped"
    )
    block_warning: SecondsOrNone = Field(1, description="of a blocked event loop until the log says where it stands")

    resume_window: Seconds = Field(120, description="that a resumable session waits for its client")
    resume_log_size: Count = Field(1024 * 1024, description="bytes of frames kept for a client that comes back")
    resume_log_frames: Count = Field(4096, description="frames kept for a client that comes back")
    resume_memory: Count = Field(256 * 1024 * 1024, description="bytes that all sessions keep for such clients")

    allowed_origins: Items = Field((), description="web origins allowed beside the server's own, separated by commas")
    allowed_hosts: Items = Field(
        (), description="host names that browsers may use for this server, separated by commas"
    )
    trusted_proxies: Networks = Field(
        (), description="addresses whose X-Forwarded-For is believed, separated by commas"
    )


def load_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read settings from the command line, and what it does not name from the environment.

    Raises:
        SettingsError: if a value is wrong. ``--help`` and an unknown flag end the process, as argparse does.
    """
    flags = vars(_parser().parse_args(arguments))
    given = {name: environment[_variable(name)] for name in Settings.model_fields if _variable(name) in environment}
    given |= flags
    try:
        settings = Settings.model_validate(given)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = str(error["loc"][0])
        # The value itself may be a secret.
        source = _flag(name) if name in flags else _variable(name)
        raise SettingsError(f"{source}: {error['msg'].lower().removeprefix('value error, ')}") from None
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("--tls-cert and --tls-key go together")
    return settings


def program() -> str:
    """Return what the server was started as, for messages and ``--help``."""
    name = Path(sys.argv[0]).name
    return "python -m agentsocket" if name == "__main__.py" else name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program(),
        description="Serve an AI agent over WebSocket.",
        epilog="A flag comes before its environment variable, which comes before its line in the file .env.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) or "none" if isinstance(field.default, tuple) else field.default
        shown = "none" if default is None else default
        text = f"{field.description} (default: {shown}; {_variable(name)})".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(_flag(name), help=text, action=argparse.BooleanOptionalAction)
        elif name == "agent":
            parser.add_argument(_flag(name), help=text, metavar="AGENT", action="append")
        else:
            parser.add_argument(_flag(name), help=text, metavar=name.rpartition("_")[2].upper())
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return PREFIX + name.upper()
