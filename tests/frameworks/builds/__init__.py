"""One agent of each framework, with its model at ``url``: ``build(url, tools, guarded)``.

``tools`` are plain functions; the ``guarded`` ones need a person's approval.
"""

from collections.abc import Callable
from typing import Any

Tools = list[Callable[..., Any]]
