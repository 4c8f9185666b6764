"""Settings come from the flag, then the environment, then the file .env; a wrong one is told in one line."""

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values

from agentsocket.settings import Settings, SettingsError, load_settings

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
    ],
)
def test_a_wrong_value_is_told_in_one_line_that_names_the_setting(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(arguments, environment)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    switched_on = "\n".join(line.removeprefix("#") for line in lines if line.startswith("#WS_"))
    values = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(switched_on)).items()}
    assert set(values) == {f"WS_{name.upper()}" for name in Settings.model_fields}
    assert load_settings([], values) == Settings()
