"""Days between dates."""

import re
from datetime import date, datetime, timedelta
from typing import Final

from agentsocket.offline_agent.tool import ToolError, quoted

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH = "(?:" + "|".join(f"{name[:3]}(?:{name[3:]})?" if name[3:] else name for name in _MONTHS) + r"|sept)\.?"
_DAY = r"[0-9]{1,2}(?:st|nd|rd|th)?"
_YEAR = r"[0-9]{4}(?![0-9])"
_RELATIVE: Final = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1}
_FEASTS: Final = {"christmas": (12, 25), "new year": (1, 1), "new year's day": (1, 1), "new year's eve": (12, 31)}

DATE: Final = (
    rf"(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?![0-9])|(?:the )?{_DAY}(?: of)? {_MONTH}\b(?:,? {_YEAR})?"
    rf"|{_MONTH} {_DAY}\b(?:,? {_YEAR})?|(?:{'|'.join(sorted([*_RELATIVE, *_FEASTS], key=len, reverse=True))})\b)"
)
"""Any date that can be read, as part of a pattern."""

_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAY_FIRST = re.compile(
    rf"(?:the )?(?P<day>{_DAY})(?: of)? (?P<month>{_MONTH})(?:,? (?P<year>{_YEAR}))?", re.IGNORECASE
)
_MONTH_FIRST = re.compile(rf"(?P<month>{_MONTH}) (?P<day>{_DAY})(?:,? (?P<year>{_YEAR}))?", re.IGNORECASE)
_WEEK = 7


def days_between(start: str = "today", end: str = "today") -> str:
    """Count the days from one date to another.

    A date without a year is of this year, or of the one before or after where only that puts the dates in order.

    Args:
        start: A date such as "2026-01-31", "31 January 2026", "January 31, 2026", "today" or "tomorrow".
        end: Another one.
    """
    (first, first_is_fixed), (last, last_is_fixed) = _date(start), _date(end)
    try:
        if last < first and not last_is_fixed:
            last = last.replace(year=last.year + 1)
        elif last < first and not first_is_fixed:
            first = first.replace(year=first.year - 1)
    except ValueError:
        raise ToolError("That date is not in every year, so please say which year you mean.") from None
    first, last = min(first, last), max(first, last)
    days = (last - first).days
    verb = "There is" if days == 1 else "There are"
    return f"{verb} {_count(days, 'day')}{_weeks(days)} from {_written(first)} to {_written(last)}."


def _date(text: str) -> tuple[date, bool]:
    """Read a date, and whether its year is fixed."""
    wanted = text.strip(" .").lower()
    today = datetime.now().astimezone().date()
    if wanted in _RELATIVE:
        return today + timedelta(_RELATIVE[wanted]), True
    try:
        if wanted in _FEASTS:
            return date(today.year, *_FEASTS[wanted]), False
        if iso := _ISO.fullmatch(wanted):
            return date(*map(int, iso.groups())), True
        if spoken := _DAY_FIRST.fullmatch(wanted) or _MONTH_FIRST.fullmatch(wanted):
            day, year = int(re.sub(r"\D", "", spoken["day"])), spoken["year"]
            return date(int(year or today.year), _month(spoken["month"]), day), year is not None
    except ValueError:
        raise ToolError(f"There is no such day as {quoted(text)}.") from None
    raise ToolError(f"I cannot read {quoted(text)} as a date; please write it like 2026-01-31 or 31 January 2026.")


def _month(name: str) -> int:
    return [month[:3].lower() for month in _MONTHS].index(name[:3].lower()) + 1


def _weeks(days: int) -> str:
    if days < 2 * _WEEK:
        return ""
    weeks, rest = divmod(days, _WEEK)
    return f" ({_count(weeks, 'week')}" + (f" and {_count(rest, 'day')})" if rest else ")")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _written(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
