"""Conversion of length, mass, temperature, volume and data."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from agentsocket.offline_agent.numbers import in_digits
from agentsocket.offline_agent.tool import ToolError, quoted


@dataclass(frozen=True)
class Unit:
    """``(value + offset) * factor`` is the amount in the quantity's first unit."""

    quantity: str
    factor: Fraction
    offset: Fraction
    one: str
    many: str


_DECIMAL: Final = ("kilo", "mega", "giga", "tera", "peta")
_BINARY: Final = ("kibi", "mebi", "gibi", "tebi", "pebi")

# Quantity: (factor, "singular, plural, any other names"[, offset]). Where two names differ in case only, the first wins
# for whoever does not care about case.
_TABLE: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "length": (
        ("1", "metre, metres, meter, meters, m"),
        ("1000", "kilometre, kilometres, kilometer, kilometers, km, kms"),
        ("1/100", "centimetre, centimetres, centimeter, centimeters, cm"),
        ("1/1000", "millimetre, millimetres, millimeter, millimeters, mm"),
        ("1609.344", "mile, miles, mi"),
        ("0.9144", "yard, yards, yd, yds"),
        ("0.3048", "foot, feet, ft"),
        ("0.0254", "inch, inches, in"),
        ("1852", "nautical mile, nautical miles, nmi"),
        ("9460730472580800", "light year, light years, light-year, light-years, ly"),
    ),
    "mass": (
        ("1", "kilogram, kilograms, kilogramme, kilogrammes, kg, kgs, kilo, kilos"),
        ("1/1000", "gram, grams, gramme, grammes, g"),
        ("1/1000000", "milligram, milligrams, mg"),
        ("1000", "tonne, tonnes, metric ton, metric tons, t"),
        ("0.45359237", "pound, pounds, lb, lbs"),
        ("0.028349523125", "ounce, ounces, oz"),
        ("6.35029318", "stone, stone, stones, st"),
        ("907.18474", "US ton, US tons, short ton, short tons, ton, tons"),
    ),
    "temperature": (
        ("1", "kelvin, kelvins, k"),
        ("1", "degree Celsius, degrees Celsius, celsius, centigrade, c", "273.15"),
        ("5/9", "degree Fahrenheit, degrees Fahrenheit, fahrenheit, f", "459.67"),
    ),
    "volume": (
        ("1", "litre, litres, liter, liters, l"),
        ("1/1000", "millilitre, millilitres, milliliter, milliliters, ml"),
        ("1/100", "centilitre, centilitres, centiliter, centiliters, cl"),
        ("1000", "cubic metre, cubic metres, cubic meter, cubic meters, m3, m³"),
        ("3.785411784", "US gallon, US gallons, gallon, gallons, gal"),
        ("0.946352946", "US quart, US quarts, quart, quarts, qt"),
        ("0.473176473", "US pint, US pints, pint, pints, pt"),
        ("0.2365882365", "US cup, US cups, cup, cups"),
        ("0.0295735295625", "US fluid ounce, US fluid ounces, fluid ounce, fluid ounces, fl oz"),
        ("0.01478676478125", "tablespoon, tablespoons, tbsp"),
        ("0.00492892159375", "teaspoon, teaspoons, tsp"),
        ("4.54609", "imperial gallon, imperial gallons"),
        ("0.56826125", "imperial pint, imperial pints"),
    ),
    "data": (
        ("1", "byte, bytes, B"),
        ("1/8", "bit, bits, b"),
        *((f"{1000**n}", f"{p}byte, {p}bytes, {p[0].upper()}B") for n, p in enumerate(_DECIMAL, 1)),
        *((f"{1024**n}", f"{p}byte, {p}bytes, {p[0].upper()}iB") for n, p in enumerate(_BINARY, 1)),
        *((f"{1000**n}/8", f"{p}bit, {p}bits, {p[0].upper()}b") for n, p in enumerate(_DECIMAL, 1)),
    ),
}  # fmt: skip


def _named() -> dict[str, Unit]:
    named: dict[str, Unit] = {}
    for quantity, rows in _TABLE.items():
        for factor, names, *offset in rows:
            one, many, *others = names.split(", ")
            unit = Unit(quantity, Fraction(factor), Fraction(*offset), one, many)
            named |= dict.fromkeys((one, many, *others), unit)
    return named


_NAMED: Final = _named()
_IN_LOWER_CASE: Final = {name.lower(): unit for name, unit in reversed(_NAMED.items())}
_DEGREES = re.compile(r"^(?:degrees?|deg|°) ?(?=\S)", re.IGNORECASE)

UNIT: Final = (
    r"(?:degrees? |deg |° ?)?(?:"
    + "|".join(re.escape(name) for name in sorted(_IN_LOWER_CASE, key=len, reverse=True))
    + r")(?!\w)"
)
"""Any unit there is, as part of a pattern."""


def convert_units(value: float, unit: str, target: str) -> str:
    """Convert an amount from one unit to another.

    Args:
        value: The amount.
        unit: The unit it is in, such as "miles", "lb", "F", "litres" or "MiB".
        target: The unit wanted, of the same quantity: length, mass, temperature, volume or data.
    """
    if not math.isfinite(value):
        raise ToolError("That number is too large to convert.")
    source, wanted = _unit(unit), _unit(target)
    if source.quantity != wanted.quantity:
        raise ToolError(
            f"A {source.one} is a unit of {source.quantity} and a {wanted.one} one of {wanted.quantity}, "
            "so one cannot be converted into the other."
        )
    amount = (Fraction(str(value)) + source.offset) * source.factor
    if source.quantity == "temperature" and amount < 0:
        raise ToolError("There is no temperature below absolute zero, which is 0 kelvins.")
    try:
        result = float(amount / wanted.factor - wanted.offset)
    except OverflowError:
        raise ToolError("The result is too large for me.") from None
    return f"{_amount(value, source)} {'is' if value == 1 else 'are'} {_amount(result, wanted)}."


def _unit(name: str) -> Unit:
    bare = _DEGREES.sub("", name.strip(" .")) or name
    unit = _NAMED.get(bare) or _IN_LOWER_CASE.get(bare.lower())
    if unit is None:
        raise ToolError(f"I do not know the unit {quoted(name)}.")
    return unit


def _amount(value: float, unit: Unit) -> str:
    return f"{in_digits(value)} {unit.one if value == 1 else unit.many}"
