"""What frameworks and their clients put off until they are first used, done beforehand: on the loop all would wait."""

import contextlib
import sys
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

LATE = {
    "anyio": ("anyio._backends._asyncio", "anyio.streams.memory", "anyio.streams.stapled"),
    "langchain_core": ("langchain_core.tracers.context", "langchain_core.tracers.stdout"),
    "google.genai": ("google.genai.client", "google.genai.models", "google.auth.aio.credentials", "httpcore"),
}
"""By package: the modules that it imports at its first use."""

QUESTION = {"role": "user", "content": "hello"}


def warm_libraries() -> None:
    """Have the libraries that are imported get ready. Where one of them fails, it only loses time."""
    for package, modules in LATE.items():
        if package in sys.modules:
            for module in modules:
                with contextlib.suppress(Exception):  # another release has others
                    import_module(module)
    if "openai" in sys.modules:
        with contextlib.suppress(Exception):
            _warm_openai(sys.modules["openai"])


def _warm_openai(openai: Any) -> None:
    """Make requests, and send none: that imports, and looks at the types of, all that a request is made of."""

    class Unsent(Exception):  # noqa: N818  # it is what happens
        pass

    class Client(openai.AsyncOpenAI):  # type: ignore[misc]  # known at run time only
        async def post(self, *_: Any, **__: Any) -> Any:
            raise Unsent

    client = Client(api_key="none", base_url="http://localhost")
    chat = {"type": "function", "function": {"name": "tool", "parameters": {}}}
    tool = {"type": "function", "name": "tool", "parameters": {}}
    for request in (
        client.chat.completions.create(model="none", messages=[QUESTION], tools=[chat], stream=True),
        client.responses.create(model="none", input=[QUESTION], tools=[tool], stream=True),
    ):
        with contextlib.suppress(Unsent):
            _step(request)
    import_module("openai.types.chat").ChatCompletionChunk.model_rebuild()


def _step(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run it up to where it would wait."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()
