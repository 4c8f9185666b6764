"""Plain Python as an agent: an async function or generator, a synchronous function or generator."""

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import Any, get_args

from agentsocket.agent.adapters.threads import in_thread
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, Emitted


class PlainAgent:
    """Calls a function of one message. What a generator yields is streamed; its text makes up the answer."""

    def __init__(self, function: Callable[..., Any], *, wants_turn: bool = False) -> None:
        self._function, self._wants_turn = function, wants_turn

    async def run(self, message: str, turn: Turn) -> str | AgentResponse:
        """Call the function; a synchronous one in a thread, never on the event loop."""
        given = (message, turn) if self._wants_turn else (message,)
        if _is_async(self._function):
            result = self._function(*given)
        else:
            result = await in_thread(self._function, *given)
        if isinstance(result, Awaitable):  # of an async function, or of a synchronous wrapper round one
            result = await result
        if isinstance(result, AsyncIterable):
            return await _stream(result, turn)
        if isinstance(result, Iterator):
            return await _stream_from_thread(result, turn)
        return result  # type: ignore[no-any-return]  # whatever it is: the server checks it as it does for any agent


async def _stream(pieces: AsyncIterable[Any], turn: Turn) -> str:
    said: list[str] = []
    iterator = aiter(pieces)
    try:
        async for piece in iterator:
            await turn.emit(_event(piece, said))
    finally:
        # A generator that is left behind would go on calling tools and models.
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
    return "".join(said)


async def _stream_from_thread(pieces: Iterator[Any], turn: Turn) -> str:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def pump() -> str:
        said: list[str] = []
        try:
            for piece in pieces:
                if task is not None and task.cancelling():
                    break
                asyncio.run_coroutine_threadsafe(turn.emit(_event(piece, said)), loop).result()
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        return "".join(said)

    # All of it in one thread: what a generator holds open may belong to the thread that opened it.
    return await in_thread(pump)


def _event(piece: Any, said: list[str]) -> Emitted:
    """Return what a generator has yielded as an event; text is added to what it has said."""
    if isinstance(piece, AgentOutput):
        piece = piece.output
    if isinstance(piece, str):
        said.append(piece)
        return AgentOutput(output=piece)
    if not isinstance(piece, get_args(Emitted)):
        raise TypeError(f"an agent's generator yields str and events, not {type(piece).__name__}")
    return piece  # type: ignore[no-any-return]  # it was looked at


def _is_async(function: Callable[..., Any]) -> bool:
    # The second is for an object with an async __call__.
    candidates = (function, type(function).__call__)
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in candidates)
