"""How the agent that ships reads a message, and that no message takes it long."""

import time
from typing import Any

import pytest

from agentsocket.offline_agent.toolbox import TOOLS
from agentsocket.offline_agent.understanding import MAX_MESSAGE, understand


def calls(message: str) -> list[tuple[str, dict[str, Any]]]:
    return [(call.tool.name, call.arguments) for call in understand(message, TOOLS).calls]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("WHAT TIME IS IT IN LONDON???", [("current_time", {"place": "LONDON"})]),
        ("Hi! Can you tell me what time it is in Sydney, please?", [("current_time", {"place": "Sydney"})]),
        ("what\N{RIGHT SINGLE QUOTATION MARK}s the time in Asia/Tokyo", [("current_time", {"place": "Asia/Tokyo"})]),
        ("in Tokyo, what time is it?", [("current_time", {"place": "Tokyo"})]),
        ("time in tokyo, london and paris", [("current_time", {"place": p}) for p in ("tokyo", "london", "paris")]),
        ("what day is it today?", [("current_time", {})]),
        ("What's 2 + 2?", [("calculate", {"expression": "2 + 2"})]),
        ("(3 + 4) * 2", [("calculate", {"expression": "(3 + 4) * 2"})]),
        ("what is two plus two", [("calculate", {"expression": "two plus two"})]),
        ("the square root of 16", [("calculate", {"expression": "the square root of 16"})]),
        (
            "convert 5 miles to km and 100 F to C",
            [
                ("convert_units", {"value": 5.0, "unit": "miles", "target": "km"}),
                ("convert_units", {"value": 100.0, "unit": "F", "target": "C"}),
            ],
        ),
        ("how many feet are in a mile?", [("convert_units", {"value": 1.0, "unit": "mile", "target": "feet"})]),
        ("5 in in cm", [("convert_units", {"value": 5.0, "unit": "in", "target": "cm"})]),
        ("2 g in lb, and to oz", [("convert_units", {"value": 2.0, "unit": "g", "target": t}) for t in ("lb", "oz")]),
        (
            "how many days are there between March 3, 2026 and 1 January 2027?",
            [("days_between", {"start": "March 3, 2026", "end": "1 January 2027"})],
        ),
        ("how many days until Christmas?", [("days_between", {"end": "Christmas"})]),
        ("days since 2026-01-01", [("days_between", {"start": "2026-01-01"})]),
        (
            "Remember: buy bread and milk, and what time is it?",
            [("remember", {"note": "buy bread and milk"}), ("current_time", {})],
        ),
        (
            "Don't forget to call Dr. Smith. 1+1",
            [("remember", {"note": "call Dr. Smith"}), ("calculate", {"expression": "1+1"})],
        ),
        ("show me all my notes", [("recall_notes", {})]),
        ("where is the key?", [("recall_notes", {"about": "the key"})]),
        ("please delete all of my notes", [("delete_all_notes", {})]),
        ("count down from five", [("countdown", {"seconds": 5})]),
        ("start a 90-second countdown", [("countdown", {"seconds": 90})]),
        ("set a timer", []),
        ("set a two minute timer", [("countdown", {"seconds": 120})]),
        ("my number is 555-1234", []),
        ("do not delete all my notes", []),
        ("delete the notes about Ada", []),
        ("what time does the shop open?", []),
        ("from time to time", []),
        ("2026-01-01", []),
        ("who is the president of France?", []),
    ],
)  # fmt: skip
def test_a_message_is_read_as_these_calls(message: str, expected: list[tuple[str, dict[str, Any]]]) -> None:
    assert calls(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        "please " * 280,
        "1," * 1000,
        "1" * MAX_MESSAGE,
        "(" * MAX_MESSAGE,
        "what is " + "1+" * 900,
        "convert 5 " + "a " * 900,
        "what time is it in " + "a b.c'd " * 200,
        "remember that " * 140,
        "how many days between a " * 80,
        "\u202e\u0000\ud800😀" * 500,
    ],
    ids=lambda message: message[:12].encode("unicode_escape").decode(),
)
def test_no_message_takes_long_to_read(message: str) -> None:
    def spent() -> float:
        start = time.process_time()
        understand(message, TOOLS)
        return time.process_time() - start

    assert min(spent() for _ in range(5)) < 0.1
