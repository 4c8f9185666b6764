"""An agent of LlamaIndex, as its users write it."""

from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.llms.openai_like import OpenAILike

from tests.frameworks.builds import Tools

NESTED = "handoff(to_agent=expert, reason=none) then {} then say"


def build(url: str, tools: Tools, guarded: Tools) -> Any:  # noqa: ARG001  # its tools ask for themselves
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


def nested(url: str, tools: Tools) -> Any:
    inner, outer = build(url, tools, []), build(url, [], [])
    inner.name, inner.description = "expert", "Knows it."
    outer.name, outer.description, outer.can_handoff_to = "front", "Asks the expert.", ["expert"]
    return AgentWorkflow(agents=[outer, inner], root_agent="front")
