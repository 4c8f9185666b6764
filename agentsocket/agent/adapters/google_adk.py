"""Agents, workflows and apps of Google's Agent Development Kit."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from uuid import uuid4

from google.adk.agents.run_config import RunConfig
from google.adk.apps.app import App
from google.adk.artifacts import InMemoryArtifactService
from google.adk.events import Event
from google.adk.memory import InMemoryMemoryService
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai.types import Content, FunctionCall, FunctionResponse, Part

from agentsocket.agent.adapters import google_adk_rehearsal
from agentsocket.agent.adapters.conversation import Memory, RunOptions, Tokens, approve
from agentsocket.agent.contract import Context, Turn
from agentsocket.protocol.events import AgentOutput, AgentResponse, InputRequired, ToolCall, ToolResult

CONFIRMATION = "adk_request_confirmation"
QUESTION = "adk_request_input"


class GoogleADKAgent:
    """Serves one session of an agent; ``options`` go to ``Runner.run_async`` (``run_config=`` and so on)."""

    RESERVED: Final = frozenset({"session_id", "new_message"})

    def __init__(self, agent: Any, options: RunOptions) -> None:
        app = agent if isinstance(agent, App) else App(name=agent.name, root_agent=agent)
        self.memory: Memory[Event] = Memory()
        self._sessions = InMemorySessionService()
        self._runner = Runner(
            app=app.model_copy(update={"plugins": [*app.plugins, _Reasons()]}),
            session_service=self._sessions,
            artifact_service=InMemoryArtifactService(),
            memory_service=InMemoryMemoryService(),
        )
        self._state: dict[str, Any] = {}
        self._options = options

    @staticmethod
    def warm_up() -> None:
        """Have ADK import what it would at the first message."""
        google_adk_rehearsal.rehearse()

    async def run(self, message: str, turn: Turn) -> AgentResponse:
        """Answer one message. An exception of a tool ends the run, unless a plugin of the app catches it."""
        history = self.memory.snapshot()
        options = await self._options.of(turn)
        options["run_config"] = _run_config(options.get("run_config"))
        # A session for this turn alone: two turns of one session would read each other's half.
        user_id = options.pop("user_id", None) or _user_id(turn.context)
        ids: dict[str, Any] = {"user_id": user_id, "session_id": uuid4().hex}
        place = {"app_name": self._runner.app_name, **ids}
        session = await self._sessions.create_session(state=self._state, **place)
        try:
            for event in history:
                await self._sessions.append_event(session, event)
            answer, parts = None, [Part(text=message)]
            while parts:
                teller = _Teller(turn)
                content = Content(role="user", parts=parts)
                await teller.tell_all(self._runner.run_async(new_message=content, **ids, **options))
                answer, parts = teller.answer or answer, [await _ask(call, turn) for call in teller.questions]
            done = await self._sessions.get_session(**place)
        finally:
            await self._sessions.delete_session(**place)
        new = done.events[len(history) :] if done else []
        self.memory.commit(new)
        self._state = dict(done.state) if done else {}
        return _report(new, answer)


class _Teller:
    """Tells the events of one run, and keeps its answer and its questions: for ADK these too are calls of tools."""

    def __init__(self, turn: Turn) -> None:
        self.answer: Any = None
        self.questions: list[FunctionCall] = []
        self._turn = turn

    async def tell_all(self, stream: AsyncGenerator[Event, None]) -> None:
        async with aclosing(stream) as events:
            async for event in events:
                await self.tell(event)

    async def tell(self, event: Event) -> None:
        text = "".join(part.text for part in _parts(event) if part.text and not part.thought)
        if event.partial:
            if text:
                await self._turn.emit(AgentOutput(output=text))
            return
        if event.is_final_response() and (text or event.output is not None):
            self.answer = text or event.output
        for call in event.get_function_calls():
            await self._tell_call(call)
        for response in event.get_function_responses():
            # The first result of a call that waits for its approval only says that it waits.
            if response.name not in {CONFIRMATION, QUESTION} and not (
                response.id and response.id in event.actions.requested_tool_confirmations
            ):
                await self._tell_result(response)

    async def _tell_call(self, call: FunctionCall) -> None:
        if call.name in {CONFIRMATION, QUESTION}:
            self.questions.append(call)
        else:
            await self._turn.emit(
                ToolCall(tool_name=str(call.name), tool_kwargs=call.args or {}, tool_call_id=call.id or None)
            )

    async def _tell_result(self, response: FunctionResponse) -> None:
        value = response.response
        # ADK wraps what is not a dict in one.
        output = value["result"] if value and value.keys() == {"result"} else value
        await self._turn.emit(
            ToolResult(tool_name=str(response.name), tool_output=output, tool_call_id=response.id or None)
        )


class _Reasons(BasePlugin):
    """Tells the model why a call was denied; ADK only tells it that it was."""

    def __init__(self) -> None:
        super().__init__(name="reasons")

    async def after_tool_callback(self, *, tool_context: Any, result: Any, **_: Any) -> dict[str, Any] | None:
        answer = tool_context.tool_confirmation
        if answer and not answer.confirmed and isinstance(answer.payload, dict) and answer.payload.get("reason"):
            return {**result, "reason": answer.payload["reason"]}
        return None


def _user_id(context: Context) -> str:
    """ADK wants a user, whether anybody is known by name or not."""
    return context.user.id if context.user else context.session_id


def _run_config(given: RunConfig | None) -> RunConfig:
    """The operator's config, with what is needed here where it says nothing of that.

    Without a thread pool, ADK runs synchronous tools on the event loop.
    """
    needed = RunConfig.model_validate({"streaming_mode": "sse", "tool_thread_pool_config": {}})
    given = given or needed
    unset = needed.model_fields_set - given.model_fields_set
    return given.model_copy(update={name: getattr(needed, name) for name in unset})


async def _ask(call: FunctionCall, turn: Turn) -> Part:
    args: dict[str, Any] = call.args or {}
    response: dict[str, Any]
    if call.name == CONFIRMATION:
        original = args["originalFunctionCall"]
        approval = await approve(turn, original["name"], original.get("args") or {})
        response = {"confirmed": approval.approved, "payload": {"reason": approval.reason} if approval.reason else None}
    else:
        prompt, schema = args.get("message") or "The agent asks for your input.", args.get("response_schema")
        response = {"result": await turn.ask(InputRequired(prompt=prompt, response_schema=schema))}
    return Part(function_response=FunctionResponse(id=call.id, name=call.name, response=response))


def _report(events: list[Event], answer: Any) -> AgentResponse:
    tokens = Tokens()
    for event in events:
        if used := event.usage_metadata:
            tokens.add(used.prompt_token_count, used.candidates_token_count)
    return tokens.report(answer)


def _parts(event: Event) -> list[Part]:
    return (event.content and event.content.parts) or []
