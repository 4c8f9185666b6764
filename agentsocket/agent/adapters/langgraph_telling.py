"""What a LangGraph graph streams, told to the client: its messages in pieces and whole, and what its nodes write."""

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from agentsocket.agent.adapters.content import File, send, without_files
from agentsocket.agent.adapters.langchain_content import file_in
from agentsocket.agent.adapters.speakers import Speakers
from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData, AgentOutput, AgentReasoning, ToolCall, ToolResult


class Teller:
    """Tells a message once: a graph sends those of its subgraphs, and of its past, again."""

    def __init__(self, turn: Turn, graph_name: str, known: set[str | None]) -> None:
        """Speak to this turn; messages with ``known`` ids are of the past."""
        self._turn, self._graph_name = turn, graph_name
        self.size = 0
        """Bytes of the files that its messages have, as text."""
        self._past = known
        self._told = set(known)
        self._answered: set[str] = set()
        """Calls that have their result: a handover's is sent with an id and without."""
        self._speakers = Speakers(turn)

    async def tell(self, place: tuple[str, ...], mode: str, part: Any) -> None:
        """Tell what came by one stream mode from a graph, or from one within it."""
        if mode == "messages":
            message, metadata = part
            if isinstance(message, AIMessageChunk) or (isinstance(message, AIMessage) and message.id not in self._past):
                await self._tell_speaker(place, metadata)
                await self._tell_text(message)
        elif mode == "custom":
            await self._turn.emit(_custom(part))
        else:
            for message in messages_in(list(part.values())):
                if message.id is None or message.id not in self._told:
                    self._told.add(message.id)
                    await self._tell_whole(message)

    async def _tell_speaker(self, place: tuple[str, ...], metadata: Mapping[str, Any]) -> None:
        """An agent has its own name, or that of the node that it is; one that runs in a tool may have none."""
        node = place[-1].partition(":")[0] if place else self._graph_name
        if name := metadata.get("lc_agent_name") or (node if node != "tools" else ""):
            await self._speakers.speaks(name, place)

    async def _tell_text(self, message: AIMessage) -> None:
        if message.additional_kwargs or not isinstance(message.content, str):
            for block in message.content_blocks:
                if block["type"] == "reasoning" and (thought := block.get("reasoning")):
                    await self._turn.emit(AgentReasoning(reasoning=thought))
        if text := str(message.text):
            await self._turn.emit(AgentOutput(output=text))

    async def _tell_whole(self, message: BaseMessage) -> None:
        if isinstance(message, AIMessage):
            await self._tell_blocks(message)
            for call in message.tool_calls:
                self._answered.discard(call["id"] or "")
                await self._turn.emit(
                    ToolCall(tool_name=call["name"], tool_kwargs=call["args"], tool_call_id=call["id"])
                )
        elif isinstance(message, ToolMessage) and message.tool_call_id not in self._answered:
            self._answered.add(message.tool_call_id)
            await self._tell_result(message)

    async def _tell_blocks(self, message: AIMessage) -> None:
        """Tell what stands beside the text: files, tools that the provider has run itself, sources."""
        sources: list[Any] = []
        for block in message.content_blocks:
            match block:
                case {"type": "server_tool_call", "name": name, "args": args}:
                    await self._turn.emit(ToolCall(tool_name=name, tool_kwargs=args, tool_call_id=block.get("id")))
                case {"type": "server_tool_result", "tool_call_id": call_id}:
                    failed = block.get("status") == "error" or None
                    await self._turn.emit(
                        ToolResult(tool_output=block.get("output"), tool_call_id=call_id, is_error=failed)
                    )
                case {"type": "text", "annotations": [*annotations]}:
                    sources += annotations
                case {"type": "image" | "audio" | "video" | "file"}:
                    await self._tell_file(block)
        if sources:
            await self._turn.emit(AgentData(name="citations", data=sources))

    async def _tell_file(self, block: Any) -> None:
        if file := self._file_in(block):
            await send(file, self._turn)
        elif url := block.get("url"):
            await self._turn.emit(AgentData(name="link", data={"url": url, "media_type": block.get("mime_type")}))

    def _file_in(self, value: Any) -> File | None:
        if file := file_in(value):
            self.size += len(file.data)
        return file

    async def _tell_result(self, message: ToolMessage) -> None:
        call_id = message.tool_call_id
        output = await without_files(message.content, self._turn, call_id, self._file_in)
        # What else stands in an artifact is the application's own: it is not for everybody's eyes.
        await without_files(message.artifact, self._turn, call_id, self._file_in)
        await self._turn.emit(
            ToolResult(
                tool_name=message.name or "",
                tool_output=output,
                tool_call_id=call_id,
                is_error=message.status == "error" or None,
            )
        )


def messages_in(update: Any) -> Iterator[BaseMessage]:
    """All messages in what a node has returned: a message, a list, a state, or lists of them."""
    if isinstance(update, BaseMessage):
        yield update
    elif isinstance(update, dict):
        yield from messages_in(update.get("messages"))
    elif isinstance(update, list | tuple):
        for part in update:
            yield from messages_in(part)


def _custom(value: Any) -> AgentData:
    """What a node or tool has written to the stream, under the type that it says itself, as LangGraph's own do."""
    fields = value if isinstance(value, dict) else {}
    name, ident = fields.get("type"), fields.get("id")
    return AgentData(
        name=name if isinstance(name, str) and name else "custom",
        data=value,
        id=ident if isinstance(ident, str) and ident else None,
    )
