"""How one session's conversation is kept: each turn when it is accepted, and when it has ended."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from agentsocket.agent.contract import MEMORY_SIZE
from agentsocket.containment.exits import called, contained
from agentsocket.containment.stopping import outcome
from agentsocket.conversations.contract import Conversation, KeptFile, Store, StoreError, TurnEnd
from agentsocket.files.store import StoredFile
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import AgentRequest
from agentsocket.session.encoding import oldest
from agentsocket.session.ends import Ending
from agentsocket.session.instance import Instance
from agentsocket.session.transcript import TURN_SIZE, Transcript
from agentsocket.settings import Settings

logger = logging.getLogger("agentsocket.session")

TITLE_LENGTH = 60
"""Characters of the first message that a conversation is called by until it is renamed."""

MESSAGE_SIZE = TURN_SIZE // 4 * 3
"""Bytes of a turn that its message may have, as JSON: the answer has what is left."""

RETRY_AFTER = 5.0
"""Seconds after which a store that fails may work again."""

SHOWN_ID = 8
"""Characters of a conversation's id that may stand in a log: the whole of it may be all that one needs to read it."""

ENVELOPE = 512
"""Bytes of a turn for what always stands in it, and for what is told of something cut."""

ERROR_FIELDS = ("message", "code", "error_id")

DATA = b'"data":{'


class Keeper:
    """Keeps the conversation of one session."""

    def __init__(self, store: Store, conversation: Conversation, settings: Settings) -> None:
        self.conversation = conversation
        self._store, self._settings = store, settings
        self._ending = asyncio.Lock()
        """Saving and ending are one after the other, so that an older memory is never the last."""
        self._hung = 0
        """How often what the agent remembers did not come in time."""
        self._heads: dict[str, tuple[Transcript, int, list[KeptFile]]] = {}

    async def begin(self, task_id: str, request: AgentRequest, attachments: Sequence[StoredFile]) -> Transcript:
        """Keep a turn that is accepted; what it says is to go into the transcript.

        Raises:
            ProtocolError: ``store_unavailable``.
        """
        now = milliseconds()
        title = self.conversation.title or " ".join(request.message.split())[:TITLE_LENGTH]
        conversation = replace(self.conversation, title=title, updated_at=now)
        message = oldest(request.message, MESSAGE_SIZE)
        head: dict[str, Any] = {"task_id": task_id, "message": message, "started_at": moment(now)}
        if request.request_id:
            head["request_id"] = request.request_id
        if attachments:
            head["attachments"] = [described(file) for file in attachments]
        encoded = to_json(head)
        try:
            await self._store.begin(conversation, task_id, encoded, [kept(file) for file in attachments])
        except StoreError:
            raise unavailable(request.request_id) from None
        self.conversation.title = self.conversation.title or title  # it may have been renamed meanwhile
        self.conversation.updated_at = now
        self.conversation.turns += 1
        transcript = Transcript(TURN_SIZE - len(encoded))
        if len(message) < len(request.message):
            transcript.leave_out(len(request.message.encode()) - len(message.encode()))
        self._heads[task_id] = transcript, len(encoded), []
        return transcript

    def add_file(self, task_id: str, file: StoredFile) -> None:
        """Note a file that the agent has sent."""
        if task_id in self._heads:
            self._heads[task_id][2].append(kept(file))

    async def end(self, task_id: str, status: Ending, frame: bytes, instance: Instance) -> bool:
        """Keep how a turn ended, and after one that went well what the agent remembers; false where not all is kept."""
        transcript, size, files = self._heads.pop(task_id)
        hung = self._hung
        async with self._ending:
            if status != "completed":
                memory, saved = None, True
            elif self._hung > hung:
                memory, saved = None, False  # it was asked for meanwhile, and did not come: not each waits for it anew
            else:
                memory, saved = await self._memory(instance)
            room = TURN_SIZE - size - ENVELOPE
            said = _said(status, frame)
            if len(said) > room:  # to read it may take longer than the others can wait
                said, left_out = await asyncio.to_thread(_shortened, said, room)
                transcript.leave_out(left_out)
            tail = _tail(said, transcript, room)
            try:
                await self._store.end(self.conversation.id, TurnEnd(task_id, status, tail, files), memory)
            except StoreError:
                return False
            return saved

    async def _memory(self, instance: Instance) -> tuple[bytes | None, bool]:
        """Return what the agent remembers, where it can say that, and whether it is all that there should be."""
        saving = asyncio.create_task(contained(_saved(instance.agent)), context=instance.variables.copy())
        failure = await outcome(saving, self._settings.save_timeout, stopping=self._settings.cancel_timeout)
        if failure is None:
            memory = saving.result()
            if memory is None or len(memory) <= MEMORY_SIZE:
                return memory, True
            failure = ValueError(f"it takes {len(memory)} bytes, of {MEMORY_SIZE} that it may")
        self._hung += isinstance(failure, TimeoutError)
        shown = self.conversation.id[:SHOWN_ID]
        logger.error("what the agent of conversation %s… remembers is not kept", shown, exc_info=failure)
        return None, False


async def _saved(agent: object) -> bytes | None:
    """Return as JSON what an agent remembers, where it can say that. All of it is the agent's code, and may raise."""
    save = getattr(agent, "save", None)
    if not callable(save):
        return None
    memory = to_json(await called(save), inf_nan_mode="null")
    from_json(memory)  # what can be written is more than what can be read
    return memory


def _said(status: Ending, frame: bytes) -> bytes:
    """Return the fields that a terminal frame adds to a turn, with a comma before each."""
    if status == "completed":
        return b",%s" % frame.partition(DATA)[2][:-2].partition(b",")[2]  # without the task's id, which comes first
    if status == "failed":
        said = from_json(frame)["data"]
        return b',"error":%s' % to_json({name: said[name] for name in ERROR_FIELDS if name in said})
    return b""


def _shortened(said: bytes, room: int) -> tuple[bytes, int]:
    """Return so many bytes of such fields at most, and how many are left out: of a text the end, else all of it."""
    fields = from_json(b"{%s}" % said[1:])
    shorter = {name: value for name, value in fields.items() if name in {"response", "error"}}
    texts = shorter.get("error", shorter)
    name = "message" if "error" in shorter else "response"
    text, texts[name] = texts[name], ""
    texts[name] = oldest(text, room - len(to_json(shorter)))
    for other in fields.keys() - shorter.keys():
        if len(to_json({**shorter, other: fields[other]})) <= room:
            shorter[other] = fields[other]
    encoded = b",%s" % to_json(shorter)[1:-1]
    return encoded, len(said) - len(encoded)


def _tail(said: bytes, transcript: Transcript, room: int) -> bytes:
    """Return what the end of a turn adds to it: the answer has its place, then the events."""
    events = transcript.events(max(0, room - len(said)))
    return b'{"ended_at":"%s","events":%s%s}' % (moment(milliseconds()).encode(), events, said)


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
