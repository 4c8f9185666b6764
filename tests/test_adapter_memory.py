"""What is remembered as JSON: files by their ids, what is too large, what is not taken up."""

import asyncio
import json
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentsocket.agent.adapters.memory import Form, Memory, is_plain
from agentsocket.agent.adapters.remembered_files import put_back, take_out
from agentsocket.agent.contract import Attachment, Turn
from tests.support import BareTurn

PNG = b"\x89PNG\r\n\x1a\n\xff\xfe\xfb\xef"


@dataclass
class Stored:
    id: str
    data: bytes
    reads: int = 0
    gone: bool = False
    name: str = "a"
    media_type: str = "image/png"
    path: Path = Path("/nowhere")

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self) -> bytes:
        self.reads += 1
        if self.gone:
            raise FileNotFoundError
        return self.data


def stored(**files: bytes) -> dict[str, Stored]:
    return {name: Stored(name, data) for name, data in files.items()}


NOTE = "[Attached file: t.csv, text/csv, 8 bytes]"
FORMS = {
    "base64": b64encode(PNG).decode(),
    "for URLs": urlsafe_b64encode(PNG).decode(),
    "data URL": f"data:image/png;base64,{b64encode(PNG).decode()}",
    "text": f"{NOTE}\nx,y\n1,2\n",
    "text with a mark": f"{NOTE}\nö,y\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
async def test_a_file_stands_in_it_by_its_id_in_whatever_form_it_was(text: str) -> None:
    files: Any = stored(png=PNG, csv=b"x,y\n1,2\n", marked="\ufeffö,y\n".encode(), empty=b"")
    value = [{"parts": ["words", {"data": text, "more": None}]}, text]
    told = json.dumps(value)
    taken, places = await take_out(value, files)
    assert json.dumps(value) == told
    assert [part.rpartition("\n")[0] for part in (taken[0]["parts"][1]["data"], taken[1])] == ["", ""]
    assert {place.file_id for place in places} < {"png", "csv", "marked"}
    assert await put_back(taken, places, files) == value
    assert taken[1] == ""


@pytest.mark.parametrize(
    "text", ["", "words", "A" * 16, b64encode(b"another 12 b").decode(), f"{NOTE}\nanother!", NOTE, "data:,x", "\ud800"]
)
async def test_what_is_no_file_stays_as_it_is(text: str) -> None:
    files: Any = stored(png=PNG, csv=b"x,y\n1,2\n", binary=b"\xff" * 8)
    assert await take_out([text], files) == ([text], [])


async def test_a_file_that_cannot_be_read_stays_as_it_is() -> None:
    files: Any = stored(png=PNG)
    files["png"].gone = True
    assert await take_out([FORMS["base64"]], files) == ([FORMS["base64"]], [])


class At(BareTurn):
    """A turn of a session with files."""

    def __init__(self, files: Any) -> None:
        self.session_files: dict[str, Attachment] = files

    async def emit(self, event: Any) -> None:
        raise NotImplementedError

    async def ask(self, question: Any) -> Any:
        raise NotImplementedError


FORM = Form[str]("test", dump=list, parse=lambda value: [str.__add__(each, "") for each in value])


async def test_each_turn_is_made_into_json_once() -> None:
    dumped: list[list[str]] = []
    form = FORM._replace(dump=lambda messages: dumped.append(messages) or list(messages))  # type: ignore[func-returns-value]
    memory: Memory[str] = Memory()
    files: Any = stored(png=PNG)
    memory.commit(["a", FORMS["base64"]], len(PNG), files)
    first = await memory.save(form, {})
    memory.commit(["b"], 0, files)
    second = await memory.save(form, {})
    assert dumped == [["a", FORMS["base64"]], ["b"]]
    assert second["turns"][:1] == first["turns"]
    assert files["png"].reads == 1

    new: Memory[str] = Memory()
    new.load(form, json.loads(json.dumps(second)))
    turn: Turn = At(files)
    first_two = await asyncio.gather(new.recall(turn), new.recall(turn))
    assert list(first_two) == [["a", FORMS["base64"], "b"]] * 2
    assert files["png"].reads == 2
    assert await new.save(form, {}) == second
    assert len(dumped) == 2


async def test_a_state_too_large_is_not_kept_in_silence() -> None:
    memory: Memory[str] = Memory()
    memory.commit(["a"])
    with pytest.raises(ValueError, match="too much"):
        await memory.save(FORM, {"plan": "x" * 1_100_000})


@pytest.mark.parametrize("value", [None, 1, "a", [1.5, {"b": [True]}]])
def test_plain_json_is_kept_as_it_is(value: object) -> None:
    assert is_plain(value)


@pytest.mark.parametrize("value", [object(), (1,), {1: 2}, {1}, b"a", Path("a"), float("nan"), "\ud800"])
def test_what_json_would_change_is_not(value: object) -> None:
    assert not is_plain(value)
