"""One agent of each framework, as its users write it, with the model at ``url``.

``tools`` are plain functions; those among ``guarded`` need a person's approval.
"""

from collections.abc import Callable
from typing import Any

Tools = list[Callable[..., Any]]


def pydantic_ai(url: str, tools: Tools, guarded: Tools) -> Any:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return Agent(model, tools=[*tools, *(Tool(tool, requires_approval=True) for tool in guarded)])


def openai_agents(url: str, tools: Tools, guarded: Tools) -> Any:
    from agents import Agent, OpenAIResponsesModel, function_tool
    from openai import AsyncOpenAI

    model = OpenAIResponsesModel("scripted", AsyncOpenAI(base_url=f"{url}/v1", api_key="none"))
    plain = [function_tool(tool) for tool in tools]
    return Agent(
        "scripted", model=model, tools=[*plain, *(function_tool(tool, needs_approval=True) for tool in guarded)]
    )


def langgraph(url: str, tools: Tools, guarded: Tools) -> Any:
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="scripted", base_url=f"{url}/v1", api_key="none", stream_usage=True)
    approval = HumanInTheLoopMiddleware(interrupt_on={tool.__name__: True for tool in guarded})
    return create_agent(model, tools=[*tools, *guarded], middleware=[approval])


def llamaindex(url: str, tools: Tools, guarded: Tools) -> Any:  # noqa: ARG001 -- it asks within a tool, see its own test
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai_like import OpenAILike

    more = {"stream_options": {"include_usage": True}}
    model = OpenAILike(
        "scripted",
        api_base=f"{url}/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        additional_kwargs=more,
    )
    return FunctionAgent(llm=model, tools=tools)


def google_adk(url: str, tools: Tools, guarded: Tools) -> Any:
    from google.adk.agents import LlmAgent
    from google.adk.models import Gemini
    from google.adk.tools import FunctionTool

    model = Gemini(model="gemini-scripted", base_url=url)
    approved = [FunctionTool(tool, require_confirmation=True) for tool in guarded]
    return LlmAgent(name="scripted", model=model, tools=[*tools, *approved])
