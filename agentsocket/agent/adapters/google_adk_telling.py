"""What a run of a Google ADK agent brings, event by event, told to the client."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from google.adk.events import Event
from google.genai.types import FunctionCall, FunctionResponse, Outcome, Part

from agentsocket.agent.adapters.content import File, send, without_files
from agentsocket.agent.adapters.google_adk_content import artifact_file, file_in, link_in
from agentsocket.agent.adapters.speakers import Speakers
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, ToolCall, ToolResult

CONFIRMATION = "adk_request_confirmation"
QUESTION = "adk_request_input"
CODE = "code_execution"

NOT_TOLD = ("temp:", "app:", "_")
"""Of the state: what is for the moment, what belongs to all users, and what is ADK's own."""

LoadArtifact = Callable[[str, int], Awaitable[Part | None]]
"""Gets a version of an artifact by its name."""


class Teller:
    """Tells the events of a turn, and keeps its answer and its questions: for ADK these too are calls of tools."""

    def __init__(self, turn: Turn, load_artifact: LoadArtifact, run_metadata: Mapping[str, Any]) -> None:
        """Tell this turn; ``run_metadata`` is what ADK adds to each event."""
        self.answer: Event | None = None
        self.failure: Event | None = None
        """An event that says that the model has failed, where it is the newest of all."""
        self.size = 0
        """Bytes of the files that the events have."""
        self._questions: list[FunctionCall] = []
        self._turn, self._load_artifact, self._run_metadata = turn, load_artifact, run_metadata
        self._speakers = Speakers(turn)
        self._in_pieces: set[tuple[str, str | None, bool]] = set()
        """Whose thoughts (true) and text (false) have come in pieces, and will come again as a whole."""

    async def tell_all(self, stream: AsyncGenerator[Event, None]) -> list[FunctionCall]:
        """Tell a run; return the questions that it has ended with."""
        self._questions = []
        async with aclosing(stream) as events:
            async for event in events:
                await self._tell(event)
        return self._questions

    async def _tell(self, event: Event) -> None:
        if event.author != "user":
            await self._speakers.speaks(event.author, tuple(event.branch.split(".")) if event.branch else ())
        await self._tell_text(event)
        if event.partial:
            return
        self.failure = event if event.error_code else None
        if event.is_final_response() and (text_of(event) or event.output is not None):
            self.answer = event
        for part in parts_of(event):
            await self._tell_part(part)
        for call in event.get_function_calls():
            await self._tell_call(call)
        responses = event.get_function_responses()
        await self._tell_artifacts(event, responses[0].id if len(responses) == 1 else None)
        for response in responses:
            # The first result of a call that waits for its approval only says that it waits.
            if response.name not in {CONFIRMATION, QUESTION} and not (
                response.id and response.id in event.actions.requested_tool_confirmations
            ):
                await self._tell_result(response)
        await self._tell_data(event)

    async def _tell_text(self, event: Event) -> None:
        for thought in (True, False):
            text = text_of(event, thought=thought)
            who = (event.author, event.branch, thought)
            if text and (event.partial or who not in self._in_pieces):
                await self._turn.emit(AgentReasoning(reasoning=text) if thought else AgentOutput(output=text))
            if not event.partial:
                self._in_pieces.discard(who)
            elif text:
                self._in_pieces.add(who)

    async def _tell_part(self, part: Part) -> None:
        """Tell a file of the model's, or a tool that its provider has run."""
        if file := self._file_in(part):
            await send(file, self._turn)
        elif link := link_in(part):
            await self._turn.emit(AgentData(name="link", data=link))
        elif code := part.executable_code:
            given = {"language": code.language, "code": code.code}
            await self._turn.emit(ToolCall(tool_name=CODE, tool_kwargs=given, tool_call_id=code.id or None))
        elif result := part.code_execution_result:
            failed = result.outcome != Outcome.OUTCOME_OK or None
            await self._turn.emit(
                ToolResult(tool_name=CODE, tool_output=result.output, tool_call_id=result.id or None, is_error=failed)
            )
        elif called := getattr(part, "tool_call", None):
            name = str(called.tool_type and called.tool_type.value).lower()
            await self._turn.emit(
                ToolCall(tool_name=name, tool_kwargs=called.args or {}, tool_call_id=called.id or None)
            )
        elif responded := getattr(part, "tool_response", None):
            name = str(responded.tool_type and responded.tool_type.value).lower()
            await self._turn.emit(
                ToolResult(tool_name=name, tool_output=responded.response, tool_call_id=responded.id or None)
            )

    async def _tell_call(self, call: FunctionCall) -> None:
        if call.name in {CONFIRMATION, QUESTION}:
            self._questions.append(call)
        else:
            await self._turn.emit(
                ToolCall(tool_name=str(call.name), tool_kwargs=call.args or {}, tool_call_id=call.id or None)
            )

    async def _tell_result(self, response: FunctionResponse) -> None:
        call_id, value = response.id or None, response.response
        # ADK wraps what is not a dict in one, and takes pictures out of it.
        output = value["result"] if value and value.keys() == {"result"} else value
        output = await without_files(output, self._turn, call_id, self._file_in)
        notes = await without_files(response.parts or [], self._turn, call_id, self._file_in)
        await self._turn.emit(
            ToolResult(
                tool_name=str(response.name),
                tool_output=(output, *notes) if notes and output else notes or output,
                tool_call_id=call_id,
            )
        )

    async def _tell_artifacts(self, event: Event, call_id: str | None) -> None:
        for name, version in event.actions.artifact_delta.items():
            part = await self._load_artifact(name, version)
            if part and (file := artifact_file(part, name)):
                await send(file, self._turn, call_id)
            elif part and (link := link_in(part)):
                await self._turn.emit(AgentData(name="link", data={**link, "name": name}))

    async def _tell_data(self, event: Event) -> None:
        """Tell what an application has put beside the content: its state, metadata, widgets; and the sources."""
        state = {key: value for key, value in event.actions.state_delta.items() if not key.startswith(NOT_TOLD)}
        given = self._run_metadata
        metadata = {
            key: value
            for key, value in (event.custom_metadata or {}).items()
            if not key.startswith("_") and not (key in given and given[key] == value)
        }
        citations = event.citation_metadata and event.citation_metadata.citations
        for name, data in (
            ("state", state),
            ("metadata", metadata),
            ("citations", citations),
            ("grounding", event.grounding_metadata and event.grounding_metadata.model_dump(exclude_none=True)),
        ):
            if data:
                await self._turn.emit(AgentData(name=name, data=data))
        for widget in getattr(event.actions, "render_ui_widgets", None) or ():
            await self._turn.emit(AgentData(name="ui_widget", data=widget.model_dump(), id=widget.id))

    def _file_in(self, value: Any) -> File | None:
        if file := file_in(value):
            self.size += len(file.data)
        return file


def text_of(event: Event, *, thought: bool = False) -> str:
    """Return an event's text, or its thoughts."""
    return "".join(part.text for part in parts_of(event) if part.text and bool(part.thought) is thought)


def parts_of(event: Event) -> list[Part]:
    """Return the parts of an event's content."""
    return (event.content and event.content.parts) or []
