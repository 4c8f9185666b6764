"""A Google ADK agent.

    python websocket_server.py --agent examples/with_google_adk.py:agent

Needs GOOGLE_API_KEY. GOOGLE_GEMINI_BASE_URL is another address with the same API, GEMINI_MODEL another model.
"""

import os

from google.adk.agents import LlmAgent
from google.adk.tools.function_tool import FunctionTool


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees, light rain"


async def book_flight(city: str) -> str:
    """Book a flight to a city. The person is asked first."""
    return f"A seat to {city} is booked."


agent = LlmAgent(
    name="travel",
    model=os.environ.get("GEMINI_MODEL", "gemini-2.5-flash"),
    instruction="You help with travelling. Be brief.",
    tools=[weather, FunctionTool(book_flight, require_confirmation=True)],
)
