"""The tools of the offline agent, in one list: the next one is a function, and an entry here.

Phrases are looked for in the order of the list, each in what the ones before have left over; so notes, which may hold
anything, come first.
"""

from typing import Final

from agentsocket.offline_agent.arithmetic import calculate
from agentsocket.offline_agent.clock import PLACE, current_time
from agentsocket.offline_agent.countdown import countdown
from agentsocket.offline_agent.dates import DATE, days_between
from agentsocket.offline_agent.grammar import (
    AGAIN,
    AMOUNT,
    ANY_PLACE,
    DAYS,
    END,
    EXPRESSION,
    LIKELY_PLACE,
    MY,
    NAME,
    NOTE,
    SECONDS,
    START,
    SURE_PLACE,
    TIME_ASKED,
    phrases,
)
from agentsocket.offline_agent.notes import delete_all_notes, recall_notes, remember
from agentsocket.offline_agent.numbers import read_number, read_seconds
from agentsocket.offline_agent.tool import Tool
from agentsocket.offline_agent.units import UNIT, convert_units

TOOLS: Final = (
    Tool(
        remember,
        doing="write that down",
        example="Remember that the key is under the mat.",
        asked=phrases(
            rf"{START}(?:remember|(?:take|make) a note|write down|note down|keep in mind)\b"
            rf"(?: (?:this|that|of|to)){{0,2}}:? {NOTE}",
            rf"{START}(?:don't|do not) forget (?:that |to ){NOTE}",
            rf"{START}note(?: that|:) {NOTE}",
            rf"{START}(?=my (?:name|birthday|favou?rite \w+) is\b){NOTE}",
        ),
        lane="notes",
    ),
    Tool(
        recall_notes,
        doing="look at my notes",
        example="What do you remember?",
        asked=phrases(
            r"\bwhat (?:do|can|did) you (?:still )?(?:remember|know)"
            rf"(?: about (?:me|(?P<about>[^\n,;?!.]{{1,60}}?)))?{END}",
            r"\bwhat did i (?:tell|ask) you to (?:remember|note)(?: down)?\b",
            rf"\bdo you (?:still )?remember (?P<about>[^\n,;?!.]{{1,60}}?){END}",
            rf"\b(?:list|show|read|tell|give|recall|what(?:'s| is| are)?){MY} notes\b"
            r"(?: (?:do you have|are there|have you))?",
            rf"{START}my notes{END}",
            rf"\b(?:what|where|when)(?:'s| is| are| did i put) (?P<about>my [\w ]{{1,40}}?){END}",
            rf"\bwhere(?:'s| is| are| did i put) (?P<about>the [\w ]{{1,40}}?){END}",
        ),
        lane="notes",
    ),
    Tool(
        delete_all_notes,
        doing="see about deleting your notes",
        example="Delete all my notes.",
        asked=phrases(
            r"(?<!not )(?<!n't )(?<!never )\b(?:delete|erase|clear|remove|wipe|discard|forget)"
            rf"{MY} (?:notes|everything)\b(?! (?:about|on|from|that|which))",
        ),
        lane="notes",
    ),
    Tool(
        countdown,
        doing="count down",
        example="Count down from 10.",
        asked=phrases(
            rf"(?:\b(?:start|set|run|do|begin|make)(?: me)? (?:an? )?)?{SECONDS}[ -](?:count ?down|timer)\b",
            r"(?:\b(?:start|run|do|begin|make)(?: me)? a )?\bcount(?:ing)?[ -]?down\b(?: timer)?"
            rf"(?:(?: (?:from|of|for))? {SECONDS})?(?: (?:down )?to (?:0|1|zero|one)\b)?",
            rf"\bcount (?:backwards? )?from {SECONDS} (?:down )?to (?:0|1|zero|one)\b",
            rf"\bcount backwards? from {SECONDS}",
        ),
        follow_up=phrases(rf"{AGAIN}(?:from )?{SECONDS}"),
        arguments={"seconds": read_seconds},
        lane="countdown",
    ),
    Tool(
        days_between,
        doing="look at the calendar",
        example="How many days are there between 1 January 2026 and today?",
        asked=phrases(
            rf"(?:{DAYS} )?\bbetween (?P<start>{DATE}) (?:and|to) (?P<end>{DATE})",
            rf"{DAYS} from (?P<start>{DATE}) (?:to|until|till) (?P<end>{DATE})",
            rf"{DAYS} (?:until|till|to|before) (?P<end>{DATE})",
            rf"{DAYS} (?:since|after|was) (?P<start>{DATE})",
            # What cannot be read is for the tool to say so.
            rf"{DAYS} between (?P<start>[^\n;?!]{{1,40}}?) and (?P<end>[^\n;?!]{{1,40}}?){END}",
            rf"{DAYS} (?:until|till|before) (?P<end>[^\n;?!]{{1,40}}?){END}",
        ),
        follow_up=phrases(rf"{AGAIN}(?:until|till|to) (?P<end>{DATE})"),
    ),
    Tool(
        convert_units,
        doing="convert that",
        example="Convert 5 miles to km and 100 F to C.",
        asked=phrases(
            rf"(?:\bconvert )?{AMOUNT}(?P<unit>{UNIT}) (?:is |are )?(?:to|in|into|as|equals?|=) "
            rf"(?:how many )?(?P<target>{UNIT})",
            rf"\bhow many (?P<target>{UNIT}) (?:(?:are|is|in|make|there|to|do) ){{0,3}}{AMOUNT}(?P<unit>{UNIT})",
            rf"\bconvert {AMOUNT}(?P<unit>{NAME}(?: {NAME}){{0,2}}?) (?:to|into|in) "
            rf"(?P<target>{NAME}(?: {NAME}){{0,2}}?){END}",
        ),
        follow_up=phrases(rf"{AGAIN}{AMOUNT}(?P<unit>{UNIT})?", rf"{AGAIN}(?:(?:to|in|into) )?(?P<target>{UNIT})"),
        arguments={"value": read_number},
    ),
    Tool(
        current_time,
        doing="look at the clock",
        example="What time is it in Tokyo and in New York?",
        asked=phrases(
            rf"{START}in (?P<place>{PLACE}),? {TIME_ASKED}",
            rf"{TIME_ASKED},? (?:in )?(?P<place>{PLACE}){END}",
            rf"{TIME_ASKED}(?:,? (?:in|at|for) (?P<place>{ANY_PLACE}){END})?",
        ),
        follow_up=phrases(
            rf"{AGAIN}(?:(?:in|at|for) )?(?P<place>{SURE_PLACE})",
            rf"(?:(?:in|at|for|and|what about|how about) ){{1,3}}(?P<place>{LIKELY_PLACE})",
        ),
    ),
    Tool(
        calculate,
        doing="do the arithmetic",
        example="What is 17 * 23?",
        asked=phrases(
            rf"(?:{START}|\b(?:what(?:'s| is| does)?|how much(?: is)?|result of|value of) ){EXPRESSION}"
            rf"(?: ?=| is| equals?| makes?)?{END}",
            rf"{START}(?:calculate|compute|evaluate|work out|solve)[: ] ?(?P<expression>[^\n;?!]*[^\n;?!\s])",
        ),
    ),
)
