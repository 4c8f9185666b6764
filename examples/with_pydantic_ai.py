"""A Pydantic AI agent.

    python websocket_server.py --agent examples/with_pydantic_ai.py:agent

Needs OPENAI_API_KEY. OPENAI_BASE_URL is another provider with the same API, OPENAI_MODEL another model.
"""

import os

from pydantic_ai import Agent, Tool


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees, light rain"


async def book_flight(city: str) -> str:
    """Book a flight to a city. The person is asked first."""
    return f"A seat to {city} is booked."


agent = Agent(
    f"openai:{os.environ.get('OPENAI_MODEL', 'gpt-5-mini')}",
    instructions="You help with travelling. Be brief.",
    tools=[weather, Tool(book_flight, requires_approval=True)],
)
