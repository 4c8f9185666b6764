"""How one session's conversation is kept: each turn when it is accepted, and when it has ended."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from agentsocket.containment.exits import contained
from agentsocket.containment.stopping import outcome
from agentsocket.conversations.contract import Conversation, KeptFile, Store, StoreError, TurnEnd
from agentsocket.files.store import StoredFile
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import AgentRequest
from agentsocket.session.ends import Ending
from agentsocket.session.instance import Instance
from agentsocket.session.transcript import TURN_SIZE, Transcript
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.session")

TITLE_LENGTH = 60
"""Characters of the first message that a conversation is called by until it is renamed."""

MEMORY_SIZE = 1024 * 1024
"""Bytes of JSON that an agent may remember."""

RETRY_AFTER = 5.0
"""Seconds after which a store that fails may work again."""

ERROR_FIELDS = ("message", "code", "error_id")

DATA = b'"data":{'


class Keeper:
    """Keeps the conversation of one session."""

    def __init__(self, store: Store, conversation: Conversation, settings: Settings) -> None:
        self.conversation = conversation
        self._store, self._settings = store, settings
        self._ending = asyncio.Lock()
        """Saving and ending are one after the other, so that an older memory is never the last."""
        self._heads: dict[str, tuple[Transcript, int, list[KeptFile]]] = {}

    async def begin(self, task_id: str, request: AgentRequest, attachments: Sequence[StoredFile]) -> Transcript:
        """Keep a turn that is accepted; what it says is to go into the transcript.

        Raises:
            ProtocolError: ``store_unavailable``.
        """
        conversation, now = self.conversation, milliseconds()
        if not conversation.title:
            conversation.title = " ".join(request.message.split())[:TITLE_LENGTH]
        conversation.updated_at = now
        head: dict[str, Any] = {"task_id": task_id, "message": request.message, "started_at": moment(now)}
        if request.request_id:
            head["request_id"] = request.request_id
        if attachments:
            head["attachments"] = [described(file) for file in attachments]
        encoded = to_json(head)
        try:
            await self._store.begin(conversation, task_id, encoded, [kept(file) for file in attachments])
        except StoreError:
            raise unavailable(request.request_id) from None
        conversation.turns += 1
        transcript = Transcript(TURN_SIZE - min(len(encoded), TURN_SIZE // 2))
        self._heads[task_id] = transcript, len(encoded), []
        return transcript

    def add_file(self, task_id: str, file: StoredFile) -> None:
        """Note a file that the agent has sent."""
        if task_id in self._heads:
            self._heads[task_id][2].append(kept(file))

    async def end(self, task_id: str, status: Ending, frame: bytes, instance: Instance) -> bool:
        """Keep how a turn ended, and after one that went well what the agent remembers; false where not all is kept."""
        transcript, size, files = self._heads.pop(task_id)
        async with self._ending:
            memory, saved = await self._memory(instance) if status == "completed" else (None, True)
            tail = _tail(status, frame, transcript, TURN_SIZE - size)
            try:
                await self._store.end(self.conversation.id, TurnEnd(task_id, status, tail, files), memory)
            except StoreError:
                return False
            return saved

    async def _memory(self, instance: Instance) -> tuple[bytes | None, bool]:
        """Return what the agent remembers, where it can say that, and whether it is all that there should be."""
        save = getattr(instance.agent, "save", None)
        if save is None:
            return None, True
        saving = asyncio.create_task(contained(save()), context=instance.variables.copy())
        failure = await outcome(saving, self._settings.save_timeout, stopping=self._settings.cancel_timeout)
        if failure is None:
            try:
                memory = to_json(saving.result(), inf_nan_mode="null")
                from_json(memory)  # what can be written is more than what can be read
            except (PydanticSerializationError, ValueError) as exc:
                failure = exc
            else:
                if len(memory) <= MEMORY_SIZE:
                    return memory, True
                failure = ValueError(f"it takes {len(memory)} bytes, of {MEMORY_SIZE} that it may")
        logger.error("what the agent of conversation %s remembers is not kept", self.conversation.id, exc_info=failure)
        return None, False


def _tail(status: Ending, frame: bytes, transcript: Transcript, room: int) -> bytes:
    """Return what the end of a turn adds to it: the answer has its place, then the events."""
    end = b""
    if status == "completed":
        end = b",%s" % frame.partition(DATA)[2][:-2].partition(b",")[2]  # without the task's id, which comes first
    elif status == "failed":
        said = from_json(frame)["data"]
        end = b',"error":%s' % to_json({name: said[name] for name in ERROR_FIELDS if name in said})
    events = transcript.events(max(0, room - len(end) - 64))
    return b'{"ended_at":"%s","events":%s%s}' % (moment(milliseconds()).encode(), events, end)


def described(file: StoredFile) -> dict[str, object]:
    """Return what a client is told of a file."""
    return {
        "file_id": file.id,
        "name": file.name,
        "media_type": file.media_type,
        "size": file.size,
        "url": file.url,
    }


def kept(file: StoredFile) -> KeptFile:
    """Return a file as a store knows it."""
    return KeptFile(file.id, file.token, file.size)


def unavailable(request_id: str | None) -> ProtocolError:
    """Return the answer to what a store that fails would be needed for."""
    text = "Nothing can be kept now: try again in a while."
    return ProtocolError(ErrorCode.STORE_UNAVAILABLE, text, request_id=request_id, retry_after=RETRY_AFTER)


def milliseconds() -> int:
    """Return the time, as ``Conversation`` has it."""
    return time.time_ns() // 1_000_000


def moment(time: int) -> str:
    """Return such a time as the wire has it (RFC 3339)."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
