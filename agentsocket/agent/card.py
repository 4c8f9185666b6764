"""What people are told of an agent before they have asked it anything: its title, a sentence, first questions."""

import inspect
from collections.abc import Sequence
from typing import Any

from agentsocket.agent.adapters.frameworks import recognise
from agentsocket.protocol.frames import AgentCard

MAX_TITLE = 80
MAX_DESCRIPTION = 500
MAX_STARTER = 300
"""Characters; what is longer is cut, and an ellipsis says so."""
MAX_STARTERS = 8
MAX_LAYERS = 8
JOINERS = "\u200c\u200d"
"""What emoji and some scripts are joined with; everything else that is not printed is left out."""

UNSAID = frozenset({"agent", "langgraph", "an agent that can perform a task"})
"""What the frameworks call an agent that was given no name, in small letters."""


def card(name: str, *sources: object) -> AgentCard:
    """Describe the agent that a login calls ``name``.

    Each field is the first that one of these objects has: ``title``, ``description`` and ``starters`` of whatever it
    is, ``name`` and ``description`` of an agent of a framework. What wraps another object (``__wrapped__``) comes
    before what it wraps.
    """
    layers = [layer for source in sources for layer in _layers(source)]
    return AgentCard(
        name=name,
        title=_first(layers, _title),
        description=_first(layers, _description),
        starters=_first(layers, _starters),
    )


def _layers(source: object) -> list[object]:
    layers: list[object] = []
    while source is not None and len(layers) < MAX_LAYERS:
        layers.append(source)
        source = inspect.getattr_static(source, "__wrapped__", None)
    return layers


def _first(layers: Sequence[object], read: Any) -> Any:
    return next((found for layer in layers if (found := read(layer))), None)


def _title(source: object) -> str | None:
    return _text(_get(source, "title"), MAX_TITLE) or _own_words(source, "name", MAX_TITLE)


def _description(source: object) -> str | None:
    # The docstring is not asked: it is written for whoever reads the code, and may say what is not for everybody.
    if recognise(source) is not None:
        return _own_words(source, "description", MAX_DESCRIPTION)
    return _text(_get(source, "description"), MAX_DESCRIPTION)


def _starters(source: object) -> list[str] | None:
    given = _get(source, "starters")
    if not isinstance(given, list | tuple):
        return None
    texts = [text for each in given[:MAX_STARTERS] if (text := _text(each, MAX_STARTER))]
    return texts or None


def _own_words(source: object, attribute: str, limit: int) -> str | None:
    if recognise(source) is None:
        return None
    text = _text(_get(source, attribute), limit)
    return None if text is None or text.lower() in UNSAID else text


def _get(source: object, attribute: str) -> object:
    try:
        return getattr(source, attribute, None)
    except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001  # it may be a property, and raise anything
        return None


def _text(value: object, limit: int) -> str | None:
    """One clean line of text, cut to ``limit`` characters; None for what is no text, or empty."""
    if not isinstance(value, str):
        return None
    whole = value[: 8 * limit].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    line = " ".join("".join(each if each.isprintable() or each in JOINERS else " " for each in whole).split())
    if len(line) > limit:
        line = f"{line[: limit - 1].rstrip()}…"
    return line or None
