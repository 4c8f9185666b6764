"""An agent of LlamaIndex, as its users write it."""

from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

from tests.frameworks.builds import Tools


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
