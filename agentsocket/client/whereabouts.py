"""Which server the command means: the one that the environment describes, or the file ``.env`` where it is started."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentsocket.client.address import is_here
from agentsocket.client.printing import note

PORT = 8765
EVERYWHERE = {"", "0.0.0.0", "::", "*"}  # noqa: S104  # what a server listens on, and nobody connects to


class Whereabouts(NamedTuple):
    """A server's address, and its tokens: the one of the environment, and the one of ``.env``."""

    uri: str
    token: str | None
    token_of_file: str | None

    def token_for(self, uri: str) -> str | None:
        """Return the token for an address. That of ``.env`` belongs to the server described, and goes nowhere else."""
        return self.token or (self.token_of_file if uri == self.uri or _is_here(uri) else None)


def whereabouts() -> Whereabouts:
    """Find the server: ``WS_URI``, or else what the server itself is told, as ``WS_HOST`` and ``WS_PORT``."""
    chosen = os.environ.get("WS_ENV_FILE", "").strip()
    return described(os.environ, {} if chosen.lower() == "none" else _env_file(Path(chosen or ".env")))


def described(environment: Mapping[str, str], file: Mapping[str, str | None]) -> Whereabouts:
    """Read an environment and a file, which the environment goes before; what is empty is not there."""

    def given(name: str) -> str:
        values = (environment.get(name, "").strip(), (file.get(name) or "").strip())
        # Kubernetes says such things of a Service named "ws".
        return next((value for value in values if value and not value.startswith("tcp://")), "")

    host, port = given("WS_HOST").strip("[]"), given("WS_PORT")
    host = "localhost" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    port = port if port.strip("0") else str(PORT)  # 0 is any port, nobody knows which
    path = given("WS_BASE_PATH").strip("/")
    uri = given("WS_URI") or f"{'wss' if given('WS_TLS_CERT') else 'ws'}://{host}:{port}{path and f'/{path}'}"
    token, token_of_file = environment.get("WS_AUTH_TOKEN", "").strip(), (file.get("WS_AUTH_TOKEN") or "").strip()
    return Whereabouts(uri, token or None, token_of_file or None)


def _env_file(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    try:
        from dotenv import dotenv_values  # noqa: PLC0415  # the server needs it; a copied client goes without

        return dotenv_values(path, encoding="utf-8-sig")  # some editors put a mark before it
    except ImportError:
        return {}
    except (OSError, ValueError):
        note(f"warning: {path} cannot be read, and is passed over")
        return {}


def _is_here(uri: str) -> bool:
    try:
        return is_here(uri)
    except ValueError:
        return False
