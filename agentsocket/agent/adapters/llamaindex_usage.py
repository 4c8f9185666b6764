"""What a model's answer has used, as its provider has counted it: LlamaIndex has no form of its own for that."""

from typing import Any

from agentsocket.agent.adapters.conversation import Tokens

INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count")
OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count")
CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",
    "cached_content_token_count",
)
REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "thoughts_token_count",
)
BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic's models do not count these as input."""


def count(raw: object, tokens: Tokens) -> None:
    """Count an answer's usage, wherever and in whatever form it stands there."""
    used = next((found for path in ("usage", "usage_metadata", "response.usage") if (found := _get(raw, path))), None)
    beside = sum(_number(used, name) for name in BESIDE_INPUT)
    tokens.add(
        _first(used, INPUT) + beside,
        _first(used, OUTPUT) + _number(used, "thoughts_token_count"),  # beside Gemini's output
        cached_input_tokens=_first(used, CACHED),
        reasoning_tokens=_first(used, REASONING),
    )


def _first(used: object, names: tuple[str, ...]) -> int:
    return next((number for name in names if (number := _number(used, name))), 0)


def _number(used: object, path: str) -> int:
    value = _get(used, path)
    return value if isinstance(value, int) else 0


def _get(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value
