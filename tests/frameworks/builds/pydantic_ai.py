"""An agent of Pydantic AI, as its users write it."""

from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.frameworks.builds import Tools

NESTED = "expert(request={}) then say"


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return Agent(model, tools=[*tools, *(Tool(tool, requires_approval=True) for tool in guarded)])


def nested(url: str, tools: Tools) -> Any:
    inner = build(url, tools, [])

    async def expert(request: str) -> str:
        """Ask the expert."""
        async with inner.run_stream(request) as run:
            return str(await run.get_output())

    return build(url, [expert], [])
