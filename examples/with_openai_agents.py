"""An agent of the OpenAI Agents SDK.

    python websocket_server.py --agent examples/with_openai_agents.py:agent

Needs OPENAI_API_KEY. OPENAI_BASE_URL is another provider with the same API, OPENAI_MODEL another model.
"""

import os

from agents import Agent, function_tool


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees, light rain"


async def book_flight(city: str) -> str:
    """Book a flight to a city. The person is asked first."""
    return f"A seat to {city} is booked."


agent = Agent(
    name="Travel",
    model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"),
    instructions="You help with travelling. Be brief.",
    tools=[function_tool(weather), function_tool(book_flight, needs_approval=True)],
)
