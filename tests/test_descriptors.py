"""The limit of open files: what the system gives is taken, and a server with less goes on with less."""

import logging
import resource

import pytest

from agentsocket.descriptors import RESERVED_DESCRIPTORS, fit_to_descriptors
from agentsocket.settings import Settings

UNLIMITED = resource.RLIM_INFINITY
SETTINGS = Settings(max_connections=2000)


class System:
    """Limits as a system has them, and what it takes."""

    def __init__(self, soft: int, hard: int, cap: int) -> None:
        self.limits, self.cap = (soft, hard), cap

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _: int, limits: tuple[int, int]) -> None:
        soft, hard = limits
        if UNLIMITED in limits or soft > self.cap or hard > self.cap:
            raise ValueError("not allowed to raise maximum limit")
        if self.limits[1] != UNLIMITED and hard > self.limits[1]:
            raise OSError(1, "Operation not permitted")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "cap", "expected"),
    [
        pytest.param(1024, 4096, 1 << 20, 4096, id="all of it"),
        pytest.param(1024, UNLIMITED, 1 << 20, 1 << 20, id="unlimited, on Linux"),
        pytest.param(256, UNLIMITED, 10240, 10240, id="unlimited, on macOS"),
        pytest.param(256, 1 << 30, 1 << 20, 1 << 20, id="more than the system allows"),
        pytest.param(256, 1 << 30, 70000, 1 << 16, id="more than a system with a lower cap allows"),
        pytest.param(5000, 1 << 30, 100, 5000, id="nothing may be set"),
        pytest.param(UNLIMITED, UNLIMITED, 100, UNLIMITED, id="no limit at all"),
    ],
)
def test_the_limit_is_what_the_system_gives(  # noqa: PLR0913, PLR0917  # a system has three limits
    soft: int, hard: int, cap: int, expected: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = System(soft, hard, cap)
    monkeypatch.setattr(resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", system.setrlimit)
    caplog.set_level(logging.INFO)
    assert fit_to_descriptors(SETTINGS) == SETTINGS
    assert system.limits[0] == expected
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("limit", "connections", "told"),
    [(1024, 1024 - RESERVED_DESCRIPTORS, "928 connections at most"), (80, 2000, "hardly enough for the server itself")],
)
def test_fewer_files_than_connections_are_told(
    limit: int, connections: int, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = System(limit, UNLIMITED, 0)
    monkeypatch.setattr(resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", system.setrlimit)
    assert fit_to_descriptors(SETTINGS).max_connections == connections
    assert caplog.messages == [f"only {limit} files may be open: {told}"]
