"""What a person can do about a model that fails, in a sentence; the log has what the provider said."""

from collections.abc import Sequence
from typing import Final

from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    UsageLimitExceeded,
)

ADVICE: Final[tuple[tuple[type[AgentRunError], str], ...]] = (
    (ModelAuthenticationError, "The provider of {model} refuses the API key. Correct it, then restart the server."),
    (ModelNotFoundError, "The provider of {model} knows no such model. Correct AGENT_MODEL, then restart the server."),
    (
        ModelQuotaExceededError,
        "The account at the provider of {model} is used up. Raise its limit or its credit there.",
    ),
    (ModelRateLimitError, "The provider of {model} gets too many requests. Ask again {later}."),
    (ModelUnavailableError, "The provider of {model} is overloaded. Ask again {later}."),
    (ModelServerError, "The provider of {model} has failed. Ask again {later}."),
    (ModelTimeoutError, "The provider of {model} has not answered in time. Ask again {later}."),
    (ModelConnectionError, "The provider of {model} cannot be reached. Check its address and the server's network."),
    (ModelContextWindowExceededError, "This conversation is too long for {model}. Log in again to start another."),
    (ModelHTTPError, "The provider of {model} refuses the request. The server's log has the reason."),
    (ModelAPIError, "The provider of {model} has broken off its answer. Ask again {later}."),
    (ContentFilterError, "The provider of {model} does not let it answer this. Ask in other words."),
    (UsageLimitExceeded, "{model} would not stop calling tools. Ask for less at once."),
)
"""The first row whose exception it is counts."""

TAKES_NO_FILES: Final = frozenset(text for kind, text in ADVICE if kind in {ModelHTTPError, ModelServerError})
"""What may also come of a file that the model does not take."""

OTHERWISE: Final = "{model} has answered what cannot be used. Ask again, or in other words."


def advice(model: str, failure: AgentRunError, attached: Sequence[str] = ()) -> str:
    """Say what has failed and what to do; nothing of what the provider said, which may be anything.

    ``attached`` are the names of the files that came with the request, which not every model takes.
    """
    wait = getattr(failure, "retry_after", None)
    text = next((text for kind, text in ADVICE if isinstance(failure, kind)), OTHERWISE)
    said = text.format(model=model, later=f"in {wait:.0f} s" if wait else "in a while")
    if attached and text in TAKES_NO_FILES:
        said += f" Perhaps it takes no such files as were attached: {', '.join(attached)}."
    return said
