"""Numbers in a person's words, and back."""

import re
from fractions import Fraction
from typing import Final

_UP_TO_TWENTY: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
NUMBER_WORDS: Final = {word: str(number) for number, word in enumerate(_UP_TO_TWENTY)} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100",
}  # fmt: skip

# Possessive: what is not a number is given up at once, however long it is.
NUMBER: Final = (
    r"(?:(?:[0-9]++(?:,[0-9]{3})*+(?:\.[0-9]++)?|\.[0-9]++)(?:e[-+]?[0-9]{1,3})?(?![0-9])"
    rf"|\b(?:{'|'.join(NUMBER_WORDS)})\b)"
)

_EXACT_BELOW = 10**15
_DURATION = re.compile(r"(-?(?:[0-9.,]+(?:e[-+]?[0-9]+)?|[a-z]+))[ -]*([mh]?)")
_SECONDS_IN: Final = {"m": 60, "h": 3600}


def read_number(text: str) -> float:
    """Read "1,000", "-2.5", "seven" or "a"; infinity where no float is that large."""
    return 1.0 if text.lower() in {"a", "an"} else float(_numeral(text))


def read_seconds(text: str) -> int:
    """Read "90", "90 seconds" or "two minutes"; fractions of a second are dropped."""
    parts = _DURATION.match(text.lower())
    if parts is None:
        raise ValueError(text)
    return int(Fraction(_numeral(parts[1])) * _SECONDS_IN.get(parts[2], 1))


def _numeral(text: str) -> str:
    sign = "-" if text.startswith("-") else ""
    digits = text.strip("+-").lower().replace(",", "")
    return sign + NUMBER_WORDS.get(digits, digits)


def in_digits(value: float) -> str:
    """Write a number as a person would: whole ones whole, others to twelve digits."""
    whole = isinstance(value, int) or (value == int(value) and abs(value) < _EXACT_BELOW)
    return str(int(value)) if whole else f"{value:.12g}"
