"""Settings come from the flag, then the environment, then the file .env; a wrong one is told in one line."""

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values

from agentsocket.env_file import read_env_file
from agentsocket.settings import Settings, SettingsError, load_settings, oddities

ROOT = Path(__file__).parent.parent


def test_a_flag_comes_before_the_environment_which_comes_before_the_default() -> None:
    settings = load_settings(["--port", "1"], {"WS_PORT": "2", "WS_MAX_TASKS": "3", "PORT": "4"})
    assert (settings.port, settings.max_tasks, settings.max_sessions) == (1, 3, 4000)


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--port", "many"], {}, "--port: "),
        (["--port", "70000"], {}, "--port: "),
        ([], {"WS_LOGIN_TIMEOUT": "-1"}, "WS_LOGIN_TIMEOUT: "),
        (["--cancel-timeout", "nan"], {}, "--cancel-timeout: "),
        (["--log-level", "loud"], {}, "--log-level: "),
        (["--trusted-proxies", "10.0.0.1,somewhere"], {}, "--trusted-proxies: "),
        (["--tls-cert", "no/such/file"], {}, "--tls-cert: there is no such file"),
        (["--tls-cert", __file__], {}, "--tls-cert and --tls-key go together"),
        (["--send-buffer", "99999999999999999999"], {}, "--send-buffer: "),
        (["--send-buffer", str(2**31)], {}, "--send-buffer: "),
        (["--rate-burst", "1" + "0" * 400], {}, "--rate-burst: "),
        (["--rate-limit", "1e300"], {}, "--rate-limit: "),
        (["--block-warning", "1e300"], {}, "--block-warning: "),
        (["--shutdown-grace", "1e300"], {}, "--shutdown-grace: "),
        ([], {"WS_AUTH_TOKEN": "se\udcffcret"}, "WS_AUTH_TOKEN: it is not UTF-8"),
        (["--agent", "a\udcff:b"], {}, "--agent: it is not UTF-8"),
        (["--host", "http://localhost"], {}, "--host: "),
        (["--host", "a..b"], {}, "--host: "),
        (["--max-task", "5"], {}, "unrecognized arguments: --max-task; did you mean --max-tasks?"),
        (["--auth-tokn=secret"], {}, "unrecognized arguments: --auth-tokn; did you mean --auth-token?"),
        (["9000"], {}, "a value without its flag"),
        (["--port"], {}, "--port: expected one argument"),
        (["--console=yes"], {}, "--console"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_that_names_the_setting(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(arguments, environment)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_what_is_empty_is_not_set(empty: str) -> None:
    fields = Settings.model_fields.items()
    flags = [name.replace("_", "-") for name, field in fields if field.annotation is not bool]
    assert load_settings([f"--{flag}={empty}" for flag in flags], {}) == Settings()
    assert load_settings([], {f"WS_{name.upper()}": empty for name in Settings.model_fields}) == Settings()


def test_an_empty_flag_leaves_it_to_the_environment() -> None:
    settings = load_settings(["--max-tasks", "", "--agent", ""], {"WS_MAX_TASKS": "3", "WS_AGENT": "a:b"})
    assert (settings.max_tasks, settings.agent) == (3, ("a:b",))


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    settings = load_settings(
        ["--host", " 127.0.0.1\n"], {"WS_AUTH_TOKEN": " open sesame\r\n", "WS_LOG_LEVEL": "debug\n"}
    )
    assert (settings.host, settings.auth_token, settings.log_level) == ("127.0.0.1", "open sesame", "debug")


KUBERNETES = {
    "WS_PORT": "tcp://10.0.0.1:8765",
    "WS_PORT_8765_TCP": "tcp://10.0.0.1:8765",
    "WS_PORT_8765_TCP_ADDR": "10.0.0.1",
    "WS_PORT_8765_TCP_PORT": "8765",
    "WS_PORT_8765_TCP_PROTO": "tcp",
    "WS_SERVICE_HOST": "10.0.0.1",
    "WS_SERVICE_PORT": "8765",
    "WS_SERVICE_PORT_HTTP": "8765",
    "WS_REDIS_PORT": "tcp://10.0.0.2:6379",
    "WS_REDIS_SERVICE_HOST": "10.0.0.2",
}


def test_what_kubernetes_says_of_a_service_named_ws_is_no_setting() -> None:
    assert load_settings([], KUBERNETES) == Settings()
    (warning,) = oddities(KUBERNETES)
    assert warning.startswith("WS_PORT is ignored")


def test_a_variable_that_sets_nothing_is_told_with_the_nearest_that_would() -> None:
    environment = {"WS_MAX_TASK": "5", "WS_XYZZY": "secret", "WS_MAX_TASKS": "5", "WS_URI": "ws://x", "WS_TYPO": ""}
    assert list(oddities(environment)) == [
        "WS_MAX_TASK is no setting of this server; did you mean WS_MAX_TASKS?",
        "WS_XYZZY is no setting of this server",
    ]


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("allowed_hosts", "app.example:443", "it would have to be app.example"),
        ("allowed_hosts", "https://app.example/", "it would have to be app.example"),
        ("allowed_hosts", "app.example/", "it would have to be app.example"),
        ("allowed_hosts", "[::1]", "it would have to be ::1"),
        ("allowed_hosts", "[::1]:80", "it would have to be ::1"),
        ("allowed_hosts", "bücher.example", "it would have to be xn--bcher-kva.example"),
        ("allowed_hosts", "*", "no wildcards"),
        ("allowed_hosts", "*.app.example", "no wildcards"),
        ("allowed_hosts", "app example", "no host name"),
        ("allowed_hosts", "http://", "no host name"),
        ("allowed_origins", "https://app.example/", "it would have to be https://app.example"),
        ("allowed_origins", "https://app.example/agent?x#y", "it would have to be https://app.example"),
        ("allowed_origins", "https://app.example:443", "it would have to be https://app.example"),
        ("allowed_origins", "http://app.example:443/", "it would have to be http://app.example:443"),
        ("allowed_origins", "HTTPS://App.Example", "it would have to be https://app.example"),
        ("allowed_origins", "wss://app.example", "it would have to be https://app.example"),
        ("allowed_origins", "app.example", "it would have to be https://app.example"),
        ("allowed_origins", "localhost:3000", "it would have to be https://localhost:3000"),
        ("allowed_origins", "https://me@app.example", "it would have to be https://app.example"),
        ("allowed_origins", "https://[::0001]:3000", "it would have to be https://[::1]:3000"),
        ("allowed_origins", "*", "no wildcards"),
        ("allowed_origins", "https://*.app.example", "no wildcards"),
        ("allowed_origins", "https://app.example:port", "no port"),
        ("allowed_origins", "file:///index.html", "no host name"),
        ("trusted_proxies", "10.0.0.1/8", "it would have to be 10.0.0.0/8"),
        ("trusted_proxies", "nginx", "is no address and no network"),
    ],
)
def test_what_could_never_match_is_refused_with_what_would(name: str, value: str, right: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings([], {f"WS_{name.upper()}": f"ok.example,{value}" if name == "allowed_hosts" else value})
    assert f"WS_{name.upper()}: '{value}'" in str(caught.value).replace(value.lower(), value)
    assert right in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "app.example, APP.example,agent_1,192.0.2.1,2001:db8::1,xn--bcher-kva.example,app.example."),
        (
            "allowed_origins",
            "https://app.example,http://localhost:3000,https://[::1]:8443,null,chrome-extension://abcdef",
        ),
        ("trusted_proxies", "10.0.0.1,10.0.0.0/8,::1,fd00::/8"),
    ],
)
def test_what_can_match_is_taken(name: str, value: str) -> None:
    settings = load_settings([], {f"WS_{name.upper()}": value})
    assert getattr(settings, name) == tuple(item.strip() for item in value.split(","))


def test_a_file_of_settings_is_read_where_nothing_is_set_yet(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_bytes(b"\xef\xbb\xbfWS_PORT=1\r\nWS_MAX_TASKS=2\r\nWS_HOST=1.2.3.4\r\nKEY='sekret'\r\nEMPTY=x\r\n")
    environment = {"WS_PORT": "tcp://10.0.0.1:1", "WS_MAX_TASKS": " ", "WS_HOST": "::1", "EMPTY": ""}
    read = read_env_file(["--port", "5", "--env-file", str(file)], environment)
    assert environment == {"WS_PORT": "1", "WS_MAX_TASKS": "2", "WS_HOST": "::1", "KEY": "sekret", "EMPTY": ""}
    assert str(read) == f"{file} sets WS_PORT, WS_MAX_TASKS, KEY"


def test_which_file_is_read_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_env_file([], {}) is None
    (tmp_path / ".env").write_text("WS_PORT=1\n")
    (tmp_path / "other").write_text("WS_PORT=2\n")
    for arguments, environment, port in [
        ([], {}, "1"),
        (["--env-file=other"], {}, "2"),
        ([], {"WS_ENV_FILE": "other"}, "2"),
        (["--env-file", ".env"], {"WS_ENV_FILE": "other"}, "1"),
        (["--env-file", "none"], {}, None),
        ([], {"WS_ENV_FILE": "none"}, None),
    ]:
        read_env_file(arguments, environment)
        assert environment.get("WS_PORT") == port


def test_a_current_folder_that_is_gone_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SettingsError, match="the current folder: No such file or directory"):
        read_env_file([], {})
    assert read_env_file(["--env-file", "none"], {}) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("WS_PORT=1\n".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        ("WS_PORT=1\n".encode("utf-16-le"), "it is UTF-16: save it as UTF-8"),
        (b"WS_PORT=1\nWS_AUTH_TOKEN=s\xe9same\n", "line 2: cannot be read: it is not UTF-8"),
        (None, "cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / ".env"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(SettingsError, match=told) as caught:
        read_env_file(["--env-file", str(file)], {})
    assert str(file) in str(caught.value)
    assert "same" not in str(caught.value)


@pytest.mark.parametrize("off", ["none", "0", "off"])
def test_a_limit_that_may_be_off_is_switched_off(off: str) -> None:
    arguments = ["--rate-limit", off, "--agent-timeout", off, "--max-errors", off, "--ping-interval", off]
    settings = load_settings(arguments, {})
    assert settings.rate_limit is settings.agent_timeout is settings.max_errors is settings.ping_interval is None


def test_lists_are_separated_by_commas() -> None:
    settings = load_settings(["--allowed-origins", "https://a.example, https://b.example"], {})
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_help_explains_each_setting_with_its_default_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(["--help"], {})
    assert caught.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in told
        assert f"WS_{name.upper()})" in told
        assert str(field.description) in told
        if "float" in str(field.annotation) and name != "rate_limit":
            assert str(field.description).startswith("seconds ")


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    switched_on = "\n".join(line.removeprefix("#") for line in lines if line.startswith("#WS_"))
    values = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(switched_on)).items()}
    assert set(values) == {f"WS_{name.upper()}" for name in Settings.model_fields}
    assert load_settings([], values) == Settings()
