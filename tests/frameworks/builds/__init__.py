"""One agent of each framework, with its model at ``url``: ``build(url, tools, guarded)``.

``tools`` are plain functions; the ``guarded`` ones need a person's approval. In the agent that ``nested(url, tools)``
makes an agent within it has them; ``NESTED`` is the plan that gets there, with ``{}`` for the call of a tool.
"""

from collections.abc import Callable
from typing import Any

Tools = list[Callable[..., Any]]
