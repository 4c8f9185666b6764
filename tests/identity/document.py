"""What ``docs/identity.md`` shows: its programs and its command lines, to be run as they stand."""

import re
import shlex
from pathlib import Path

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "identity.md").read_text()


def section(title: str) -> str:
    """Return what stands under a heading, up to the next one."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of this language in a text."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def flags(title: str) -> list[str]:
    """Return the flags of the command line that stands under a heading, whether as a block or within a sentence."""
    text = section(title)
    (command,) = [
        *(block for block in blocks(text, "sh") if "agentsocket " in block),
        *(f"agentsocket {flag}" for flag in re.findall(r"with `(--auth \S+)`", text)),
    ]
    return shlex.split(command.replace("\\\n", " ").partition("agentsocket ")[2])
