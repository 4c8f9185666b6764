"""Which pages may open a connection, by their origin and by the host that they ask for."""

import pytest

from agentsocket.connection.origins import FOREIGN_HOST, FOREIGN_ORIGIN, Origins, Refusal

HERE, AWAY = "127.0.0.1", "203.0.113.7"
ORIGINS = Origins(["Agent.example"], ["https://app.example", "https://ported.example:443", "null", "app://desk"])


def verdict(origin: str, host: str, address: str = AWAY, *, secure: bool | None = None) -> Refusal | None:
    return ORIGINS.refuse([origin], host, address, secure=secure)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://agent.example", "agent.example"),
        ("https://agent.example", "AGENT.example:443"),
        ("https://agent.example:8443", "agent.example:8443"),
        ("http://agent.example:8765", "agent.example:8765"),
        ("http://192.0.2.1:8765", "192.0.2.1:8765"),
        ("http://[2001:db8::1]:8765", "[2001:db8::1]:8765"),
        ("https://app.example", "agent.example"),
        ("https://app.example:443", "agent.example"),
        ("https://ported.example", "agent.example"),
        ("null", "agent.example"),
        ("app://desk", "agent.example"),
    ],
)
def test_a_page_of_the_server_or_of_a_listed_origin_may(origin: str, host: str) -> None:
    assert verdict(origin, host) is None


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "127.8.9.10"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_of_this_machine_may_where_its_client_is_here_too(scheme: str, name: str) -> None:
    assert verdict(f"{scheme}://{name}:3000", "localhost:8765", HERE) is None
    assert verdict(f"{scheme}://{name}:3000", "localhost:8765", "::1") is None
    assert verdict(f"{scheme}://{name}:3000", "localhost:8765", AWAY) is FOREIGN_ORIGIN


@pytest.mark.parametrize(
    "scheme", ["chrome-extension", "moz-extension", "javascript", "file", "ws", "wss", "ftp", "app", "data", ""]
)
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "agent.example"])
def test_only_pages_of_the_web_count_as_the_servers_own(scheme: str, name: str) -> None:
    assert verdict(f"{scheme}://{name}", name, HERE) is FOREIGN_ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://agent.example.evil.example",
        "https://agent.example:8443",
        "https://agent.example@evil.example",
        "https://evil.example@agent.example",
        "https://agent.example/path",
        "https://agent.example?x",
        "https://agent.example#x",
        "https://agent.example:port",
        "https://agent.example:99999",
        "https://[::1",
        "agent.example",
        "https://",
        "",
        "http://app.example",
        "https://sub.app.example",
    ],
)
def test_any_other_page_may_not(origin: str) -> None:
    assert verdict(origin, "agent.example", HERE) is FOREIGN_ORIGIN


@pytest.mark.parametrize("origin", ["http://evil.example", "https://app.example", "http://localhost"])
@pytest.mark.parametrize("host", ["evil.example", "", "agent.example.evil.example", "x.localhost"])
def test_a_foreign_name_for_the_server_is_told_first(origin: str, host: str) -> None:
    assert verdict(origin, host, HERE) is FOREIGN_HOST


def test_one_page_has_one_origin_and_what_is_no_page_has_none() -> None:
    assert ORIGINS.refuse(["https://app.example"] * 2, "agent.example", AWAY, secure=None) is FOREIGN_ORIGIN
    assert ORIGINS.refuse([], "evil.example", AWAY, secure=None) is None


def test_an_unencrypted_page_may_not_open_an_encrypted_connection() -> None:
    for port in ("", ":80", ":443", ":8765"):
        assert verdict(f"http://agent.example{port}", f"agent.example{port}", secure=True) is FOREIGN_ORIGIN
        assert verdict(f"http://agent.example{port}", f"agent.example{port}", secure=False) is None
        assert verdict(f"https://agent.example{port}", f"agent.example{port}", secure=True) is None
