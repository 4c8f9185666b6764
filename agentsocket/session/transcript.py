"""What of one turn is kept in its conversation: its events, merged from the frames that said them."""

from typing import Final

from pydantic_core import to_json

from agentsocket.session.encoding import clean

TURN_SIZE: Final = 256 * 1024
"""Bytes of JSON that a turn may have; what does not fit is cut, and that is told."""

NOTE: Final = 256
"""Bytes that are kept free for what is told of something cut."""

QUESTION: Final = b"question"

KINDS: Final = {
    b"tool_call": b"tool_call",
    b"tool_result": b"tool_result",
    b"tool_progress": b"progress",
    b"agent_data": b"data",
    b"agent_file": b"file",
    b"input_required": QUESTION,
}
"""What the event of a frame is called within a turn."""

EVENT: Final = len(b'{"event":"')


class Transcript:
    """The events of one turn, in the order in which they came. Pieces of text between two others are one event."""

    def __init__(self, size: int) -> None:
        """Keep ``size`` bytes at most."""
        self._room = size - NOTE
        self._items: list[bytes] = []
        self._places: dict[tuple[bytes, str], int] = {}
        self._text: list[str] = []
        self._kind = ""
        self._left_out = 0

    def text(self, kind: str, piece: str) -> None:
        """Add a piece of text of this kind, "output" or "reasoning"."""
        if kind != self._kind:
            self._close_text()
            self._kind = kind
        size = len(piece.encode(errors="surrogatepass"))
        if size <= self._room:
            self._text.append(piece)
            self._room -= size
        else:
            self._room = 0  # nothing that comes later may stand where this is missing
            self._left_out += size

    def add(self, frame: bytes, replaces: str | None = None) -> None:
        """Add what this frame has said. What ``replaces`` names alike takes the place of the one before."""
        self._close_text()
        event, _, rest = frame[EVENT:].partition(b'","data":{')
        kind = KINDS[event]
        # Every frame of a task begins with the task's id.
        said = rest.partition(b",")[2][:-1]
        # A question has a kind of its own.
        item = b'{"kind":"question","question":{%s}' % said if kind == QUESTION else b'{"kind":"%s",%s' % (kind, said)
        place = None if replaces is None else self._places.get((kind, replaces))
        size = len(item) - (0 if place is None else len(self._items[place]))
        if size > self._room:
            self._room = 0
            self._left_out += size
            return
        self._room -= size
        if place is not None:
            self._items[place] = item
            return
        if replaces is not None:
            self._places[kind, replaces] = len(self._items)
        self._items.append(item)

    def answer(self, input_id: str, response: bytes) -> None:
        """Add its answer to a question that was added in the place of ``input_id``."""
        place = self._places.get((QUESTION, input_id))
        if place is not None and len(response) <= self._room:
            self._room -= len(response)
            self._items[place] = b'%s,"response":%s}' % (self._items[place][:-1], response)

    def leave_out(self, size: int) -> None:
        """Note that so many bytes are missing elsewhere in the turn."""
        self._left_out += size

    def events(self, size: int) -> bytes:
        """Return the events as a JSON array of at most so many bytes; the first that do not fit are cut."""
        self._close_text()
        size -= NOTE
        kept: list[bytes] = []
        for number, item in enumerate(self._items):
            if len(item) + 1 > size:
                self._left_out += sum(map(len, self._items[number:]))
                break
            kept.append(item)
            size -= len(item) + 1
        if self._left_out:
            kept.append(to_json({"kind": "cut", "left_out": self._left_out}))
        return b"[%s]" % b",".join(kept)

    def _close_text(self) -> None:
        if not self._text:
            return
        text = "".join(self._text)
        self._text = []
        self._items.append(to_json({"kind": self._kind, self._kind: clean(text)}))
        self._kind = ""
