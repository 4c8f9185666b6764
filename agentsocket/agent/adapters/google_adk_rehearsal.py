"""A run without a model: ADK imports most of itself, and looks at its types, only when the first one runs."""

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.adk.agents import LlmAgent
from google.adk.apps.app import App
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai.types import Content, FunctionCall, Part

NAME = "rehearsal"


class _Mute(BaseLlm):
    """Calls the tool, then has nothing to say."""

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002  # as ADK has it
    ) -> AsyncGenerator[LlmResponse, None]:
        called = any(part.function_response for content in llm_request.contents for part in content.parts or ())
        part = Part(text=NAME) if called else Part(function_call=FunctionCall(name=NAME, args={}))
        yield LlmResponse(content=Content(role="model", parts=[part]))


def rehearsal() -> str:
    """Do nothing."""
    return NAME


@functools.cache
def rehearse() -> None:
    """Run once, on an event loop of its own: one may run here already."""
    thread = threading.Thread(target=asyncio.run, args=(_run(),))
    thread.start()
    thread.join()


async def _run() -> None:
    sessions = InMemorySessionService()
    app = App(name=NAME, root_agent=LlmAgent(name=NAME, model=_Mute(model=NAME), tools=[rehearsal]))
    session = await sessions.create_session(app_name=NAME, user_id=NAME)
    message = Content(role="user", parts=[Part(text=NAME)])
    run = Runner(app=app, session_service=sessions).run_async(user_id=NAME, session_id=session.id, new_message=message)
    async with aclosing(run) as events:
        async for _ in events:
            pass
