"""An agent of LangChain, on LangGraph, as its users write it."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from tests.frameworks.builds import Tools

NESTED = "{} then say"


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = ChatOpenAI(model="scripted", base_url=f"{url}/v1", api_key="none", stream_usage=True)
    approval = HumanInTheLoopMiddleware(interrupt_on={tool.__name__: True for tool in guarded})
    return create_agent(model, tools=[*tools, *guarded], middleware=[approval])


def nested(url: str, tools: Tools) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("expert", build(url, tools, []))
    builder.add_edge(START, "expert")
    return builder
