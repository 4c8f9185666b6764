"""An agent of the OpenAI Agents SDK, as its users write it."""

from typing import Any

from agents import Agent, OpenAIResponsesModel, function_tool
from openai import AsyncOpenAI

from tests.frameworks.builds import Tools

NESTED = "transfer_to_expert() then {} then say"


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = OpenAIResponsesModel("scripted", AsyncOpenAI(base_url=f"{url}/v1", api_key="none"))
    plain = [function_tool(tool) for tool in tools]
    return Agent(
        "scripted", model=model, tools=[*plain, *(function_tool(tool, needs_approval=True) for tool in guarded)]
    )


def nested(url: str, tools: Tools) -> Any:
    inner, outer = build(url, tools, []), build(url, [], [])
    inner.name = "expert"
    outer.handoffs = [inner]
    return outer
