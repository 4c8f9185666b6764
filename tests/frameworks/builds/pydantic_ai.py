"""An agent of Pydantic AI, as its users write it."""

from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.frameworks.builds import Tools


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return Agent(model, tools=[*tools, *(Tool(tool, requires_approval=True) for tool in guarded)])
