"""The parts of the terminal that need no terminal: the line being typed, the text held back, the history."""

import itertools
import time
from pathlib import Path

import pytest

from agentsocket.client.printing import Cleaner, clean, cleaned, last_states
from agentsocket.terminal.history import MAX_LINES, History
from agentsocket.terminal.line_editor import LineEditor
from agentsocket.terminal.screen import Screen
from agentsocket.terminal.task_view import SPINNER, TaskView
from agentsocket.terminal.text import (
    MAX_RENDERED,
    Speech,
    blocks_end,
    cells,
    duration,
    flat,
    lines_end,
    markdown_renderer,
    paint,
    wrap,
)


def after(keys: str, *history: str) -> str:
    """Type, and return the line with a bar where the cursor is."""
    editor = LineEditor(history)
    assert not list(editor.feed(keys))
    text, cursor = editor.window(80)
    return f"{text[:cursor]}|{text[cursor:]}"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("abc", "abc|"),
        ("abc\x1b[D\x1b[Dx", "ax|bc"),
        ("abc\x01x\x05y", "xabcy|"),
        ("abc\x1b[H\x1b[Cx\x1b[F", "axbc|"),
        ("abc\x7f\x08", "a|"),
        ("abc\x01\x7f\x1b[3~\x04", "|c"),
        ("one two  \x17", "one |"),
        ("one two\x1bb\x1bb\x1bdx", "x| two"),
        ("one two\x1b[1;5D\x0b", "one |"),
        ("one two\x1bb\x15", "|two"),
        ("abc\x1b[D\x1b[D\x1b[D\x1b[D\x1b[C\x1b[C\x1b[C\x1b[C\x1b[C", "abc|"),
        ("\x1b[5~\x1bz\x1b[1;2P\x00\x1fx", "x|"),
        ("日本\x1b[Dx", "日x|本"),
    ],
)
def test_keys_do_what_people_know_from_their_shell(keys: str, line: str) -> None:
    if "日" in keys:
        editor = LineEditor(())
        list(editor.feed(keys))
        assert (editor.text, editor.window(80)[1]) == (line.replace("|", ""), 3)
    else:
        assert after(keys) == line


def test_keys_may_come_in_any_pieces() -> None:
    for size in (1, 2, 3):
        editor = LineEditor(())
        keys = "ab\x1b[D\x1b[200~1\r\n2\x1b[201~\x1b[3~c\r"
        pieces = [keys[start : start + size] for start in range(0, len(keys), size)]
        assert [line for piece in pieces for line in editor.feed(piece)] == ["a1\n2c"]


def test_a_line_that_is_cleared_leaves_nothing_behind() -> None:
    editor = LineEditor(["one"])
    list(editor.feed("ab\x1b[A\x1b["))  # the last key is not whole
    editor.clear()
    assert list(editor.feed("C\x1b[B\r")) == ["C"]


def test_the_end_of_the_input_is_ctrl_d_on_an_empty_line() -> None:
    editor = LineEditor(())
    assert list(editor.feed("ab\x01\x04\r\x04")) == ["b", None]


def test_up_and_down_go_through_the_history_and_back_to_what_was_typed() -> None:
    assert after("dra\x1b[A", "one", "two") == "two|"
    assert after("dra\x1b[A\x1b[A\x1b[A", "one", "two") == "one|"
    assert after("dra\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B", "one", "two") == "dra|"


def test_of_a_long_line_the_part_around_the_cursor_is_shown() -> None:
    editor = LineEditor(())
    list(editor.feed("0123456789" * 10))
    assert editor.window(20) == ("1234567890123456789"[-19:], 19)
    list(editor.feed("\x01"))
    assert editor.window(20) == ("01234567890123456789", 0)


def test_text_is_held_back_until_its_line_is_whole() -> None:
    speech = Speech(lines_end)
    assert [speech.add(piece) for piece in ("\n\n on", "e", "\ntwo\nth", "ree")] == [None, None, "one\ntwo", None]
    assert speech.tail(100) == "three"
    assert speech.tail(2) == "ee"
    assert (speech.end(), speech.end()) == ("three", None)


def test_text_is_held_back_until_its_block_is_whole_and_code_is_one_block() -> None:
    speech = Speech(blocks_end)
    assert speech.add("one\ntwo\n") is None
    assert speech.add("\n```\na\n\nb\n") == "one\ntwo\n"
    assert speech.add("```\n\nend") == "```\na\n\nb\n```\n"
    assert speech.end() == "end"
    assert speech.add("x\n" * MAX_RENDERED) is not None


def test_rows_break_between_words_and_within_what_is_too_long() -> None:
    assert list(wrap("one two three", 8)) == ["one two", "three"]
    assert list(wrap("abcdefghij kl", 4)) == ["abcd", "efgh", "ij", "kl"]
    assert list(wrap("日本日本日", 5)) == ["日本", "日本", "日"]
    assert list(wrap("a\n\nb", 5)) == ["a", "", "b"]


COMMANDS = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b[1;38;2;255;0;0mred\x1b[m": "red",
    "\x9b32mgreen": "green",
    "a\x1b[2J\x1b[Hb\x1b[?25lc\x1b[2 qd": "abcd",
    "\x1b]0;a title\x07text": "text",
    "\x1b]0;a title\x1b\\text": "text",
    "\x9d0;a title\x9ctext": "text",
    "\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x1b\\ there": "a link there",
    "\x1bP1$r0m\x1b\\\x1b_G\x07\x1b^pm\x1b\\\x1bXsos\x1b\\text": "text",
    "\x1b(B\x1b=\x1b7\x1bcafé": "afé",
    "\x1b]0;not ended\nthe next line": "\nthe next line",
    "cut off\x1b[3": "cut off",
    "cut off\x1b": "cut off",
    "\x1b[31\nnot ended": "\nnot ended",
    "[32m is no command": "[32m is no command",
}


@pytest.mark.parametrize("text", COMMANDS, ids=repr)
def test_of_a_command_to_the_terminal_nothing_is_left(text: str) -> None:
    assert clean(text) == COMMANDS[text]


@pytest.mark.parametrize("text", COMMANDS, ids=repr)
def test_a_command_may_come_in_any_pieces(text: str) -> None:
    for size in (1, 2, 3):
        cleaner = Cleaner()
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert "".join(cleaner.add(piece) for piece in pieces) == COMMANDS[text]


def test_a_command_that_never_ends_does_not_swallow_the_text_for_ever() -> None:
    cleaner = Cleaner()
    shown = [cleaner.add(piece) for piece in ("\x1b]0;", *["x" * 1000] * 10)]
    assert shown[0] == ""
    assert "".join(shown).endswith("x" * 1000)


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b" * 200_000,
        "\x9d" * 200_000,
        "\x1b]" * 100_000,
        "\x1b[1" * 60_000,
        "\x1b]0;" + "x" * 300_000,
        "\r" * 200_000,
    ],
)
def test_cleaning_takes_no_longer_for_what_is_made_to_take_long(hostile: str) -> None:
    started = time.process_time()
    assert clean(hostile).strip("1x") == ""
    assert Cleaner().add(hostile).strip("1x\r") == ""
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        ("one\r\r\ntwo", "one\ntwo"),
        ("working\r\x1b[Kdone", "done"),
        ("50%\r", "50%"),
        ("\r\r", ""),
    ],
)
def test_of_progress_the_last_state_is_shown(text: str, shown: str) -> None:
    assert clean(text) == shown
    speech = Speech(lines_end)
    said = [speech.add(char) for char in text]
    lines = [line for line in (*said, speech.end()) if line is not None]
    assert "\n".join(lines) == shown.strip("\n")


def test_progress_is_shown_while_it_goes_on_and_nothing_of_it_is_kept() -> None:
    speech = Speech(lines_end)
    speech.add("before\n")
    for number in range(1000):
        speech.add(f"\r{number} of 1000")
        assert speech.tail(1000) == f"{number} of 1000"
    assert len("".join(speech._held)) < 100
    assert speech.add("\n") == "999 of 1000"


def test_a_long_output_is_cut_after_it_was_cleaned() -> None:
    progress = "".join(f"\x1b[32m{number:3}%\x1b[0m\r" for number in range(101))
    assert flat(progress, 20) == "100%"
    assert flat("\x1b[1m" * 100 + "bold", 10) == "bold"


def test_texts_within_a_value_are_cleaned_too() -> None:
    assert cleaned({"out\x1b[0m": ["\x1b[32mok", 1, None, {"a": "1\r2"}]}) == {"out": ["ok", 1, None, {"a": "2"}]}
    assert last_states("nothing") == "nothing"


def test_each_state_of_the_spinner_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    view = TaskView(1, "x", Screen())
    monkeypatch.setattr(time, "monotonic", lambda: 1e9 + next(clock) / 7)  # the beat of a screen that draws with delay
    seen = {view.happening(1, 80)[0].text[0] for _ in range(20)}
    assert seen == set(SPINNER)


def test_text_is_measured_cut_and_told() -> None:
    assert cells(paint("ab", "2")) == 2
    assert flat("a\nb\x1b[2J\u202e", 100) == "a b"
    assert flat("x" * 1000, 3) == "xxx… (1,000 characters)"
    assert [duration(seconds) for seconds in (0, 0.25, 2.34, 75)] == ["1 ms", "250 ms", "2.3 s", "1 min 15 s"]


def test_what_is_rendered_holds_no_link_no_markup_of_its_own_and_all_of_the_text() -> None:
    render = markdown_renderer(color=True)
    if render is None:
        pytest.skip("needs rich")
    shown = render("**a** <b>c</b> [d](javascript:e) &#x202e;&#x1b;[2J\n\n<script>f</script>", 80)
    assert "\x1b]8" not in shown
    assert "\u202e" not in shown
    assert "\x1b[2J" not in shown
    for text in ("\x1b[1ma", "<b>c</b>", "javascript:e", "<script>f</script>"):
        assert text in shown
    plain = markdown_renderer(color=False)
    assert plain is not None
    assert "\x1b" not in plain("**a** `b`\n\n```python\ndef f(): ...\n```", 80)


def test_a_history_that_cannot_be_kept_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "history", ())
    history.add("one")
    assert history.lines == ["one"]


def test_of_a_history_the_newest_are_read(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"{number}\n" for number in range(2 * MAX_LINES)))
    assert History(path, ()).lines[-1] == str(2 * MAX_LINES - 1)
    assert len(History(path, ()).lines) == MAX_LINES


def test_a_message_is_kept_once_in_a_row_and_on_one_line(tmp_path: Path) -> None:
    history = History(tmp_path / "state" / "history", ("secret",))
    for message in ("a\nb", "a b", "my secret", "c"):
        history.add(message)
    assert (tmp_path / "state" / "history").read_text() == "a b\nc\n"
