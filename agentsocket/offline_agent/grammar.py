"""What the phrases of the tools are built from.

In a phrase a space stands for any run of spaces, and a line's end for whatever ends a clause.
Loops over what a person typed are possessive or bounded, so that no text takes long to be found meaningless.
"""

import re
from typing import Final

from agentsocket.offline_agent.arithmetic import OPERATOR_WORDS
from agentsocket.offline_agent.clock import PLACE
from agentsocket.offline_agent.numbers import NUMBER


def phrases(*patterns: str) -> tuple[re.Pattern[str], ...]:
    """Compile the ways to ask for one tool."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


START: Final = (
    r"(?:^|(?<=[\n,;:?!.])|(?<=\band)|(?<=\bthen)|(?<=\bplease)) ?"
    r"(?:(?:please|also|now|can you|could you|would you|i want you to) ){0,3}+"
)
END: Final = r"(?= ?(?:$|[\n,;?!=]|\.(?:\s|$)|(?:and|or|then|please|now|right now|today|thanks|thank you)\b))"
MY: Final = r"(?: (?:all|of|my|your|the|me|those|these)){0,4}+"
AGAIN: Final = r"(?:(?:and|or|so|what about|how about) ){0,3}+"

# A note goes on to the end of its sentence, or to where the next request begins. "Dr." ends no sentence.
_NEXT_REQUEST: Final = (
    r"what(?:'s| is| time| do| did)|how (?:many|much)|tell me|show me|convert|calculate|count ?down|remember|delete"
)
NOTE: Final = (
    r"(?P<note>[^\s][^\n]*?)(?= ?(?:$|\n|[.!?;](?<!\bdr\.)(?<!\bmr\.)(?<!\bmrs\.)(?<!\bms\.)(?<!\bst\.)(?:\s|$)"
    rf"|,? (?:and|then) (?:then |also |please ){{0,3}}(?:{_NEXT_REQUEST})\b))"
)
NAME: Final = r"[^\W\d_][\w'./+-]*"
ANY_PLACE: Final = rf"{NAME}(?: {NAME}){{0,3}}?"
SURE_PLACE: Final = rf"(?:{PLACE}|\w+/[\w/+-]+)"
# After another question only what is written like a name may be one, so that "and what about lunch?" is not.
LIKELY_PLACE: Final = r"(?-i:[^\W\d_a-z][\w'-]*(?: [^\W\d_a-z][\w'-]*){0,3})"
AMOUNT: Final = rf"(?<![\w.])(?P<value>[-+]?{NUMBER}|an?\b) ?"
SECONDS: Final = rf"(?<![\w.])(?P<seconds>-?{NUMBER}(?:[ -]?(?:seconds?|secs?|s|minutes?|mins?|m|hours?|h)\b)?+)"
DAYS: Final = (
    r"(?:\bhow (?:many (?:days|weeks)|long)(?: (?:are|is|was|were|have|has|there|it|left|passed|do|we|got)){0,4}"
    r"|\b(?:the )?(?:number of )?(?:days|weeks))"
)
_BEFORE: Final = r"(?:(?:[-+(√]|\b(?:sqrt|abs|round|(?:the )?square root of)\b) ?)"
_AFTER: Final = r"(?: ?(?:\)|\b(?:squared|cubed)\b))"
_WORDS: Final = "|".join(
    re.escape(word) for word in OPERATOR_WORDS if word not in {"square root of", "squared", "cubed"}
)
# The signs are those that people paste, too.
_OPERATOR: Final = rf" ?(?:\*\*|//|% ?of\b|[-+*/^%×·÷−]|(?:x|{_WORDS})(?![a-z])) ?"  # noqa: RUF001 - as above
_VALUE: Final = rf"(?:{NUMBER}|\bpi\b|π)"
_OPERAND: Final = rf"{_BEFORE}*+{_VALUE}{_AFTER}*+"
EXPRESSION: Final = (
    r"(?P<expression>(?![0-9]{4}-[0-9]{2}-[0-9]{2}\b)"
    rf"(?:{_OPERAND}(?:{_OPERATOR}{_OPERAND})++|{_BEFORE}++{_VALUE}{_AFTER}*+|{_VALUE}{_AFTER}++))"
)
TIME_ASKED: Final = (
    r"(?:\bwhat (?:time|date|day)(?= (?:in|at)\b| (?:is it|it is|is today|do they have)\b| ?[\n?]| ?$)"
    r"|\bwhat(?:'s| is) (?:the )?(?:current |local |exact )*(?:time|date|day)\b(?! (?:difference|zone|of))"
    r"|\b(?:tell|give|show|know|check|have|need)(?: me)? (?:the )?(?:current |local )?(?:time|date)\b"
    rf"|{START}(?:the )?(?:current |local )?(?:time|date)\b(?= (?:in|at|now)\b| ?[\n?]| ?$| {PLACE})"
    r"|\btoday's date\b|\bcurrent time\b)"
    r"(?:,? (?:is it|it is|is today|do they have|and (?:the )?(?:time|date)|right now|now|today|currently)){0,4}"
)
