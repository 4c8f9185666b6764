"""What the agent says without a tool: about itself, about what was said before, and that it did not understand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentsocket.offline_agent.tool import Tool, quoted
from agentsocket.offline_agent.understanding import MAX_MESSAGE, Call

EARLIER_SHOWN = 5
"""Messages that are told of when somebody asks for the earlier ones; of more nothing is remembered."""

MAX_ANSWER = 50_000
"""Characters of an answer that are remembered."""

_ABOUT_ME: Final = "I am the built-in offline agent: I have a few tools, but no language model and no network."
_INSTEAD_OF_ME: Final = (
    "To put a real model behind these tools, set AGENT_MODEL (`openai:gpt-5-mini`, for example); to put your own agent "
    "in my place, start the server with `python websocket_server.py --agent my_module:my_agent`."
)

_EARLIER = re.compile(
    r"\bwhat (?:did|have|had) i (?:just |already |last )?(?:ask|said?|want)"
    r"|\bwhat (?:was|were) my (?:last|previous|first|earlier)\b|\bmy (?:last|previous|earlier) (?:question|message)",
    re.IGNORECASE,
)
_MY_ANSWER = re.compile(
    r"\bwhat (?:did|have) you (?:just )?(?:say|said|answer)|\b(?:say|repeat) (?:that|it)\b", re.IGNORECASE
)
_HELP = re.compile(
    r"\s*/?help\b[\s!?.]*$|\bwhat (?:can|could|do) you do\b|\bwho are you\b|\bwhat are you\b|\bhow do you work\b"
    r"|\bwhat (?:tools|can i ask)\b|\bhelp me[\s!?.]*$",
    re.IGNORECASE,
)
_ABOUT_FILES = re.compile(
    r"\b(?:files?|texts?|tables?|csv|attach\w*|summar\w*|describ\w*|analy[sz]\w*|read|look|draw|chart|plot|graph"
    r"|columns?|rows?|lines?|words?|numbers?|averages?|means?|min\w*|max\w*|contain\w*|inside)\b",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx|cheers)\b", re.IGNORECASE)
_GREETING = re.compile(r"\s*(?:hello|hi|hey|good (?:morning|afternoon|evening)|how are you)\b", re.IGNORECASE)
_PARTING = re.compile(r"\s*(?:good ?bye|bye|see you|good night)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Past:
    """What is remembered of the conversation so far."""

    messages: Sequence[str] = ()
    """The last ones, oldest first."""
    answer: str = ""
    call: Call | None = None
    """The last one that was asked for."""

    def then(self, message: str, calls: Sequence[Call], answer: str) -> "Past":
        """Return it with one exchange more."""
        messages = [*self.messages, message[:MAX_MESSAGE]][-EARLIER_SHOWN:]
        return Past(messages, answer[:MAX_ANSWER], calls[-1] if calls else self.call)


def reply(text: str, past: Past, tools: Sequence[Tool]) -> str | None:
    """Answer small talk, a call for help, or a question about the conversation; None where it is neither."""
    if _EARLIER.search(text):
        return _earlier(past.messages)
    if _MY_ANSWER.search(text):
        return f"I said: {past.answer}" if past.messages else "I have not said anything yet."
    if _HELP.search(text):
        return f"{_ABOUT_ME} {abilities(tools)}"
    if _THANKS.search(text):
        return "You are welcome."
    if _GREETING.match(text):
        return f'Hello! {_ABOUT_ME} Say "help" to see what I can do.'
    return "Goodbye!" if _PARTING.match(text) else None


def plan(calls: Sequence[Call], unread: Sequence[str]) -> str:
    """Tell what a message was understood to need, before it is done."""
    asked = [f"{call.tool.name}({', '.join(_argument(*each) for each in call.arguments.items())})" for call in calls]
    if not asked:
        return "No tool of mine is for this message, so I answer it without one."
    sentences = [f"This needs {_listed(asked)}."]
    if len({call.tool.lane or call for call in calls}) > 1:
        sentences.append("They do not wait for one another, unless they use the same things.")
    if unread:
        sentences.append(f"No tool of mine is for {_listed([quoted(part) for part in unread])}.")
    return " ".join(sentences)


def paragraphs(sentences: Sequence[str]) -> str:
    """Put sentences into one text; what has lines of its own is a paragraph of its own."""
    text = ""
    for before, sentence in zip(["", *sentences], sentences, strict=False):
        between = "\n\n" if "\n" in before + sentence else " "
        text += f"{between}{sentence}" if text else sentence
    return text


def is_about_files(text: str) -> bool:
    """Whether a part of a message may be about the files that came with it."""
    return bool(_ABOUT_FILES.search(text))


def not_understood(unread: Sequence[str], tools: Sequence[Tool]) -> str:
    """Say so, and what would be understood."""
    return f"{_lost(unread)} {_ABOUT_ME} {abilities(tools)}"


def partly_understood(unread: Sequence[str]) -> str:
    """Name what is left without an answer."""
    return f'{_lost(unread)} {_ABOUT_ME} Say "help" to see what I can do.'


def abilities(tools: Sequence[Tool]) -> str:
    """List an example for each tool, and how to replace this agent."""
    examples = "\n".join(f"- {tool.example}" for tool in tools)
    return f"You can ask me, for example:\n\n{examples}\n\n{_INSTEAD_OF_ME}"


def _lost(unread: Sequence[str]) -> str:
    named = " and ".join(quoted(part.strip()) for part in unread if part.strip())
    return f"I did not understand {named}." if named else "There was nothing to read in your message."


def _earlier(messages: Sequence[str]) -> str:
    if not messages:
        return "This is the first thing that you have asked me in this conversation."
    asked = [quoted(message) for message in messages]
    if len(asked) == 1:
        return f"Before this, you said {asked[0]}."
    return f"Before this, you said {', '.join(asked[:-1])} and then {asked[-1]}."


def _listed(parts: Sequence[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _argument(name: str, value: object) -> str:
    return f"{name}={quoted(value) if isinstance(value, str) else value}"
