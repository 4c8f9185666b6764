"""The agent that ships and what is attached: it reads texts and tables, draws their numbers, and nothing harms it."""

import asyncio
import base64
import io
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from agentsocket.files.kinds import clean_name
from agentsocket.offline_agent import text_file
from agentsocket.offline_agent.agent import OfflineAgent
from agentsocket.offline_agent.columns import MAX_POINTS
from agentsocket.offline_agent.command import LocalFile, Terminal, main
from agentsocket.protocol.events import AgentReasoning, ToolProgress, ToolResult
from tests.offline import Recorder, ask
from tests.support import logged_in, serving
from tests.test_offline_session import terminal

SALES = b"month,revenue,cost\nJan,10,1.5\nFeb,30,2.5\nMar,20,\n"


def attached(folder: Path, *files: tuple[str, bytes], media_type: str = "text/plain") -> Recorder:
    """A turn that these files came with."""
    found = []
    for number, (name, data) in enumerate(files):
        path = folder / f"{number}"
        path.write_bytes(data)
        found.append(LocalFile(clean_name(name), media_type, len(data), path))
    return Recorder(attachments=found)


async def read(folder: Path, name: str, data: bytes, media_type: str = "text/plain") -> tuple[str, Recorder]:
    turn = attached(folder, (name, data), media_type=media_type)
    return await ask("What is in it?", turn=turn), turn


# ---- What is in it ---------------------------------------------------------------------------------------------------


async def test_a_table_is_told_of_with_its_numbers_by_column(tmp_path: Path) -> None:
    answer, turn = await read(tmp_path, "sales.csv", SALES, "text/csv")
    assert answer == (
        "sales.csv (text/csv, 49 bytes) is a table of 3 rows and 3 columns (month, revenue, cost), separated by "
        "commas:\n- revenue: 3 numbers, min 10, mean 20, max 30\n- cost: 2 numbers, min 1.5, mean 2, max 2.5"
    )
    (call,), (result,) = turn.calls, turn.results
    assert (call.tool_name, call.tool_kwargs) == ("read_attachment", {"name": "sales.csv"})
    assert (result.tool_output, result.tool_call_id, result.is_error) == (answer, call.tool_call_id, None)
    assert turn.text == f"Let me read what is attached.\n\n{answer}"


async def test_its_numbers_are_drawn_as_a_picture_and_as_svg_with_words(tmp_path: Path) -> None:
    _, turn = await read(tmp_path, "../sales.csv", SALES)
    png, svg = turn.files["sales-chart.png"], turn.files["sales-chart.svg"]
    for (file, _), media_type in ((png, "image/png"), (svg, "image/svg+xml")):
        assert (file.media_type, file.tool_call_id) == (media_type, turn.calls[0].tool_call_id)
    drawn = ET.fromstring(svg[1])
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["revenue", "10 … 30", "cost", "1.5 … 2.5"]
    lines = [line.attrib["points"].split() for line in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [3, 2]
    pixels = pixels_of(png[1])
    assert {index for row in pixels for index in row} == {0, 1, 2}
    highest = next(number for number, row in enumerate(pixels) if 1 in row)
    assert abs(highest - float(lines[0][1].partition(",")[2])) < 2  # where the SVG has the greatest number


def pixels_of(png: bytes) -> list[bytes]:
    """Read a PNG as this agent makes them, each of its parts checked."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    parts: dict[bytes, bytes] = {}
    at = 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size) == (zlib.crc32(kind + data),)
        parts[kind] = data
        at += 12 + size
    width, height = struct.unpack_from(">II", parts[b"IHDR"])
    raw = zlib.decompress(parts[b"IDAT"])
    assert len(raw) == (width + 1) * height
    return [raw[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height)]


TABLES: Mapping[str, tuple[str, bytes, str]] = {
    "semicolons and decimal commas": ("a.csv", "größe;n\n1,5;1.000,5\n".encode("latin-1"), "größe: 1 number, min 1.5"),
    "tabs": ("a.tsv", b"a\tb\n1\t2\n", "separated by tabs"),
    "bars, without its type": ("a.txt", b"a|b\n1|2\n", "separated by bars"),
    "a mark of UTF-8": ("a.csv", b"\xef\xbb\xbfa,b\n1,2\n", "(a, b)"),
    "UTF-16": ("a.csv", "a,b\n1,2\n".encode("utf-16"), "a table in UTF-16 of 1 row and 2 columns (a, b)"),
    "UTF-16 without a mark": ("a.csv", "a,b\n1,2\n".encode("utf-16-be"), "a table in UTF-16 of 1 row and 2 columns"),
    "UTF-32": ("a.csv", "a,b\n1,2\n".encode("utf-32"), "a table in UTF-32 of 1 row and 2 columns"),
    "old line ends": ("a.csv", b"a,b\r1,2\r3,4\r", "2 rows and 2 columns"),
    "quotation marks": ("a.csv", b'"a ""x"", y\nz",b\n"1",2\n', '1 row and 2 columns (a "x", y z, b)'),
    "thousands": ("a.csv", b'a,b\n"1,234.5",x\n', "a: 1 number, min 1234.5"),
    "no names": ("a.csv", b"1,2\n3,4\n", "- column 2: 2 numbers, min 2, mean 3, max 4"),
    "names alone": ("a.csv", b"a,b\n", "0 rows and 2 columns (a, b), separated by commas. There are no numbers"),
    "ragged rows": ("a.csv", b"a,b\n1\n\n2,3,4\n", "2 rows and 2 columns"),
    "other texts": ("a.csv", b"a\n1\n2\nn/a\n", "a: 2 numbers beside 1 other text, min 1"),
    "no finite numbers": ("a.csv", b"a\nnan\n-inf\n1e999\n1_000\n7\n", "1 number beside 1 other text and 3 that"),
    "numbers at the edge": ("a.csv", b"a\n1e308\n-1.7e308\n1.7e308\n1e308\n", "min -1.7e+308, mean 5e+307"),
    "one column": ("a.csv", b"a\n1\n2\n", "a table of 2 rows and 1 column (a):"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
async def test_a_table_is_read_however_it_is_written(tmp_path: Path, kind: str) -> None:
    name, data, told = TABLES[kind]
    answer, turn = await read(tmp_path, name, data)
    assert told in answer
    assert turn.results[0].is_error is None


TEXTS: Mapping[str, tuple[str, bytes, str]] = {
    "prose": (
        "a.txt",
        b"Dear Sir,\nbest regards, X\n",
        "is a text of 2 lines and 5 words. There are no numbers in it.",
    ),
    "numbers": (
        "a.txt",
        b"1 2\n\n12",
        "is a text of 3 lines and 3 words:\n- numbers: 3 numbers, min 1, mean 5, max 12",
    ),
    "no bytes": ("a.csv", b"", "a.csv (text/plain, 0 bytes) is empty."),
    "empty lines": ("a.csv", b"\n\n\n", "is a text of 3 lines and 0 words. There are no numbers in it."),
    "no text, though it says so": ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text that I can read."),
    "control characters": ("a.csv", bytes(range(1, 99)), "is no text that I can read."),
}


@pytest.mark.parametrize("kind", TEXTS)
async def test_a_text_is_counted_and_what_is_none_is_said_to_be_none(tmp_path: Path, kind: str) -> None:
    name, data, told = TEXTS[kind]
    answer, _ = await read(tmp_path, name, data)
    assert answer.endswith(told)


async def test_a_picture_is_named_with_its_type_and_its_size(tmp_path: Path) -> None:
    answer, turn = await read(tmp_path, "cat.png", b"\x89PNG" + bytes(5000), "image/png")
    assert answer == "cat.png (image/png, 4.89 KiB) is attached. I look at texts and tables only."
    assert not turn.files


async def test_names_of_columns_are_made_harmless(tmp_path: Path) -> None:
    header = f'"<b>&\x1b[31m\u202e\ud800","{"x" * 99}"'.encode(errors="surrogatepass")
    answer, turn = await read(tmp_path, "a.csv", header + b"\n1,2\n")
    assert "\x1b" not in answer
    assert "\u202e" not in answer
    assert f"- {'x' * 39}…: 1 number" in answer
    ET.fromstring(turn.files["a-chart.svg"][1])


# ---- With other things -----------------------------------------------------------------------------------------------


async def test_files_of_one_name_are_told_apart_and_the_message_is_answered_too(tmp_path: Path) -> None:
    turn = attached(tmp_path, ("a.txt", b"one"), ("a.txt (2)", b"1 2 3"), ("a.txt", b"one two"))
    answer = await ask("Summarise the files. What is 6 * 7? Who won the world cup?", turn=turn)
    assert [call.tool_kwargs["name"] for call in turn.calls if "name" in call.tool_kwargs] == [
        "a.txt",
        "a.txt (2)",
        "a.txt (3)",
    ]
    assert "1 line and 1 word" in answer
    assert "1 line and 2 words" in answer
    assert '6 * 7 is 42. I did not understand "Who won the world cup".' in answer
    assert "Summarise" not in answer


async def test_what_comes_after_a_table_begins_a_paragraph(tmp_path: Path) -> None:
    turn = attached(tmp_path, ("a.csv", SALES))
    assert (await ask("and 1+1?", turn=turn)).endswith("max 2.5\n\n1 + 1 is 2.")


async def test_a_message_that_is_too_long_has_its_files_read(tmp_path: Path) -> None:
    answer = await ask("1+1 " * 1000, turn=attached(tmp_path, ("a.txt", b"one")))
    assert "1 line and 1 word" in answer
    assert "this one has 4000" in answer


async def test_the_next_message_has_no_files_any_more(tmp_path: Path) -> None:
    agent, turn = OfflineAgent(), attached(tmp_path, ("a.txt", b"one"))
    await ask("", agent, turn)
    turn = Recorder()
    assert "did not understand" in await ask("summarise it", agent, turn)
    assert not turn.calls


async def test_a_chart_that_there_is_no_room_for_is_told_of_and_the_rest_stands(tmp_path: Path) -> None:
    turn = attached(tmp_path, ("a.csv", SALES))
    turn.no_room = "The server has no room for more files."
    answer = await ask("", turn=turn)
    assert "max 30" in answer
    assert answer.endswith("A chart of them could not be sent: The server has no room for more files.")


async def test_a_file_that_is_gone_is_an_error_of_the_tool(tmp_path: Path) -> None:
    turn = attached(tmp_path, ("a.csv", SALES))
    (tmp_path / "0").unlink()
    assert await ask("", turn=turn) == "a.csv cannot be read any more."
    assert turn.results[0].is_error


async def test_the_plan_is_its_reasoning() -> None:
    turn = Recorder()
    await ask("What time is it in Tokyo, what is 1+1, and who won?", turn=turn)
    assert turn.reasoning == (
        'This needs current_time(place="Tokyo") and calculate(expression="1+1"). They do not wait for one another, '
        'unless they use the same things. No tool of mine is for "who won".'
    )
    turn = Recorder()
    await ask("hello", turn=turn)
    assert turn.reasoning == "No tool of mine is for this message, so I answer it without one."


async def test_a_countdown_says_how_far_it_is() -> None:
    turn = Recorder()
    await ask("Count down from 2", turn=turn)
    assert [(each.progress, each.total, each.message) for each in turn.progress] == [
        (0, 2, "2 seconds to go"),
        (1, 2, "1 second to go"),
        (2, 2, "0 seconds to go"),
    ]
    assert {each.tool_call_id for each in turn.progress} == {turn.calls[0].tool_call_id}


# ---- Too much --------------------------------------------------------------------------------------------------------


async def test_however_long_a_table_is_its_curve_has_few_points(tmp_path: Path) -> None:
    data = b"a,b\n" + b"".join(b"%d,%d\n" % (number, number % 7) for number in range(5000))
    answer, turn = await read(tmp_path, "a.csv", data)
    assert "- a: 5,000 numbers, min 0, mean 2499.5, max 4999" in answer
    drawn = ET.fromstring(turn.files["a-chart.svg"][1])
    points = drawn[2 + 1].attrib["points"].split()
    assert MAX_POINTS // 2 <= len(points) <= MAX_POINTS
    heights = [float(point.partition(",")[2]) for point in points]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize(
    "data",
    [b"x" * 400_000, b"," * 400_000, b'"' * 400_000, b'a,b\n"' + b"1,2\n" * 100_000, b'"a\n"' * 100_000],
    ids=["one word", "columns", "quotation marks", "a quotation mark that stays open", "one row of many lines"],
)
async def test_a_row_without_an_end_is_read_as_text(tmp_path: Path, data: bytes) -> None:
    answer, _ = await read(tmp_path, "a.csv", data)
    assert "whose rows are too long for me to read it as a table" in answer


async def test_the_rows_before_one_without_an_end_stand(tmp_path: Path) -> None:
    answer, _ = await read(tmp_path, "a.csv", b'a,b\n1,2\n3,4\n"' + b"1,2\n" * 100_000)
    assert "a table of 2 rows and 2 columns (a, b), separated by commas; I have read no more than these rows" in answer
    assert "- a: 2 numbers, min 1, mean 2, max 3" in answer


async def test_a_word_that_is_read_in_pieces_is_one(tmp_path: Path) -> None:
    answer, _ = await read(tmp_path, "a.txt", b"5 " * 2047 + b"123456 " + b"7" * 9000 + b" 5")
    assert "1 line and 2,050 words" in answer
    assert "2,049 numbers, min 5" in answer
    assert answer.endswith("max 123456")


async def test_more_than_is_read_is_left_and_the_answer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "STRETCH", 0)
    monkeypatch.setattr(text_file, "PAUSE", 0)
    monkeypatch.setattr(text_file, "MAX_BYTES", 10_000)
    assert "I have read no more than these" in (await read(tmp_path, "a.txt", b"one\n" * 10_000))[0]
    assert "I have read no more than these rows" in (await read(tmp_path, "a.csv", b"1,2\n" * 10_000))[0]


async def test_reading_tells_how_far_it_is_and_ends_when_its_task_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "STRETCH", 0)
    monkeypatch.setattr(text_file, "PAUSE", 0)
    monkeypatch.setattr(text_file, "STEP", 10_000)
    _, turn = await read(tmp_path, "a.csv", b"1,2\n" * 6_000)
    told = [each.progress or 0 for each in turn.progress]
    assert told == sorted(set(told))
    assert {(each.total, each.tool_call_id) for each in turn.progress} == {(24_000, turn.calls[0].tool_call_id)}
    turn = attached(tmp_path, ("a.csv", b"1,2\n" * 10_000))
    turn.stopping = True
    with pytest.raises(asyncio.CancelledError):
        await ask("", turn=turn)
    assert "40,000 bytes" not in turn.text
    assert not text_file._ONE_AT_A_TIME.locked()


# ---- Through a server ------------------------------------------------------------------------------------------------


async def shown(features: list[str] | None) -> dict[str, list[dict[str, Any]]]:
    """Send a table to a real server and ask; return what came, by event."""
    login = {} if features is None else {"features": features}
    async with serving(lambda: OfflineAgent(tick=0)) as server, logged_in(server, **login) as peer:
        await peer.send("upload_start", upload_id="1", name="sales.csv", media_type="text/csv", size=len(SALES))
        await peer.expect("upload_progress")
        await peer.send("upload_chunk", upload_id="1", offset=0, data=base64.b64encode(SALES).decode())
        file_id = (await peer.expect("upload_complete"))["file_id"]
        await peer.request("What is in it, and count down from 2", attachments=[file_id])
        came: dict[str, list[dict[str, Any]]] = {}
        for event, data in await peer.until("agent_response", "error"):
            came.setdefault(event, []).append(data)
        return came


async def test_a_client_that_names_the_features_sees_all_of_it() -> None:
    came = await shown(["reasoning", "progress", "files"])
    call = came["tool_call"][0]["tool_call_id"]
    assert [(file["name"], file["tool_call_id"]) for file in came["agent_file"]] == [
        ("sales-chart.png", call),
        ("sales-chart.svg", call),
    ]
    assert "read_attachment" in came["agent_reasoning"][0]["reasoning"]
    assert [frame["progress"] for frame in came["tool_progress"]] == [0, 1, 2]
    assert "max 30" in came["agent_response"][0]["response"]


async def test_a_client_that_names_none_sees_the_answer() -> None:
    came = await shown(None)
    assert set(came) == {"tool_call", "tool_result", "agent_output", "agent_response"}
    assert "max 30" in came["agent_response"][0]["response"]


# ---- On the terminal -------------------------------------------------------------------------------------------------


def test_on_the_terminal_files_are_attached_and_written(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_bytes(SALES)
    with terminal("What is in it?", "--attach", "sales.csv", cwd=tmp_path) as process:
        answer, shown = process.communicate(timeout=10)
    assert process.returncode == 0
    assert answer.startswith("sales.csv (text/csv, 49 bytes) is a table of 3 rows")
    assert shown.startswith('This needs read_attachment(name="sales.csv").\n→ read_attachment')
    assert "↓ sales-chart.png\n↓ sales-chart.svg\n" in shown
    assert pixels_of((tmp_path / "sales-chart.png").read_bytes())


class Screen(io.StringIO):
    def __init__(self, *, is_screen: bool) -> None:
        super().__init__()
        self._is_screen = is_screen

    def isatty(self) -> bool:
        return self._is_screen


@pytest.mark.parametrize("is_screen", [True, False], ids=["a screen", "a file"])
async def test_on_the_terminal_thoughts_are_pale_and_progress_stays_in_its_line(
    monkeypatch: pytest.MonkeyPatch,
    is_screen: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    screen = Screen(is_screen=is_screen)
    monkeypatch.setattr(sys, "stderr", screen)
    turn = Terminal()
    for piece in ("So ", "it is."):
        await turn.emit(AgentReasoning(reasoning=piece))
    for step in (1, 2):
        await turn.emit(ToolProgress(progress=step, total=2, message="reading"))
    await turn.emit(ToolProgress())
    await turn.emit(ToolResult(tool_name="read", tool_output="done"))
    if is_screen:
        again = "\r\x1b[K"
        pale = "\x1b[2mSo \x1b[0m\x1b[2mit is.\x1b[0m\n"
        assert screen.getvalue() == f"{pale}… 1/2 reading{again}… 2/2 reading{again}…{again}← read: done\n"
    else:
        assert screen.getvalue() == "So it is.\n… 1/2 reading\n… 2/2 reading\n…\n← read: done\n"


@pytest.mark.parametrize("wrong", ["missing.csv", "."])
def test_on_the_terminal_a_file_that_is_none_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["test.py", "What is in it?", "--attach", wrong])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert wrong in capsys.readouterr().err.splitlines()[-1]
