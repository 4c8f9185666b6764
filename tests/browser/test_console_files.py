"""The room of the server that answers with the console's files."""

import asyncio
import re
from pathlib import Path

import pytest

from agentsocket.console.files import FOLDER, Console
from tests.support import PATIENCE, serving

FILES = Console()


async def test_it_can_be_switched_off() -> None:
    for console, status in ((True, b"200"), (False, b"404")):
        async with serving(console=console) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                assert (await reader.readline()).split()[1] == status
            writer.close()


@pytest.mark.parametrize(
    "path", ["/nothing", "/../settings.py", "/%2e%2e/settings.py", "//", "", "/index.html/", "/web/app.js"]
)
def test_there_is_nothing_but_the_files(path: str) -> None:
    assert FILES.respond(path) is None


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/app.js", "text/javascript"), ("/page.css?x", "text/css")]
)
def test_each_file_has_its_type_and_length(path: str, kind: str) -> None:
    response = FILES.respond(path)
    assert response is not None
    assert response.headers["Content-Type"].startswith(kind)
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_names_another_host_or_makes_markup_of_text(path: Path) -> None:
    text = path.read_text()
    addresses = set(re.findall(r"\b(?:https?|wss?)://[\w.]+", text))
    assert addresses <= {"http://www.w3.org", "ws://localhost"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function| style=", text)


def test_the_client_module_depends_on_nothing() -> None:
    assert "import " not in re.sub(r"/\*.*?\*/", "", (FOLDER / "agent_client.js").read_text(), flags=re.DOTALL)
