"""What stops the start, in one line each: a server must not be more open than whoever started it believes."""

import json
import os
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from asyncio.timeouts import timeout
from pathlib import Path

import pytest

from agentsocket.agent.loader import AgentNotLoadable, load
from agentsocket.banner import banner
from agentsocket.identity.method import authenticator_for
from agentsocket.server import AgentServer
from agentsocket.settings import Settings, SettingsError, load_settings
from tests.server_process import ROOT
from tests.support import PATIENCE, side_by_side

HOOKS = """
from agentsocket import LoginAttempt, User

def authenticate(login): return User("ada")
def nothing(): return User("ada")
def two(login, more): return User("ada")
class Kind: pass
text = "ada"
"""

PROVIDER = ("--jwt-audience", "agents", "--jwt-issuer", "https://login.example.com/")
JWKS = "https://login.example.com/keys"

WRONG = {
    "two methods at once": (
        ("--auth-token", "s3cret", "--auth-header", "X-User", "--trusted-proxies", "127.0.0.1"),
        r"--auth-token and --auth-header: logins are proved by one method, not by two",
    ),
    "a function beside a token": (
        ("--auth", "hooks.py:authenticate", "--auth-token", "s3cret"),
        r"--auth-token and --auth: logins are proved by one method",
    ),
    "a key and a set of keys": (
        ("--jwt-key", "key", "--jwt-jwks-url", JWKS, *PROVIDER),
        r"--jwt-key and --jwt-jwks-url: logins are proved by one method",
    ),
    "a key for any audience and issuer, unsaid": (("--jwt-key", "key"), r"--jwt-key: set --jwt-audience and .* any"),
    "a key for any issuer, unsaid": (("--jwt-key", "key", "--jwt-audience", "agents"), r"--jwt-key: set .* any"),
    "a set of keys for any audience, unsaid": (("--jwt-jwks-url", JWKS), r"--jwt-jwks-url: set --jwt-audience"),
    "an audience without a key": (PROVIDER, r"--jwt-audience and --jwt-issuer: set --jwt-key or --jwt-jwks-url too"),
    "a header that anybody could send": (("--auth-header", "X-User"), r"--auth-header: say with --trusted-proxies"),
    "a file of which none is a key": (("--jwt-key", "short", *PROVIDER), r"--jwt-key: a secret has 32 bytes at least"),
    "a set of keys for one": (("--jwt-key", "set", *PROVIDER), r"--jwt-key: a public key is wanted as PEM"),
    "a broken key": (("--jwt-key", "broken", *PROVIDER), r"--jwt-key: this PEM file holds no public key"),
    "a key that is not there": (("--jwt-key", "missing", *PROVIDER), r"--jwt-key: "),
    "keys that come unprotected": (
        ("--jwt-jwks-url", "http://login.example.com/keys", *PROVIDER),
        r"--jwt-jwks-url: an address of keys begins with https://",
    ),
    "keys at an impossible port": (
        ("--jwt-jwks-url", "https://login.example.com:99999/", *PROVIDER),
        r"--jwt-jwks-url: ",
    ),
    "a header that cannot be": (
        ("--auth-header", "X User", "--trusted-proxies", "127.0.0.1"),
        r"--auth-header: no header can have this name",
    ),
    "no function, but a word": (("--auth", "hooks"), r"cannot load --auth 'hooks': expected module:attribute"),
    "no such module": (("--auth", "no_such:f"), r"cannot load --auth 'no_such:f': importing 'no_such' failed"),
    "no such file": (("--auth", "no_such.py:f"), r"cannot load --auth 'no_such.py:f': there is no file"),
    "no such function": (("--auth", "hooks.py:f"), r"cannot load --auth 'hooks.py:f': .* has no attribute 'f'"),
    "a class": (("--auth", "hooks.py:Kind"), r"cannot load --auth .* a function of one LoginAttempt is wanted"),
    "a text": (("--auth", "hooks.py:text"), r"cannot load --auth .* a function of one LoginAttempt is wanted"),
    "a function of nothing": (("--auth", "hooks.py:nothing"), r"cannot load --auth .* of one LoginAttempt is wanted"),
    "a function of two": (("--auth", "hooks.py:two"), r"cannot load --auth .* of one LoginAttempt is wanted"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hooks.py").write_text(HOOKS)
    (tmp_path / "key").write_text("a secret of thirty-two bytes, or so it is\n")
    (tmp_path / "short").write_text("s3cret\n")
    (tmp_path / "set").write_text(json.dumps({"keys": []}))
    (tmp_path / "broken").write_text("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")
    return tmp_path


async def told(folder: Path, *arguments: str, **environment: str) -> str:
    """Start the server, which must not start; return the one line that it says."""
    process = await create_subprocess_exec(
        *(sys.executable, str(ROOT / "websocket_server.py"), "--port", "0", *arguments),
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, out) == (2, b"")
    assert err.count(b"\n") == 1, err.decode()
    return err.decode().removeprefix("websocket_server.py: ")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_method_that_would_not_hold_stops_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    arguments, line = WRONG[wrong]
    if any(argument.startswith("--jwt-") for argument in arguments):
        pytest.importorskip("jwt")
    monkeypatch.chdir(folder)
    with pytest.raises((SettingsError, AgentNotLoadable), match=f"^{line}") as caught:  # noqa: PT012  # as the process does
        settings = load_settings(arguments, {})
        AgentServer(settings, *load(settings.agent, settings.auth))
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_the_process_says_so_in_one_line(folder: Path) -> None:
    async def check(wrong: str) -> None:
        arguments, line = WRONG[wrong]
        assert re.match(line, await told(folder, *arguments))

    await side_by_side(check, ["two methods at once", "a header that anybody could send", "a function of nothing"])


async def test_signed_tokens_without_what_verifies_them_stop_the_start_with_what_to_do(folder: Path) -> None:
    (folder / "jwt.py").write_text("raise ImportError\n")  # as if it were not installed
    said = await told(folder, "--jwt-key", "key", *PROVIDER, PYTHONPATH=str(folder))
    assert said == '--jwt-key: it needs the extra [jwt], pip install ".[jwt]"\n'


def test_a_program_that_names_a_function_and_hands_none_over_has_no_open_server() -> None:
    with pytest.raises(SettingsError, match="--auth"):
        authenticator_for(Settings(auth="hooks:authenticate"), None)


@pytest.mark.parametrize("method", ["auth_token", "auth", "jwt_key", "jwt_jwks_url", "auth_header"])
def test_a_server_that_asks_who_is_there_is_not_called_open(method: str) -> None:
    everywhere = [("0.0.0.0", 8765)]
    assert "no token is set" in banner(Settings(), everywhere)
    asks = Settings().model_copy(update={method: "something"})
    assert "no token is set" not in banner(asks, everywhere)
    assert "logins travel in the clear" in banner(asks, everywhere)
