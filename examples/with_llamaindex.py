"""A LlamaIndex agent.

    python websocket_server.py --agent examples/with_llamaindex.py:agent

Needs OPENAI_API_KEY. OPENAI_BASE_URL is another provider with the same API, OPENAI_MODEL another model.
"""

import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from llama_index.llms.openai_like import OpenAILike


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 7 degrees, light rain"


async def book_flight(ctx: Context, city: str) -> str:
    """Book a flight to a city. The person is asked first."""
    question = InputRequiredEvent(prefix=f"Book a flight to {city}?", city=city)
    # LlamaIndex runs a tool again from its start once the answer is there: do nothing that counts before this line.
    answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=question, requirements={"city": city})
    return f"A seat to {city} is booked." if answer.response.lower() in {"y", "yes"} else "They do not want to."


agent = FunctionAgent(
    llm=OpenAILike(
        model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"),
        api_base=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        api_key=os.environ["OPENAI_API_KEY"],
        is_chat_model=True,
        is_function_calling_model=True,
    ),
    system_prompt="You help with travelling. Be brief.",
    tools=[weather, book_flight],
)
