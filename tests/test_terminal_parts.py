"""The parts of the terminal that need no terminal: the line being typed, the text held back, the history."""

from pathlib import Path

import pytest

from agentsocket.terminal.history import MAX_LINES, History
from agentsocket.terminal.line_editor import LineEditor
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


def test_text_is_measured_cut_and_told() -> None:
    assert cells(paint("ab", "2")) == 2
    assert flat("a\nb\x1b[2J\u202e", 100) == "a b[2J"
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
