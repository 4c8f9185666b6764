"""An agent of LangChain, on LangGraph, as its users write it."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_openai import ChatOpenAI

from tests.frameworks.builds import Tools


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = ChatOpenAI(model="scripted", base_url=f"{url}/v1", api_key="none", stream_usage=True)
    approval = HumanInTheLoopMiddleware(interrupt_on={tool.__name__: True for tool in guarded})
    return create_agent(model, tools=[*tools, *guarded], middleware=[approval])
