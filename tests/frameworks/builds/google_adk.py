"""An agent of Google ADK, as its users write it."""

from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import Gemini
from google.adk.tools.agent_tool import AgentTool
from google.adk.tools.function_tool import FunctionTool

from tests.frameworks.builds import Tools

NESTED = "expert(request={}) then say"


def build(url: str, tools: Tools, guarded: Tools) -> Any:
    model = Gemini(model="gemini-scripted", base_url=url)
    approved = [FunctionTool(tool, require_confirmation=True) for tool in guarded]
    return LlmAgent(name="scripted", model=model, tools=[*tools, *approved])


def nested(url: str, tools: Tools) -> Any:
    inner, outer = build(url, tools, []), build(url, [], [])
    inner.name = "expert"
    outer.tools = [AgentTool(inner)]
    return outer
