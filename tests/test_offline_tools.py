"""The tools of the agent that ships: plain functions, called as such."""

import sys
import zoneinfo
from datetime import datetime, timedelta

import pytest

from agentsocket.offline_agent.arithmetic import MAX_DIGITS, MAX_EXPRESSION, calculate
from agentsocket.offline_agent.clock import current_time
from agentsocket.offline_agent.dates import days_between
from agentsocket.offline_agent.tool import ToolError
from agentsocket.offline_agent.units import convert_units

# ---- Arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("17 * 23", "391"),
        ("2 + 3 * (4 - 1) ** 2", "29"),
        ("-7 // 2", "-4"),
        ("0.1 + 0.2", "0.3"),
        ("10 / 4", "2.5"),
        ("2 ^ 10", "1024"),
        ("17 times 23", "391"),
        ("ten divided by four", "2.5"),
        ("15% of 80", "12"),
        ("the square root of 16", "4"),
        ("5 squared", "25"),
        ("2,000 × 3", "6000"),  # noqa: RUF001 - the sign that people paste
        ("abs(-3) + round(2.6)", "6"),
        ("2 * pi", "6.28318530718"),
        ("007 + 1", "8"),
        ("2 ** 200", str(2**200)),
    ],
)
def test_arithmetic_is_right(expression: str, value: str) -> None:
    assert calculate(expression).endswith(f" is {value}.")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "divided by zero"),
        ("5 % 0", "divided by zero"),
        ("(-8) ** 0.5", "real numbers"),
        ("sqrt(-1)", "real numbers"),
        ("2 ** 9999999", "digits"),
        ("9 ** 9 ** 9 ** 9", "digits"),
        ("1e308 * 10", "digits"),
        ("1e999", "digits"),
        (" * ".join(["9" * 90] * 2) + " ** 99", "digits"),
        ("17 * (23", "as arithmetic"),
        ("1or 2", "as arithmetic"),
        ("__import__('os').system('true')", "as arithmetic"),
        ("pi()", "not arithmetic"),
        ("sqrt", "not arithmetic"),
        ("sqrt(1)(2)", "not arithmetic"),
        ("", "as arithmetic"),
        ("-" * MAX_EXPRESSION, "as arithmetic"),
        ("1+" * MAX_EXPRESSION + "1", "longer"),
        ("(" * 100 + "1" + ")" * 99, "as arithmetic"),
    ],
)
def test_arithmetic_that_has_no_answer_is_told_why(expression: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        calculate(expression)


def test_no_result_is_longer_than_its_bound() -> None:
    assert len(calculate(f"10 ** {MAX_DIGITS - 1}")) < MAX_DIGITS + 30
    with pytest.raises(ToolError, match="digits"):
        calculate(f"10 ** {MAX_DIGITS}")


# ---- Units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "target", "said"),
    [
        (5, "miles", "km", "5 miles are 8.04672 kilometres."),
        (1, "mile", "feet", "1 mile is 5280 feet."),
        (2.2, "lb", "g", "2.2 pounds are 997.903214 grams."),
        (100, "F", "C", "100 degrees Fahrenheit are 37.7777777778 degrees Celsius."),
        (-40, "degrees celsius", "°F", "-40 degrees Celsius are -40 degrees Fahrenheit."),
        (0, "K", "c", "0 kelvins are -273.15 degrees Celsius."),
        (1, "gallon", "litres", "1 US gallon is 3.785411784 litres."),
        (2, "cups", "ml", "2 US cups are 473.176473 millilitres."),
        (1, "TB", "bytes", "1 terabyte is 1000000000000 bytes."),
        (1, "KiB", "B", "1 kibibyte is 1024 bytes."),
        (8, "Mb", "MB", "8 megabits are 1 megabyte."),
        (8, "mb", "Mb", "8 megabytes are 64 megabits."),
    ],
)
def test_units_are_converted(value: float, unit: str, target: str, said: str) -> None:
    assert convert_units(value, unit, target) == said


@pytest.mark.parametrize(
    ("value", "unit", "target", "reason"),
    [
        (5, "miles", "kg", "cannot be converted"),
        (5, "parsecs", "km", "do not know the unit"),
        (-300, "C", "F", "absolute zero"),
        (float("inf"), "km", "m", "too large"),
        (1e308, "km", "mm", "too large"),
    ],
)
def test_a_conversion_that_cannot_be_is_told_why(value: float, unit: str, target: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        convert_units(value, unit, target)


# ---- Time and dates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "zone", "said"),
    [
        ("Tokyo", "Asia/Tokyo", "in Tokyo (JST, UTC+09:00)"),
        ("the UK", "Europe/London", "in the UK ("),
        ("new york", "America/New_York", "in New York ("),
        ("Asia/Kolkata", "Asia/Kolkata", "in Asia/Kolkata (IST, UTC+05:30)"),
        ("america/argentina/ushuaia", "America/Argentina/Ushuaia", "in America/Argentina/Ushuaia (UTC-03:00)"),
        ("Kiritimati", "Pacific/Kiritimati", "in Kiritimati (UTC+14:00)"),
        ("UTC", "UTC", "in UTC (UTC)"),
    ],
)
def test_the_time_elsewhere_is_right(place: str, zone: str, said: str) -> None:
    before = datetime.now(zoneinfo.ZoneInfo(zone))
    told = current_time(place)
    after = datetime.now(zoneinfo.ZoneInfo(zone))
    assert told.startswith((f"It is {before:%H:%M on %A}", f"It is {after:%H:%M on %A}"))
    assert said in told


@pytest.mark.parametrize("place", ["Atlantis", "../../etc/passwd", "Europe", "/etc/localtime", "\ud800", "x" * 999])
def test_an_unknown_place_is_named_as_such(place: str) -> None:
    with pytest.raises(ToolError, match="I know no city or time zone called"):
        current_time(place)


@pytest.mark.parametrize("place", ["Tokyo", "Atlantis"])
def test_a_machine_without_zone_data_says_so(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        with pytest.raises(ToolError, match="no time zone data"):
            current_time(place)
        assert current_time().startswith("It is ")
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-01-01", "2026-01-02", "There is 1 day from 1 January 2026 to 2 January 2026."),
        ("1 January 2026", "March 3, 2026", "There are 61 days (8 weeks and 5 days) from 1 January 2026 to 3 March"),
        ("31st of Dec 2026", "Jan 1 2026", "There are 364 days (52 weeks) from 1 January 2026 to 31 December 2026."),
        ("2024-02-28", "2024-03-01", "There are 2 days from "),
        ("2026-05-01", "2026-05-01", "There are 0 days from "),
        ("yesterday", "tomorrow", "There are 2 days from "),
        ("today", "today", "There are 0 days from "),
    ],
)
def test_days_are_counted(start: str, end: str, said: str) -> None:
    assert days_between(start, end).startswith(said)


@pytest.mark.parametrize("distance", [timedelta(-60), timedelta(60)])
def test_a_date_without_a_year_is_the_next_one_to_come_or_the_last_one_past(distance: timedelta) -> None:
    today = datetime.now().astimezone().date()
    day = (today + distance).replace(day=1)
    named = f"{day.day} {day:%B}"
    assert str(today.year if day.replace(year=today.year) >= today else today.year + 1) in days_between(end=named)[-6:]
    assert days_between(start=named).endswith(f"to {today.day} {today:%B %Y}.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30 February 2026", "no such day"),
        ("2026-13-01", "no such day"),
        ("03/04/2026", "as a date"),
        ("soon", "as a date"),
        ("", "as a date"),
    ],
)
def test_what_is_no_date_is_told_so(text: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        days_between(text, "today")
