"""Arithmetic, worked out over a syntax tree of known nodes and within bounds: nothing is ever evaluated as code."""

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final

from agentsocket.offline_agent.numbers import NUMBER_WORDS, in_digits
from agentsocket.offline_agent.tool import ToolError, quoted

MAX_EXPRESSION = 200
"""Characters. Bounds the depth of the tree too, and the length of any number in it."""
MAX_DIGITS = 1000
"""Of a result, and of whatever comes up on the way to it."""

_TOO_LARGE = f"The result has more than {MAX_DIGITS} digits, which is more than I work with."

OPERATOR_WORDS: Final = {
    "multiplied by": "*",
    "to the power of": "**",
    "divided by": "/",
    "percent of": "/100*",
    "square root of": "sqrt",
    "plus": "+",
    "minus": "-",
    "times": "*",
    "over": "/",
    "modulo": "%",
    "mod": "%",
    "squared": "**2",
    "cubed": "**3",
}
_SIGNS: Final = {"^": "**", "×": "*", "·": "*", "x": "*", "÷": "/", "−": "-", "√": "sqrt", "π": "pi", "the": ""}  # noqa: RUF001 - signs as people paste them
_WORDS: Final = OPERATOR_WORDS | _SIGNS | NUMBER_WORDS
_WORD = re.compile(
    "|".join(rf"\b{w}\b" if w.isascii() and w.isalpha() else re.escape(w) for w in _WORDS), re.IGNORECASE
)
_PERCENT_OF = re.compile(r"% ?of\b", re.IGNORECASE)
_TOKEN = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|\*\*|//|[-+*/%()]|sqrt|abs|round|pi|e)")

_OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"sqrt": math.sqrt, "abs": abs, "round": round}
_CONSTANTS: Final = {"pi": math.pi, "e": math.e}


def calculate(expression: str) -> str:
    """Work out an arithmetic expression.

    Args:
        expression: Numbers, + - * / // % **, parentheses, sqrt, abs, round, pi and e; plain words such as
            "17 times 23" or "15% of 80" are understood, too.
    """
    tree = _parse(expression)
    written = quoted(ast.unparse(tree)).strip('"')
    try:
        return f"{written} is {in_digits(_value(tree))}."
    except ZeroDivisionError:
        raise ToolError(f"{written} has no value, because nothing can be divided by zero.") from None
    except OverflowError:
        raise ToolError(_TOO_LARGE) from None
    except ValueError:
        raise ToolError(f"{written} has no value among the real numbers.") from None


def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_EXPRESSION:
        raise ToolError(f"I work out expressions of up to {MAX_EXPRESSION} characters, and this one is longer.")
    try:
        return ast.parse(_as_python(expression), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError(f"I cannot read {quoted(expression)} as arithmetic.") from None


def _as_python(expression: str) -> str:
    # Only tokens that are known get to the parser, apart from each other: "1or 2" would make it warn.
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", expression.strip(" =.")).lower()
    text = _WORD.sub(lambda word: f" {_WORDS[word[0].lower()]} ", _PERCENT_OF.sub("/100*", text)).strip()
    # A word stands without parentheses where Python wants some: "sqrt 16".
    text = re.sub(r"sqrt\s+([0-9.]+)", r"sqrt(\1)", text)
    tokens, position = [], 0
    while position < len(text):
        if not (token := _TOKEN.match(text, position)):
            raise SyntaxError
        tokens.append(re.sub(r"^0+(?=[0-9])", "", token[1]))
        position = token.end()
    return " ".join(tokens)


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand):
            return _bounded(_OPERATORS[type(op)](_value(operand)))
        case ast.BinOp(op=op, left=left, right=right):
            return _binary(op, _value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](_value(argument)))
    raise ToolError("That is not arithmetic of the kind that I know.")


def _binary(op: ast.operator, left: float, right: float) -> float:
    # Before, not after: the power itself is what takes for ever.
    if isinstance(op, ast.Pow) and left and right * math.log10(abs(left)) > MAX_DIGITS:
        raise OverflowError
    return _bounded(_OPERATORS[type(op)](left, right))


def _bounded(number: complex) -> float:
    if isinstance(number, complex):
        raise ValueError  # noqa: TRY004 - a negative number's root, which is no mistake in types
    if isinstance(number, float) and not math.isfinite(number):
        raise OverflowError
    if isinstance(number, int) and abs(number) >= 10**MAX_DIGITS:
        raise OverflowError
    return number
