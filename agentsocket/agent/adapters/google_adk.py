"""Agents, workflows and apps of Google's Agent Development Kit."""

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
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from agentsocket.agent.adapters import google_adk_rehearsal
from agentsocket.agent.adapters.content import attached, weight
from agentsocket.agent.adapters.conversation import RunOptions, Tokens, approve
from agentsocket.agent.adapters.google_adk_content import question
from agentsocket.agent.adapters.google_adk_telling import CONFIRMATION, Teller, text_of
from agentsocket.agent.adapters.memory import Form, Memory
from agentsocket.agent.contract import AgentError, Context, Turn
from agentsocket.protocol.events import AgentResponse, InputRequired

FORM: Final = Form[Event](
    "google-adk",
    dump=lambda events: [
        event.model_dump(mode="json", exclude_none=True, by_alias=True, fallback=str) for event in events
    ],
    parse=lambda value: [Event.model_validate_json(to_json(event)) for event in value],
)


class GoogleADKAgent:
    """Serves one session of an agent; ``options`` go to ``Runner.run_async`` (``run_config=`` and so on)."""

    RESERVED: Final = frozenset({"session_id", "new_message"})

    def __init__(self, agent: Any, options: RunOptions) -> None:
        app = agent if isinstance(agent, App) else App(name=agent.name, root_agent=agent)
        self.memory: Memory[Event] = Memory()
        self._sessions, self._artifacts = InMemorySessionService(), InMemoryArtifactService()
        self._runner = Runner(
            app=app.model_copy(update={"plugins": [*app.plugins, _Reasons()]}),
            session_service=self._sessions,
            artifact_service=self._artifacts,
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
        history = await self.memory.recall(turn)
        options = await self._options.of(turn)
        options["run_config"] = _run_config(options.get("run_config"))
        # A session for this turn alone: two turns of one session would read each other's half.
        user_id = options.pop("user_id", None) or _user_id(turn.context)
        ids: dict[str, Any] = {"user_id": user_id, "session_id": uuid4().hex}
        place = {"app_name": self._runner.app_name, **ids}
        files = await attached(turn)
        parts = question(message, files)

        async def load(name: str, version: int) -> Part | None:
            return await self._artifacts.load_artifact(filename=name, version=version, **place)

        teller = Teller(turn, load, options["run_config"].custom_metadata or {})
        session = await self._sessions.create_session(state=self._state, **place)
        try:
            for event in history:
                await self._sessions.append_event(session, event)
            while parts:
                content = Content(role="user", parts=parts)
                questions = await teller.tell_all(self._runner.run_async(new_message=content, **ids, **options))
                parts = [await _ask(call, turn) for call in questions]
            done = await self._sessions.get_session(**place)
        finally:
            await self._forget(place)
        if teller.failure and not teller.answer:
            raise AgentError(f"The model gave no answer ({_reason(teller.failure)}).")
        new = done.events[len(history) :] if done else []
        self.memory.commit(new, weight(files) + teller.size, turn.session_files)
        self._state = dict(done.state) if done else {}
        return self._report(new, teller.answer)

    async def save(self) -> JsonValue:
        """Return what is remembered of the session.

        Raises:
            ValueError: if it is too large.
        """
        return await self.memory.save(FORM, self._state)

    async def load(self, memory: JsonValue) -> None:
        """Take up what ``save`` of an earlier instance has returned; where that fails, nothing of it.

        Raises:
            ValueError: if it is of another framework or form; so do ``TypeError`` and ``LookupError``.
        """
        self._state = self.memory.load(FORM, memory)

    async def _forget(self, place: dict[str, Any]) -> None:
        """Drop the session of a turn, and its artifacts, which ADK keeps apart."""
        await self._sessions.delete_session(**place)
        # Of a user whose id could be no part of a path there can be none, and not even be asked for any.
        for name in await self._artifacts.list_artifact_keys(**place) if self._artifacts.artifacts else ():
            if not name.startswith("user:"):
                await self._artifacts.delete_artifact(filename=name, **place)

    def _report(self, events: list[Event], answer: Event | None) -> AgentResponse:
        tokens = Tokens()
        for event in events:
            if used := event.usage_metadata:
                given = (used.prompt_token_count or 0) + (used.tool_use_prompt_token_count or 0)
                # Gemini counts thoughts beside the output, other models within it; the total has them once.
                total = used.total_token_count or given + (used.candidates_token_count or 0)
                tokens.add(
                    given,
                    total - given,
                    cached_input_tokens=used.cached_content_token_count,
                    reasoning_tokens=used.thoughts_token_count,
                )
        if answer is None:
            return tokens.report("")
        text = text_of(answer)
        response = tokens.report(self._result(answer, text))
        return response.model_copy(update={"response": text}) if text else response

    def _result(self, answer: Event, text: str) -> Any:
        """What an agent with a schema says is JSON; a workflow's output is what it is."""
        if answer.output is not None:
            return answer.output
        find = getattr(self._runner.agent, "find_agent", lambda _: None)
        if getattr(find(answer.author), "output_schema", None) is None:
            return text
        try:
            return from_json(text)
        except ValueError:
            return text


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


def _reason(failure: Event) -> str:
    code = failure.error_code
    return str(getattr(code, "name", code))
