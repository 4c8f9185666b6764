"""Files between a turn and a framework. None of this needs a framework."""

import logging
from base64 import b64encode
from typing import Any

import pytest

from agentsocket.agent.adapters.content import MOST, MOST_TEXT, File, attached, data_url, send, weight, without_files
from tests.frameworks.recorder import UNKNOWN, Recorder, Upload

PNG = b"\x89PNG\r\n\x1a\n\0"


async def test_an_attachment_is_bytes_and_a_text_can_be_read_whatever_it_calls_itself() -> None:
    table = Upload("data.csv", "application/vnd.ms-excel", "a,b\n1,ö".encode())
    picture, archive = Upload("p.png", "image/png", PNG), Upload("x.zip", "application/zip", b"PK\xff\xfe")
    first, second, third = files = await attached(Recorder(attachments=[table, picture, archive]))
    assert first.text == "[Attached file: data.csv, application/vnd.ms-excel, 8 bytes]\na,b\n1,ö"
    assert (second.data, second.text) == (PNG, None)
    assert (third.data, third.text) == (b"PK\xff\xfe", None)
    assert weight(files) == 8 + len(PNG) + 4


async def test_of_attachments_that_are_too_large_a_model_is_only_told() -> None:
    half = Upload("half.png", "image/png", bytes(MOST // 2 + 1))
    log = Upload("long.log", "text/plain", b"x" * (MOST_TEXT + 1))
    one, other, text = await attached(Recorder(attachments=[half, half, log]))
    assert one.data == half.data
    assert (other.data, other.note) == (None, f"[Attached file: half.png, image/png, {half.size:,} bytes]")
    assert (text.data, text.text) == (log.data, None)


@pytest.mark.parametrize(
    ("file", "name", "media_type", "data"),
    [
        (File(PNG, "a.png", "image/png"), "a.png", "image/png", PNG),
        (File(PNG, None, "image/png"), "image.png", "image/png", PNG),
        (File(b"%PDF", None, "application/pdf"), "file.pdf", "application/pdf", b"%PDF"),
        (File(b"?"), "file", None, b"?"),
        (File(b64encode(PNG).decode(), None, "image/png"), "image.png", "image/png", PNG),
        (File(f"data:image/png;base64,{b64encode(PNG).decode()}"), "image.png", "image/png", PNG),
        (File("data:text/plain,a%20b", "a.txt"), "a.txt", "text/plain", b"a b"),
        (File(b64encode(bytes(1_000_000)).decode(), "nothing"), "nothing", None, bytes(1_000_000)),
    ],
)
async def test_a_file_is_sent_in_whatever_form_it_comes(
    file: File, name: str, media_type: str | None, data: bytes
) -> None:
    turn = Recorder()
    note = await send(file, turn, "call_1")
    (sent,) = turn.events
    assert sent.model_dump(include={"name", "media_type", "size", "tool_call_id"}) == {  # type: ignore[union-attr]
        "name": name,
        "media_type": media_type or UNKNOWN,
        "size": len(data),
        "tool_call_id": "call_1",
    }
    assert turn.files == {name: data}
    assert note == f"[{', '.join(filter(None, (name, media_type)))}, {len(data):,} bytes]"


@pytest.mark.parametrize(
    ("turn", "data"), [(Recorder(room=False), PNG), (Recorder(), "no base64!")], ids=["room", "base64"]
)
async def test_a_file_that_cannot_be_sent_is_logged_and_the_turn_goes_on(
    caplog: pytest.LogCaptureFixture, turn: Recorder, data: bytes | str
) -> None:
    note = await send(File(data, "a.png", "image/png"), turn)
    assert "not sent" in note
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not turn.events


@pytest.mark.parametrize("size", [0, 1, 196_608, 196_609, 1_000_000])
async def test_a_data_url_is_the_bytes_again(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    turn = Recorder()
    await send(File(await data_url(data[:size], "image/png"), "a.png"), turn)
    assert turn.files == {"a.png": data[:size]}
    assert turn.events[0].model_dump()["media_type"] == "image/png"  # type: ignore[union-attr]


def file_in(value: Any) -> File | None:
    return File(value["data"], value["name"]) if isinstance(value, dict) and "data" in value else None


async def test_a_note_stands_in_a_result_where_a_file_was_and_all_else_is_as_it_was() -> None:
    turn = Recorder()
    picture = {"data": PNG, "name": "a.png"}
    told = await without_files({"rows": [1, ("x", picture)], "plain": {"y": 2}}, turn, "c", file_in)
    assert told == {"rows": [1, ["x", "[a.png, 9 bytes]"]], "plain": {"y": 2}}
    assert await without_files(picture, turn, "c", file_in) == "[a.png, 9 bytes]"
    assert turn.files == {"a.png": PNG}
    plain: Any = {"rows": [{"n": float("nan")}, (1, 2)]}
    assert await without_files(plain, turn, "c", file_in) is plain


async def test_a_result_of_any_size_or_shape_is_looked_through_no_further_than_files_may_be() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (endless, list(range(1_000_000)), [[0] * 999] * 999):
        assert await without_files(value, Recorder(), "c", file_in) is value
