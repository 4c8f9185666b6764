"""What a run of Pydantic AI tells, event by event."""

from collections.abc import AsyncIterable
from typing import Any

from pydantic_ai.messages import (
    AgentStreamEvent,
    BaseToolCallPart,
    BaseToolReturnPart,
    BinaryContent,
    FilePart,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    NativeToolCallPart,
    NativeToolReturnPart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)

from agentsocket.agent.adapters.content import File, send, without_files
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, ToolCall, ToolResult


class Teller:
    """Tells the events of one run."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.size = 0
        """Bytes of the files that it has told of."""
        self._notes: dict[str, str] = {}
        """By the identifiers of the model's files: what stands for each in text."""

    async def tell_all(self, events: AsyncIterable[AgentStreamEvent]) -> None:
        """Tell what happens in one step of a run."""
        async for event in events:
            await self._tell(event)

    async def answer(self, output: Any) -> Any:
        """Return what a run answers; a picture or file goes to the client, if it has not yet."""
        if not isinstance(output, BinaryContent):
            return output
        return self._notes.get(output.identifier) or await send(self._file(output), self._turn)

    async def _tell(self, event: AgentStreamEvent) -> None:
        match event:
            case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                if text:
                    await self._turn.emit(AgentOutput(output=text))
            case (
                PartStartEvent(part=ThinkingPart(content=text))
                | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=text))
            ):
                if text:
                    await self._turn.emit(AgentReasoning(reasoning=text))
            case PartStartEvent(part=FilePart(content=content)):
                self._notes[content.identifier] = await send(self._file(content), self._turn)
            case FunctionToolCallEvent(part=part) | PartEndEvent(part=NativeToolCallPart() as part):
                await self._tell_call(part)
            case PartStartEvent(part=NativeToolReturnPart() as part):  # what the provider runs at its own side
                await self._tell_result(part)
            case FunctionToolResultEvent(part=part, content=content):
                # What a tool says to the model beside its result is the model's; a picture in it is everybody's.
                await without_files(content, self._turn, part.tool_call_id, self._file_in)
                await self._tell_result(part)
            case _:
                await self._tell_more(event)

    async def _tell_call(self, part: BaseToolCallPart) -> None:
        await self._turn.emit(
            ToolCall(tool_name=part.tool_name, tool_kwargs=part.args_as_dict(), tool_call_id=part.tool_call_id)
        )

    async def _tell_result(self, part: BaseToolReturnPart) -> None:
        output = await without_files(part.content, self._turn, part.tool_call_id, self._file_in)
        failed = getattr(part, "outcome", "retried") in {"failed", "retried"}
        await self._turn.emit(
            ToolResult(
                tool_name=part.tool_name or "",
                tool_output=output,
                tool_call_id=part.tool_call_id,
                is_error=failed or None,
            )
        )

    async def _tell_more(self, event: Any) -> None:
        """Tell an event of the application's that is meant for its people; older releases have none."""
        if event.event_kind == "custom" and event.ui:
            await self._turn.emit(AgentData(name=event.name, data=event.to_payload()))

    def _file(self, content: BinaryContent) -> File:
        self.size += len(content.data)
        return File(content.data, None, content.media_type)

    def _file_in(self, value: Any) -> File | None:
        return self._file(value) if isinstance(value, BinaryContent) else None
