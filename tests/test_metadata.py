"""``pyproject.toml`` is the one place for what the package needs; what else says it agrees with it."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def test_the_requirements_are_the_five_packages_in_the_releases_that_the_package_wants() -> None:
    listed = (ROOT / "requirements.txt").read_text().split()
    assert sorted(listed) == sorted(PROJECT["dependencies"] + EXTRAS["test"])
    names = {re.split(r"[<>=]", requirement)[0] for requirement in listed}
    assert names == {"websockets", "pydantic", "python-dotenv", "pytest", "pytest-asyncio"}


def test_every_extra_that_a_text_names_is_one() -> None:
    texts = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob(".ci/*"), *ROOT.glob("agentsocket/**/*.py")]
    named = {
        extra
        for path in texts
        for extras in re.findall(r"pip install [^\n]*\.\[([a-z,-]+)\]", path.read_text())
        for extra in extras.split(",")
    }
    assert named >= {"terminal", "llm", "uvloop"}
    assert named <= set(EXTRAS)


def test_the_commands_of_the_package_are_the_doors_of_a_clone() -> None:
    assert PROJECT["scripts"] == {
        "agentsocket": "agentsocket.process:main",
        "agentsocket-client": "agentsocket.client.command:main",
    }
