"""Tools for the agents under test: plain functions, as a framework's users write them."""

import asyncio
from typing import Any


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees"


async def population(city: str) -> dict[str, Any]:
    """Count the people of a city."""
    return {"city": city, "people": 717_710}


class Parked:
    """A tool that waits until it is let go."""

    def __init__(self) -> None:
        self.started, self.go, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def park(self, city: str) -> str:
        """Wait in a city."""
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return f"parked in {city}"
