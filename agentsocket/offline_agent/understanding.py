"""From a message to calls of tools, by the phrases of the tools and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from agentsocket.offline_agent.tool import Tool

MAX_MESSAGE = 2000
"""Characters that are read. Bounds the time that reading takes, which the event loop spends."""
MAX_CALLS = 16

_PLAIN = str.maketrans("’ʼ‘`\0", "'''' ")  # noqa: RUF001 - the very characters that people's keyboards make
_SPACES = re.compile(r"[^\S\n]+")
_CLAUSE = re.compile(r"[^\n\0]+")
_WORD = re.compile(r"[^\s.\"()]+")
_SEPARATOR = re.compile(r"[\n,;:?!]|\.(?=\s|$)|\b(?:and|then)\b", re.IGNORECASE)

# What says how one asks, rather than what for.
_FILLER: Final = frozenset(
    """
    a about afternoon again all alright also am an and any anything are as at be but by can cool could current
    currently dear did do does equal equals evening exactly excuse find fine for from further get give good great
    happen happens have hello help here hey hi how i i'd i'll i'm if in instead into is it it's its just kindly know
    let let's lets like local me moment morning much my need nice no now of oh ok okay on once one or out over
    perhaps please pls question quick quickly right say see server should show sir so some still tell than thank
    thanks that that's the them then there these they thing things this those to today together too try uh um until
    us very want was we well what what's whats when which will with wonder wondering work would yes you your
    yourself
    """.split()  # noqa: SIM905 - a list of words reads best as words
)
_POLITE = re.compile(
    r"(?: ?\b(?:please|thanks|thank you|now|right now|too|as well|then|instead|exactly)\b){1,3}$", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Call:
    """One tool that a message asks for."""

    tool: Tool
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a message asks for, in its order, and which of its clauses mean nothing to this agent."""

    calls: list[Call]
    unread: list[str]


def understand(message: str, tools: Sequence[Tool], previous: Call | None = None) -> Request:
    """Read a message; ``previous`` is the last call so far, which "and in Paris?" goes on from."""
    text = _SPACES.sub(" ", message[:MAX_MESSAGE].translate(_PLAIN))
    parts: list[tuple[int, Call | str]] = []
    for tool in tools:
        for phrase in tool.asked:
            parts += [(match.start(), Call(tool, _arguments(tool, match))) for match in phrase.finditer(text)]
            text = phrase.sub(_taken, text)
    parts += [(clause.start(), clause[0]) for clause in _CLAUSE.finditer(_SEPARATOR.sub(_taken, text))]
    request = Request([], [])
    for _, part in sorted(parts, key=itemgetter(0)):
        if call := _follow_up(part, previous) if isinstance(part, str) else part:
            request.calls.append(call)
            previous = call
        elif isinstance(part, str) and not _FILLER.issuperset(_WORD.findall(part.lower())):
            request.unread.append(part.strip())
    return request


def _taken(match: re.Match[str]) -> str:
    # The end of a clause to whatever is looked for next; most of it a character that nothing is looked for at.
    return ("\n" + "\0" * (len(match[0]) - 2) + "\n")[: len(match[0])]


def _follow_up(clause: str, previous: Call | None) -> Call | None:
    if previous is None:
        return None
    clause = _POLITE.sub("", clause.strip(" .")).strip()
    for phrase in previous.tool.follow_up:
        if match := phrase.fullmatch(clause):
            return Call(previous.tool, previous.arguments | _arguments(previous.tool, match))
    return None


def _arguments(tool: Tool, match: re.Match[str]) -> dict[str, Any]:
    given = {name: text.strip() for name, text in match.groupdict().items() if text is not None}
    return {name: tool.arguments.get(name, str)(text) for name, text in given.items()}
