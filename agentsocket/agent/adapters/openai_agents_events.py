"""What a run of the OpenAI Agents SDK tells, event by event."""

import json
from typing import Any, Final

from agents import RawResponsesStreamEvent, RunItemStreamEvent, StreamEvent, ToolOutputFileContent, ToolOutputImage
from agents.items import TResponseStreamEvent
from openai.types.responses import ResponseReasoningSummaryTextDeltaEvent, ResponseReasoningTextDeltaEvent

from agentsocket.agent.adapters.content import File, without_files
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, ToolCall, ToolResult

GIVEN: Final = ("action", "queries", "code", "server_label", "revised_prompt")
RETURNED: Final = ("error", "results", "outputs", "output", "result")
"""Where the items of what OpenAI runs at its own side have what it was given, and what came of it."""


class Teller:
    """Tells the events of one turn; of some ``failed`` calls their results do not tell."""

    def __init__(self, turn: Turn, failed: set[str]) -> None:
        self.size = 0
        """Bytes, about, of the files that it has told of."""
        self._turn, self._failed = turn, failed
        self._thoughts: dict[str, str] = {}
        """By the id of each thought of a request's: in which form it is told, as a summary or as it is."""
        self._outputs: list[tuple[Any, Any]] = []
        """What tools have returned, and what was told of it."""

    def answer(self, output: Any) -> Any:
        """Return what a run answers; where that is what a tool has returned, it is told in the same words."""
        for returned, told in self._outputs:
            if output is returned or (isinstance(output, str) and output == str(returned)):  # the SDK makes text of it
                return told
        return output

    async def tell(self, event: StreamEvent) -> None:
        """Tell what happens."""
        match event:
            case RawResponsesStreamEvent(data=data):
                await self._tell_piece(data)
            case RunItemStreamEvent(name="reasoning_item_created", item=item):
                await self._tell_thought(as_dict(item.raw_item))
            case RunItemStreamEvent(name="tool_called" | "handoff_requested", item=item):
                if not _is_hosted(call := as_dict(item.raw_item)):
                    await self._tell_call(call)
                    if expert := _agent_within(item):
                        await self._tell_handoff(item.agent.name, expert)
            case RunItemStreamEvent(name="tool_output" | "handoff_occured", item=item):
                await self._tell_result(item)

    async def _tell_piece(self, piece: TResponseStreamEvent) -> None:
        if piece.type == "response.output_text.delta":
            await self._turn.emit(AgentOutput(output=piece.delta))
        elif isinstance(piece, ResponseReasoningSummaryTextDeltaEvent | ResponseReasoningTextDeltaEvent):
            if self._thoughts.setdefault(piece.item_id, piece.type) == piece.type:
                await self._turn.emit(AgentReasoning(reasoning=piece.delta))
        elif piece.type == "response.reasoning_summary_part.added" and piece.item_id in self._thoughts:
            await self._turn.emit(AgentReasoning(reasoning="\n\n"))  # the summary's next paragraph
        elif piece.type == "response.output_item.done" and piece.item.type.endswith("_call"):
            if _is_hosted(call := as_dict(piece.item)):
                await self._tell_hosted(call)
        elif piece.type == "response.created":
            self._thoughts.clear()  # not every provider's ids are its requests' own

    async def _tell_thought(self, thought: dict[str, Any]) -> None:
        """Tell a thought that has not come in pieces."""
        texts = [part["text"] for part in thought.get("summary") or thought.get("content") or ()]
        if texts and thought["id"] not in self._thoughts:
            await self._turn.emit(AgentReasoning(reasoning="\n\n".join(texts)))

    async def _tell_call(self, call: dict[str, Any]) -> None:
        name = str(call.get("name") or call["type"].removesuffix("_call"))
        given = {field: call[field] for field in GIVEN if call.get(field) is not None}
        kwargs = given | arguments(call.get("arguments"))
        ident = call.get("call_id") or call.get("id")
        await self._turn.emit(ToolCall(tool_name=name, tool_kwargs=kwargs, tool_call_id=ident))

    async def _tell_hosted(self, call: dict[str, Any]) -> None:
        """Tell what OpenAI has run at its own side (a web search): one item has what it was given and what came of it.

        The SDK tells of it once the answer is whole, which is too late.
        """
        await self._tell_call(call)
        output = next((call[field] for field in RETURNED if call.get(field) is not None), call.get("status"))
        if call["type"] == "image_generation_call" and call.get("result"):
            output = {"type": "image", "image_url": f"data:image/{call.get('output_format') or 'png'};base64,{output}"}
        output = await without_files(output, self._turn, call.get("id"), self._file_in)
        is_error = bool(call.get("error")) or call.get("status") == "failed" or None
        await self._turn.emit(ToolResult(tool_output=output, tool_call_id=call.get("id"), is_error=is_error))

    async def _tell_result(self, item: Any) -> None:
        raw = as_dict(item.raw_item)
        returned, call_id = getattr(item, "output", raw.get("output")), raw["call_id"]
        told = await without_files(returned, self._turn, call_id, self._file_in)
        if told is not returned:
            self._outputs.append((returned, told))
        await self._turn.emit(
            ToolResult(tool_output=told, tool_call_id=call_id, is_error=call_id in self._failed or None)
        )
        if item.type == "handoff_output_item":
            await self._tell_handoff(item.source_agent.name, item.target_agent.name)
        elif expert := _agent_within(item):
            await self._tell_handoff(expert, item.agent.name)

    async def _tell_handoff(self, source: str, target: str) -> None:
        await self._turn.emit(AgentData(name="handoff", data={"from": source, "to": target}))

    def _file_in(self, value: Any) -> File | None:
        """Find a picture or file whose bytes are there, as the SDK's own tools and those of MCP servers return them."""
        found = value.model_dump() if isinstance(value, ToolOutputImage | ToolOutputFileContent) else value
        if not isinstance(found, dict):
            return None
        match found.get("type"):
            case "image" | "input_image":
                data = found.get("image_url")
            case "file" | "input_file":
                data = found.get("file_data")
            case _:
                return None
        if not isinstance(data, str) or not ("file_data" in found or data.startswith("data:")):
            return None  # an address
        self.size += len(data)
        return File(data, found.get("filename"))


def _agent_within(item: Any) -> str | None:
    """Return the name of the agent that a tool is, where it is one."""
    origin = getattr(item, "tool_origin", None)
    return origin and origin.agent_name


def _is_hosted(call: dict[str, Any]) -> bool:
    return "call_id" not in call


def as_dict(raw_item: Any) -> dict[str, Any]:
    """Return an item of a run, which is a model or a dict, as a dict."""
    return dict(raw_item) if isinstance(raw_item, dict) else raw_item.model_dump()


def arguments(text: Any) -> dict[str, Any]:
    """Return a call's arguments, which are JSON as the model wrote it: mostly an object, at worst anything."""
    try:
        read = json.loads(text or "{}")
    except ValueError:
        read = text
    return read if isinstance(read, dict) else {"arguments": read}
