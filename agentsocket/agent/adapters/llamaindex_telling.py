"""What a run of a LlamaIndex agent streams, told to the client."""

from typing import Any

from llama_index.core.agent.workflow import AgentInput, AgentStream, ToolCallResult
from llama_index.core.agent.workflow import AgentOutput as StepOutput
from llama_index.core.agent.workflow import ToolCall as ToolCallEvent
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import CitationBlock
from llama_index.core.tools import ToolOutput
from llama_index.core.workflow import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent

from agentsocket.agent.adapters.content import File, without_files
from agentsocket.agent.adapters.conversation import as_text, ask_text
from agentsocket.agent.adapters.llamaindex_content import file_in, tell_files
from agentsocket.agent.adapters.speakers import Speakers
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, ToolCall, ToolResult

OWN = ("llama_index.core.agent.", "llama_index.core.workflow.", "workflows.")
"""Where LlamaIndex has its events: what else is streamed, an application has written there."""


class Teller:
    """Tells the events of one run.

    LlamaIndex runs a tool that has asked again from its start once the answer is there. What it asked before is not
    asked again then; that its call is told again, the server puts right for every agent.
    """

    def __init__(self, run: Any, turn: Turn) -> None:
        self.size = 0
        """Bytes of the files that its messages have, as text."""
        self._run, self._turn = run, turn
        self._speakers = Speakers(turn)
        self._has_thought = self._has_spoken = False
        """Whether this step of the agent has been told in pieces."""
        self._asked: dict[str, list[dict[str, Any]]] = {}
        """By open call: the questions whose answer it has been run again for."""
        self._answered: list[dict[str, Any]] = []

    async def tell(self, event: Any) -> None:
        """Tell one event."""
        match event:
            case AgentStream():
                await self._tell_piece(event)
            case AgentInput():
                await self._speakers.speaks(event.current_agent_name)
            case StepOutput():
                await self._tell_step(event)
            case ToolCallEvent():
                await self._tell_call(event)
            case ToolCallResult():
                self._asked.pop(event.tool_id, None)
                await self._tell_result(event)
            case InputRequiredEvent():
                question = dict(event.items())
                if not any(question in asked for asked in self._asked.values()):
                    await self._ask(question)
            case Event() if _is_of_an_application(event):
                fields = {name: getattr(event, name) for name in type(event).model_fields}
                await self._turn.emit(AgentData(name=type(event).__name__, data={**fields, **dict(event.items())}))

    async def _tell_piece(self, piece: AgentStream) -> None:
        await self._speakers.speaks(piece.current_agent_name)
        if piece.thinking_delta:
            self._has_thought = True
            await self._turn.emit(AgentReasoning(reasoning=piece.thinking_delta))
        if piece.delta:
            self._has_spoken = True
            await self._turn.emit(AgentOutput(output=piece.delta))

    async def _tell_step(self, step: StepOutput) -> None:
        """Tell what of a model's answer has not come in pieces."""
        message, sources = step.response, []
        for block in message.blocks:
            if isinstance(block, ThinkingBlock) and block.content and not self._has_thought:
                await self._turn.emit(AgentReasoning(reasoning=block.content))
            elif isinstance(block, CitationBlock):
                sources.append(block)
        if message.content and not self._has_spoken:
            await self._turn.emit(AgentOutput(output=message.content))
        self._has_thought = self._has_spoken = False
        self.size += await tell_files(message.blocks, self._turn)
        if sources:
            await self._turn.emit(AgentData(name="citations", data=sources))

    async def _tell_call(self, call: ToolCallEvent) -> None:
        if call.tool_id in self._asked and self._answered:
            self._asked[call.tool_id].append(self._answered.pop(0))
        self._asked.setdefault(call.tool_id, [])
        await self._turn.emit(
            ToolCall(tool_name=call.tool_name, tool_kwargs=call.tool_kwargs, tool_call_id=call.tool_id)
        )

    async def _tell_result(self, result: ToolCallResult) -> None:
        output = result.tool_output
        while isinstance(output.raw_output, ToolOutput):
            output = output.raw_output  # which the tool has made itself
        given: Any = output.content if output.raw_output is None else output.raw_output
        if hasattr(given, "content") and hasattr(given, "isError"):
            given = given.model_dump()  # of an MCP server
        value = await without_files(given, self._turn, result.tool_id, self._file_in)
        if value is given:  # else they are the same
            self.size += await tell_files(output.blocks, self._turn, result.tool_id)
        await self._turn.emit(
            ToolResult(
                tool_name=result.tool_name,
                tool_output=value,
                tool_call_id=result.tool_id,
                is_error=result.tool_output.is_error or output.is_error or None,
            )
        )

    def _file_in(self, value: Any) -> File | None:
        if file := file_in(value):
            self.size += len(file.data)
        return file

    async def _ask(self, question: dict[str, Any]) -> None:
        fields = {name: value for name, value in question.items() if name != "prefix"}
        answer = await ask_text(self._turn, question.get("prefix") or fields)
        self._answered.append(question)
        # By the same fields a tool may have said which answer is its own.
        self._run.ctx.send_event(HumanResponseEvent(response=as_text(answer), **fields))


def _is_of_an_application(event: Event) -> bool:
    is_known = isinstance(event, StartEvent | StopEvent | HumanResponseEvent)
    return type(event) is Event or not (is_known or type(event).__module__.startswith(OWN))
