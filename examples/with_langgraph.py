"""A LangChain agent, which is a LangGraph graph.

    python websocket_server.py --agent examples/with_langgraph.py:agent

Needs OPENAI_API_KEY. OPENAI_BASE_URL is another provider with the same API, OPENAI_MODEL another model.
"""

import os

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees, light rain"


async def book_flight(city: str) -> str:
    """Book a flight to a city. The person is asked first."""
    return f"A seat to {city} is booked."


agent = create_agent(
    f"openai:{os.environ.get('OPENAI_MODEL', 'gpt-5-mini')}",
    system_prompt="You help with travelling. Be brief.",
    tools=[weather, book_flight],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"book_flight": True})],
)
