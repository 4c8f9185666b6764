"""A model provider on loopback that does what the user's message says, and is as strict as the real ones.

A message is a plan: steps parted by "then". A step that names tools, ``weather(Oslo) population(Oslo)``, calls them all
at once, for a city or with the argument that it names, ``remember(note=milk)``, where ``[]`` stand for ``()``; any
other step is answered with all that the users of the conversation have said, piece by piece. Four words do more:
"hold" stops the stream after its first piece until ``release`` is set, "think" has the model think aloud first, where
it is held then, "refuse" is answered with HTTP 400, and so is any conversation with a tool call that has no result.

It speaks the three dialects that the frameworks need: OpenAI's chat completions and responses, and Gemini's.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One thing said in a conversation: by "user" or "assistant", or a "call" or its "result"."""

    kind: str
    text: str
    call_id: str = ""


@dataclass
class Reply:
    """What the model says next: calls of tools (id, name, argument), or pieces of text."""

    calls: list[tuple[str, str, str]]
    pieces: list[str]
    thoughts: list[str]
    items: list[dict[str, Any]]


THOUGHTS = ["Let me", " see."]


class ModelServer:
    def __init__(self) -> None:
        self.url = ""
        self.requests: list[list[Item]] = []
        self.items: list[dict[str, Any]] = []
        """What each answer has besides, in the dialect of OpenAI's responses: searches, pictures."""
        self.bodies: list[dict[str, Any]] = []
        """The requests as they came."""
        self.models: list[tuple[str, float | None]] = []
        """The model that each request names, and the temperature."""
        self.held, self.release, self.hung_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._ids = count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self.tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            path = head.split()[1]
            self.bodies.append(body)
            self.models.append(model_of(path, body))
            read, write = next(dialect for part, dialect in DIALECTS.items() if part in path)
            await self._answer(read(body), write, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _answer(
        self,
        conversation: list[Item],
        write: "Callable[[Reply, list[Item]], Iterator[str]]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.requests.append(conversation)
        plan, done = the_plan(conversation)
        if "refuse" in plan or not is_well_formed(conversation):
            body = json.dumps({"error": {"message": "refused", "code": 400, "status": "INVALID_ARGUMENT"}})
            head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        reply = self._reply(plan.split(" then "), done, conversation)
        first_piece = next(iter([*reply.thoughts, *reply.pieces]), "")
        for chunk in write(reply, conversation):
            writer.write(f"{chunk}\n\n".encode())
            await writer.drain()
            if "hold" in plan and first_piece and f'"{first_piece}"' in chunk:
                first_piece = ""
                await self._hold(reader)

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        """Wait for the test, or for the client to go."""
        self.held.set()
        gone, released = asyncio.create_task(reader.read(1)), asyncio.create_task(self.release.wait())
        self.tasks |= {gone, released}
        await asyncio.wait([gone, released], return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.hung_up.set()
        gone.cancel()
        released.cancel()

    def _reply(self, steps: list[str], done: int, conversation: list[Item]) -> Reply:
        calls = re.findall(r"(\w+)\(([^()]*)\)", steps[done]) if done < len(steps) else []
        thoughts = THOUGHTS if "think" in " ".join(steps) else []
        if calls:
            return Reply(
                [(f"call_{next(self._ids)}", name, argument) for name, argument in calls], [], thoughts, self.items
            )
        heard = [f" [{item.text}]" for item in conversation if item.kind == "user"]
        return Reply([], ["Heard:", *heard], thoughts, self.items)


def arguments(text: str) -> dict[str, str]:
    """What stands between a call's parentheses."""
    parts = [part.rpartition("=") for part in text.split(", ") if part]
    return {name or "city": value.replace("[", "(").replace("]", ")") for name, _, value in parts}


def the_plan(conversation: list[Item]) -> tuple[str, int]:
    """The newest user's message, and how many of its steps are done."""
    newest = max((i for i, item in enumerate(conversation) if item.kind == "user"), default=0)
    after = conversation[newest + 1 :]
    # Calls made at once stand together: each group of them is a step.
    pairs = zip([None, *after], after, strict=False)
    return conversation[newest].text, sum(item.kind == "call" != (before and before.kind) for before, item in pairs)


def is_well_formed(conversation: list[Item]) -> bool:
    """Each call has its one result, and nothing else comes between them."""
    open_calls: list[str] = []
    for item in conversation:
        if item.kind == "call":
            open_calls.append(item.call_id)
        elif item.kind == "result":
            if item.call_id not in open_calls:
                return False
            open_calls.remove(item.call_id)
        elif open_calls and item.text:
            return False
    return not open_calls


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


def model_of(path: str, body: dict[str, Any]) -> tuple[str, float | None]:
    """The model that a request names, and the temperature; Gemini's are elsewhere."""
    in_path = re.search(r"models/([^:]+):", path)
    settings = body.get("generationConfig", body)
    return in_path[1] if in_path else body["model"], settings.get("temperature")


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    return str(content.get("text", "")) if isinstance(content, dict) else str(content or "")


def sse(data: Any) -> str:
    event = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
    return f"{event}data: {data if isinstance(data, str) else json.dumps(data)}"


# ---- OpenAI's chat completions ---------------------------------------------------------------------------------------


def read_chat(body: dict[str, Any]) -> list[Item]:
    items = []
    for message in body["messages"]:
        role = message["role"]
        if role == "tool":
            items.append(Item("result", text_of(message["content"]), message["tool_call_id"]))
        elif role in {"user", "assistant"}:
            if text := text_of(message.get("content")):
                items.append(Item(role, text))
            calls = message.get("tool_calls") or ()
            items.extend(Item("call", call["function"]["name"], call["id"]) for call in calls)
    return items


def write_chat(reply: Reply, _: list[Item]) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for thought in reply.thoughts:
        yield chunk({"reasoning_content": thought})
    for piece in reply.pieces:
        yield chunk({"content": piece})
    for index, (call_id, name, argument) in enumerate(reply.calls):
        function = {"name": name, "arguments": json.dumps(arguments(argument))}
        yield chunk({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})
    yield chunk({}, "tool_calls" if reply.calls else "stop")
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    yield sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage})
    yield sse("[DONE]")


# ---- OpenAI's responses ----------------------------------------------------------------------------------------------


def read_responses(body: dict[str, Any]) -> list[Item]:
    items = []
    said = body["input"]
    for item in [{"role": "user", "content": said}] if isinstance(said, str) else said:
        if item.get("type") == "function_call":
            items.append(Item("call", item["name"], item["call_id"]))
        elif item.get("type") == "function_call_output":
            items.append(Item("result", text_of(item["output"]), item["call_id"]))
        elif item.get("role") in {"user", "assistant"}:
            items.append(Item(item["role"], text_of(item["content"])))
    return items


def write_responses(reply: Reply, conversation: list[Item]) -> Iterator[str]:
    def response(status: str, output: list[Any]) -> dict[str, Any]:
        usage = {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 10,
        }
        ident = f"resp_{len(conversation)}"
        fixed = {"id": ident, "object": "response", "created_at": 1, "model": "m", "tools": [], "tool_choice": "auto"}
        return {**fixed, "parallel_tool_calls": True, "status": status, "output": output, "usage": usage}

    yield sse({"type": "response.created", "sequence_number": 0, "response": response("in_progress", [])})
    output: list[Any] = []
    if reply.thoughts:
        at = {"sequence_number": 1, "output_index": 0}
        summary = [{"type": "summary_text", "text": "".join(reply.thoughts)}]
        item: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": summary}
        yield sse({"type": "response.output_item.added", **at, "item": {**item, "summary": []}})
        inner = {**at, "item_id": "rs_1", "summary_index": 0}
        empty = {"type": "summary_text", "text": ""}
        yield sse({"type": "response.reasoning_summary_part.added", **inner, "part": empty})
        for thought in reply.thoughts:
            yield sse({"type": "response.reasoning_summary_text.delta", **inner, "delta": thought})
        yield sse({"type": "response.output_item.done", **at, "item": item})
        output.append(item)
    for item in reply.items:
        at = {"sequence_number": 1, "output_index": len(output)}
        yield sse({"type": "response.output_item.added", **at, "item": item})
        yield sse({"type": "response.output_item.done", **at, "item": item})
        output.append(item)
    for index, (call_id, name, argument) in enumerate(reply.calls, len(output)):
        item = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "status": "completed"}
        item["arguments"] = json.dumps(arguments(argument))
        at = {"sequence_number": 1, "output_index": index}
        yield sse({"type": "response.output_item.added", **at, "item": {**item, "arguments": ""}})
        yield sse({"type": "response.output_item.done", **at, "item": item})
        output.append(item)
    if reply.pieces:
        part = {"type": "output_text", "text": "".join(reply.pieces), "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        at = {"sequence_number": 1, "output_index": len(output)}
        yield sse({"type": "response.output_item.added", **at, "item": {**message, "content": []}})
        inner = {**at, "item_id": "msg_1", "content_index": 0}
        yield sse({"type": "response.content_part.added", **inner, "part": {**part, "text": ""}})
        for piece in reply.pieces:
            yield sse({"type": "response.output_text.delta", **inner, "delta": piece, "logprobs": []})
        yield sse({"type": "response.output_item.done", **at, "item": message})
        output.append(message)
    yield sse({"type": "response.completed", "sequence_number": 9, "response": response("completed", output)})


# ---- Gemini's --------------------------------------------------------------------------------------------------------


def read_gemini(body: dict[str, Any]) -> list[Item]:
    items = []
    for content in body["contents"]:
        texts = [part for part in content["parts"] if "text" in part]
        for part in content["parts"]:
            if call := part.get("functionCall"):
                items.append(Item("call", call["name"], call.get("id", call["name"])))
            elif result := part.get("functionResponse"):
                text = json.dumps(result["response"])
                items.append(Item("result", text, result.get("id", result["name"])))
            elif part in texts[:1]:
                items.append(Item("assistant" if content.get("role") == "model" else "user", text_of(texts)))
    return items


def gemini_calls(reply: Reply) -> list[dict[str, Any]]:
    return [{"functionCall": {"id": ident, "name": name, "args": arguments(text)}} for ident, name, text in reply.calls]


def write_gemini(reply: Reply, _: list[Item]) -> Iterator[str]:
    def chunk(parts: list[Any], **more: Any) -> str:
        return sse({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}]})

    for thought in reply.thoughts:
        yield chunk([{"text": thought, "thought": True}])
    for piece in reply.pieces:
        yield chunk([{"text": piece}])
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    last = {"content": {"role": "model", "parts": gemini_calls(reply)}, "finishReason": "STOP", "index": 0}
    yield sse({"candidates": [last], "usageMetadata": usage})


def write_gemini_whole(reply: Reply, _: list[Item]) -> Iterator[str]:
    """Without a stream."""
    parts = [{"text": "".join(reply.pieces)}] if reply.pieces else gemini_calls(reply)
    yield json.dumps(
        {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}]}
    )


DIALECTS = {
    "/chat/completions": (read_chat, write_chat),
    "/responses": (read_responses, write_responses),
    ":streamGenerateContent": (read_gemini, write_gemini),
    ":generateContent": (read_gemini, write_gemini_whole),
}
