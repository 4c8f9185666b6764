"""The console's Markdown in a real browser, held to the examples that CommonMark and GitHub publish.

``markdown_examples.json`` says where they come from. Each has a text and what it is shown as, in the notation that
``markdown_notation.js`` makes of a page: lists of a name and its content. Where the console deviates from the
specification, the example carries the reason.
"""

import html.entities
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.browser.agents import stage

if TYPE_CHECKING:
    from tests.browser.chromium import Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = Path(__file__).parent
DATA = json.loads((HERE / "markdown_examples.json").read_text(encoding="utf-8"))
EXAMPLES: list[dict[str, Any]] = DATA["examples"]
NOTATION = (HERE / "markdown_notation.js").read_text(encoding="utf-8")

# What each text is shown as, written in these pieces and drawn after each. A lone surrogate gets through as a number.
SHOW = """async ([texts]) => {
  const told = NOTATION;
  const { MarkdownStream } = await import("/markdown.js");
  return texts.map((pieces) => {
    const stream = new MarkdownStream();
    for (const piece of pieces) {
      stream.write(String.fromCharCode(...piece));
      while (!stream.draw());
    }
    return told(stream);
  });
}""".replace("NOTATION", NOTATION)

# The longest that one drawing takes for each text, in milliseconds; the best of some, since others use the machine too.
TIME = """async (texts) => {
  const { MarkdownStream } = await import("/markdown.js");
  const time = (text) => {
    const stream = new MarkdownStream();
    stream.write(text);
    let longest = 0;
    for (let whole = false; !whole; ) {
      const began = performance.now();
      whole = stream.draw();
      longest = Math.max(longest, performance.now() - began);
    }
    return longest;
  };
  return texts.map((text) => {
    let best = time(text);
    for (let i = 0; i < 4 && best > 2500; i++) best = Math.min(best, time(text));
    return best;
  });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def console(tab: "Tab") -> AsyncIterator["Tab"]:
    async with stage() as (_, server):
        await tab.open(server.port)
        yield tab


def units(text: str) -> list[int]:
    """Return the text's UTF-16 units, as JavaScript counts them."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data), 2)]


def in_pieces(text: str, cuts: list[int]) -> list[list[int]]:
    whole = units(text)
    ends = [*sorted(cuts), len(whole)]
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


async def shown(tab: "Tab", texts: list[list[list[int]]]) -> list[Any]:
    return list(await tab.page.evaluate(SHOW, [texts]))


async def shown_whole(tab: "Tab", *texts: str) -> list[Any]:
    return await shown(tab, [[units(text)] for text in texts])


async def test_every_published_example_is_shown_as_specified(console: "Tab") -> None:
    found = await shown_whole(console, *(example["text"] for example in EXAMPLES))
    wrong = [
        (example["name"], example["text"], example["shown"], actual)
        for example, actual in zip(EXAMPLES, found, strict=True)
        if actual != example["shown"]
    ]
    assert wrong == []
    # Each deviation has its reason, and there are no others.
    assert {example["deviates"] for example in EXAMPLES if "deviates" in example} == set(DATA["deviations"])


async def test_text_in_pieces_is_shown_as_the_whole_is_after_every_piece(console: "Tab") -> None:
    chance = random.Random(20)
    texts = [example["text"] for example in EXAMPLES] + [
        "[late] and [later]\n\n# A\n\n- [late]\n\n[late]: https://a.example/\n\n[later]: <https://b.example/> 'B'",
        "Here they are:\n- one 👩‍👩‍👧 two\r\n- 😀😀\r\n\r\n> **x\r\n> y** 😀",
        "| a | b |\n|:-|-:|\n| `x\\|y` | 😀 |\n\ntext\n2. a | b\n--|--\n1 | 2\n",
    ]
    drawn, whole = [], []
    for text in texts:
        size = len(units(text))
        for _ in range(3):
            cuts = [chance.randrange(size + 1) for _ in range(chance.randint(1, 4))] if size else []
            drawn.append(in_pieces(text, cuts))
            whole.append([units(text)])
    assert await shown(console, drawn) == await shown(console, whole)


async def test_each_beginning_of_a_stream_is_shown_as_if_it_were_all(console: "Tab") -> None:
    text = "Well:\n- *a* 😀\n- b\n\n| a |\n|--|\n| [r] |\n\n```py\nx\n```\n\n1. [r]\n\n[r]: https://r.example\n"
    size = len(units(text))
    one_by_one = [in_pieces(text, list(range(1, end)))[: end or 1] for end in range(size + 1)]
    at_once = [[[unit for piece in pieces for unit in piece]] for pieces in one_by_one]
    assert await shown(console, one_by_one) == await shown(console, at_once)


async def test_what_has_just_begun_does_not_leap(console: "Tab") -> None:
    paragraph = [["p", "Here they are:", ["br"], "-"]]
    assert await shown_whole(console, "Here they are:\n-", "Here they are:\n- ") == [paragraph] * 2
    assert await shown_whole(console, "In\n\n2026.") == [[["p", "In"], ["p", "2026."]]]
    # Half of an emoji is not shown at all.
    assert await shown(console, [[units("a 😀")[:3]]]) == [[["p", "a"]]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("***both***", [["p", ["em", ["strong", "both"]]]]),
        (r"so \(a_1 * b_2 * c\) and \[x\\y\]", [["p", r"so \(a_1 * b_2 * c\) and \[x\\y\]"]]),
        (r"$$\{a*b*c\}$$ for $5*2$ and $6*3$", [["p", r"$$\{a*b*c\}$$ for $5", ["em", "2$ and $6"], "3$"]]),
        ("&lt;b&gt; &amp;lt; &hearts;", [["p", "<b> &lt; ♥"]]),
        ("a<br>b", [["p", "a", ["br"], "b"]]),
        (
            "[file](src/a.py) [x](javascript:1)",
            [["p", ["link", "src/a.py", "", "file"], " ", ["link", "javascript:1", "", "x"]]],
        ),
        (
            "(https://a.example/b_(c)), <b>",
            [["p", "(", ["link", "https://a.example/b_(c)", "", "https://a.example/b_(c)"], "), <b>"]],
        ),
        (
            "| n | x |\n|--:|:-:|\n| 1 | `x\\|y` |",
            [
                [
                    "table",
                    ["tr", ["th", "right", "n"], ["th", "center", "x"]],
                    ["tr", ["td", "right", "1"], ["td", "center", ["code", "x|y"]]],
                ]
            ],
        ),
    ],
)
async def test_what_agents_write_is_readable(console: "Tab", text: str, expected: list[Any]) -> None:
    assert await shown_whole(console, text) == [expected]


async def test_every_named_character_is_known(console: "Tab") -> None:
    names = {f"&{name}": text for name, text in html.entities.html5.items() if name.endswith(";")}
    found = await console.page.evaluate(
        "async (names) => { const { decoded } = await import('/entities.js'); return names.map(decoded); }", list(names)
    )
    assert dict(zip(names, found, strict=True)) == names


SIZE = 100_000
SIGNS = (
    *(sign for sign in "#*_~[]!`>|<&\\$-+= \t\n():\"'1."),
    *("- ", "* ", "1. ", "> ", ">\n", "# ", "- a\n", "1. a\n", "> a\n", "> a\n\n", "- a\n\n", "> - 1. ", "- [ ] a\n"),
    *("*a _b", "**a *b ~~c ", "*a* ", "**a**", "a**b", "**a_b*c__", "*a **b ", "*[a](", "a_", "~a~ "),
    *("[a](b)", "[a](b", "[a](<b", '[a](b "', "[a](b '", "[a](b (", "[a]( ", "![[", "[[a]", "[a]]", "]["),
    *("[a]", "[a]: b\n", '[a]: b "c\n', "[a]:\n", "[a][b]", "[a]\n\n"),
    *("<a>", "<a ", '<a b="', "</a", "<!--", "<!A", "<?", "<![CDATA[", "<a:", "<a@b", "<a@b.c>", "<br>"),
    *("https://a.b ", "https://a.b/(", "www.a.b", "a@b.c ", "a@", "a.", "__a", "mailto:a@b.c"),
    *("&lt;", "&a;", "`a`", "`a", "`a``b```c", "```\n", "```\na\n```\n", "    a\n"),
    *("\\(", "\\(a", "\\[", "\\(a\\)", "$$", "$a_", "$a_$ ", "\\\\", "\\|"),
    *("|a|b|\n", "|\n", "a|\n", "| a | b |\n|---|---|\n", "a\n===\n", "a\n---\n", "---\n", "a\n\n", "\r", "\u202e"),
)
FLOODS = {sign: (sign * SIZE)[:SIZE] for sign in SIGNS} | {
    "brackets within each other": "[" * (SIZE // 2) + "]" * (SIZE // 2),
    "brackets around links": "[" * (SIZE // 2) + "a" + "](b)" * (SIZE // 8),
    "pictures around links": "![" * (SIZE // 4) + "[a](b)" * (SIZE // 12),
    "emphasis within emphasis": "*a **b " * (SIZE // 14) + " c** d*" * (SIZE // 14),
    "quotes within quotes": ("> " * 300 + "a\n") * 160,
    "items within items": "\n".join(" " * (2 * i % 400) + "- a" for i in range(440)),
    "one long address, many links": f"[a]: <https://a.example/{'x' * (SIZE // 2)}>\n\n{'[a]' * (SIZE // 6)}",
    "many definitions": "".join(f"[a{i}]: /u\n" for i in range(5000)) + "\n" + " ".join(f"[a{i}]" for i in range(5000)),
    "code marks of every length": " ".join("`" * i for i in range(1, 440)),
    "a heading's end": "# " + " #" * (SIZE // 2) + "x",
    "spaces in a heading": "# " + " " * SIZE + "x",
    "an address that ends in brackets": "https://a.b/" + ")" * SIZE,
    "an address that ends in entities": "https://a.b/" + "&a;" * (SIZE // 3),
    "attributes": "<a" + " a" * (SIZE // 2),
    "a table's missing cells": "|" + "a|" * 100 + "\n|" + "-|" * 100 + "\n" + "|\n" * (SIZE // 2),
    "a wide table": ("|" + "a|" * 9000 + "\n|" + "-|" * 9000 + "\n") * 3,
    "rows": "|a|b|\n|-|-|\n" + "|a|b|\n" * (SIZE // 6),
    "blank lines in a list": "- " * 50 + "a\n" + "\n" * SIZE,
}


async def test_no_pattern_takes_long(console: "Tab") -> None:
    times = await console.page.evaluate(TIME, list(FLOODS.values()))
    # It is less than 200 ms where nothing else runs; what it must not be, anywhere, is the square of the length.
    assert {name: time for name, time in zip(FLOODS, times, strict=True) if time > 2500} == {}


async def test_more_than_a_call_can_take_is_shown(console: "Tab") -> None:
    length = await console.page.evaluate(
        """async (text) => {
          const { MarkdownStream } = await import("/markdown.js");
          const stream = new MarkdownStream();
          stream.write(text);
          while (!stream.draw());
          return stream.element.textContent.length;
        }""",
        "- a\n" * 150_000,
    )
    assert length == 150_000


async def test_long_text_is_not_cut_within_an_emoji(console: "Tab") -> None:
    found = await console.page.evaluate(
        """async (text) => {
          const { longText } = await import("/plain_text.js");
          const place = document.createElement("p");
          place.append(longText(text));
          const first = place.firstChild.data;
          while (place.querySelector("button")) place.querySelector("button").click();
          return [first.isWellFormed() && first.endsWith("x"), place.textContent === text];
        }""",
        "x" * 19_998 + "👩‍👩‍👧" + "y" * 99_997 + "😀" * 20,
    )
    assert found == [True, True]


TABLE = (
    "| Component | Responsible | Description of what it does | Requests | Availability |\n"
    "|---|:-:|---|---:|:--|\n"
    "| Authentication | Infrastructure | Checks every login against the directory and remembers it for a while "
    "| 1,204 | 99.95 % |\n"
)


@pytest.mark.parametrize("tab", [{"viewport": {"width": width, "height": 780}} for width in (390, 1280)], indirect=True)
async def test_a_wide_table_keeps_words_whole_and_scrolls_by_itself(tab: "Tab") -> None:
    async with stage() as (_, server):
        await tab.open(server.port)
        turn = await tab.ask_and_wait("emit " + TABLE.replace("\n", "\\n"))
        broken = await turn.locator(":is(th, td)").evaluate_all(
            """(cells) => {
              const isBroken = (cell, { 0: word, index }) => {
                const range = new Range();
                range.setStart(cell.firstChild, index);
                range.setEnd(cell.firstChild, index + word.length);
                return range.getClientRects().length > 1;
              };
              const words = (cell) => [...cell.textContent.matchAll(/\\S+/g)];
              return cells.flatMap((cell) => words(cell).filter((found) => isBroken(cell, found)).map(String));
            }"""
        )
        assert broken == []
        sides = await turn.locator("td").evaluate_all(
            "(cells) => cells.map((cell) => getComputedStyle(cell).textAlign)"
        )
        assert sides == ["start", "center", "start", "right", "left"]
        assert await tab.page.evaluate("document.querySelector('.scroller').scrollWidth <= innerWidth") is True


async def test_right_to_left_lists_quotes_and_tables_begin_at_the_right(console: "Tab") -> None:
    await console.ask_and_wait("emit - שלום\\n- `code` עולם\\n\\n> ציטוט\\n\\n| אחד | שתיים |\\n|--|--|\\n| א | ב |")
    for selector in ("ul", "blockquote", ".table"):
        place = console.page.locator(f".markdown {selector}")
        assert await place.evaluate("(element) => getComputedStyle(element).direction") == "rtl"
    assert (
        await console.page.locator(".markdown ul").evaluate("(list) => getComputedStyle(list).paddingRight") == "24px"
    )
    first, second = await console.page.locator("th").evaluate_all("(cells) => cells.map((cell) => cell.offsetLeft)")
    assert first > second
