"""Files on their way to the server, in pieces over the connection, and on where they had come to after a break."""

import asyncio
import base64
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from agentsocket.client.errors import ClientError, ConnectionLost, FileError, ServerError
from agentsocket.client.exchange import error_of
from agentsocket.client.link import Connection, await_answer
from agentsocket.client.sources import Attachable, Bytes, File, OnDisk, Source, described, opened
from agentsocket.protocol import frames
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.events import AgentFile

OnUpload = Callable[[File, int], object]
"""Is told of each file how many of its bytes the server has, from 0 to its ``size``."""

MAX_PIECE, FIRST_PIECE, MIN_PIECE = 128 * 1024, 16 * 1024, 4 * 1024
"""Bytes of a piece: the most that a server takes, what a new upload begins with, and what a very slow link has."""

UNTOLD: Final = 64 * 1024
"""Bytes that a message may have, where the server has not told."""

ENVELOPE: Final = 256
"""Bytes of a message beside the piece in it."""

QUICK, SLOW = 0.5, 2.0
"""Seconds for the answer to a piece. Below, the next one is larger; above, smaller: what else is said waits for it."""

IN_FLIGHT: Final = 4
"""Pieces of one file that are not answered yet."""

AT_ONCE: Final = 2
"""Files that are sent at once; others wait."""

RATE, BURST = 90.0, 150
"""Pieces a second, and what may come at once on top: somewhat less than a server takes of messages by default."""

PAUSE: Final = 1.0
"""Seconds to wait where the server says that it was too fast, and does not say for how long."""

MAX_IN_VAIN: Final = 20
"""Attempts in a row that have brought nothing."""


class Pace:
    """Keeps the pieces of all files of one client below what its server takes in a second."""

    def __init__(self) -> None:
        self._rate, self._free_at = RATE, 0.0

    async def turn(self) -> None:
        """Wait until another piece may be sent."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - BURST / RATE) + 1 / self._rate
        await asyncio.sleep(max(0.0, self._free_at - now))

    def slow_down(self, seconds: float) -> None:
        """Pause for so long, and go on at half the pace."""
        resume_at = asyncio.get_running_loop().time() + seconds
        if self._free_at < resume_at - seconds / 2:  # several pieces of one burst are refused one by one
            self._rate, self._free_at = max(1.0, self._rate / 2), resume_at


class Upload:
    """How far one file has come. The reader notes the server's answers, and the sender goes by them."""

    def __init__(self, start: frames.UploadStart, pace: Pace) -> None:
        self.start, self._pace = start, pace
        self.file_id = ""
        """The file's, once it is there."""
        self.received = 0
        """Bytes that the server has."""
        self.begun = False
        """Whether the server knows of it."""
        self.known = False
        """Whether it has told on this connection from where to go on."""
        self.break_number = 0
        self.next = 0
        """The offset of the next piece."""
        self.step = FIRST_PIECE
        self._window = 1
        self._in_vain = 0
        self._sent: deque[float] = deque()
        self._error: ClientError | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def may_send(self) -> bool:
        """Whether there is something to send now: the start, or another piece."""
        if self._error is not None:
            return False
        if not self.known:
            return not self._sent
        return self.next < self.start.size and len(self._sent) < self._window

    def note_sent(self, size: int) -> None:
        """A message was sent, with so many bytes of the file."""
        self.next += size
        self._sent.append(asyncio.get_running_loop().time())

    def take(self, answer: frames.UploadProgress | frames.UploadComplete | frames.ErrorFrame) -> None:
        """Note an answer of the server's."""
        took = asyncio.get_running_loop().time() - self._sent.popleft() if self._sent else 0.0
        match answer:
            case frames.UploadComplete(file_id=file_id):
                self.file_id, self.received = file_id, self.start.size
            case frames.UploadProgress(received=received):
                self._progress(received, took)
            case frames.ErrorFrame(code=ErrorCode.RATE_LIMITED):
                self._pace.slow_down(answer.retry_after or PAUSE)
                self._stall()
            case frames.ErrorFrame():
                self._error = error_of(answer)
        if not self._sent:
            self.next = self.received  # whatever of it was dropped
        self._tell()

    def go_on(self) -> None:
        """There is another connection: what was sent on the one before may or may not have arrived."""
        self.known, self.break_number, self._window = False, self.break_number + 1, 1
        self.step = max(self.step // 4, MIN_PIECE)  # it may have been too much for the link
        self._sent.clear()
        self._tell()

    def fail(self, error: ClientError) -> None:
        """Nothing more will come of it."""
        self._error = error
        self._tell()

    async def hear(self, connection: Callable[[], Connection | None]) -> None:
        """Wait for an answer.

        Raises:
            ClientError: if it is that there will be none, or a refusal.
        """
        if self._error is None:
            await await_answer(self._news, connection)
        self._news = asyncio.get_running_loop().create_future()
        if self._error is not None:
            raise self._error

    def _progress(self, received: int, took: float) -> None:
        if self.known and received <= self.received:
            self._stall()
        elif self.known:
            self._window, self._in_vain = min(self._window + 1, IN_FLIGHT), 0
            if took < QUICK:
                self.step = min(2 * self.step, MAX_PIECE)
            elif took > SLOW:
                self.step = max(self.step // 2, MIN_PIECE)
        self.known = self.begun = True
        self.received = min(received, self.start.size)

    def _stall(self) -> None:
        """Let what is under way be answered, and then go on from where the server is."""
        self._window, self._in_vain = 1, self._in_vain + 1
        if self._in_vain > MAX_IN_VAIN:
            self._error = FileError("The server takes no more of the file, and does not say why.")

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)


class Uploads:
    """The uploads of one client."""

    def __init__(
        self, say: Callable[[frames.ClientFrame], Awaitable[None]], connection: Callable[[], Connection | None]
    ) -> None:
        """Start with none; ``say`` sends a frame that need not arrive, over the ``connection`` that there is."""
        self._say, self._connection = say, connection
        self._uploads: dict[str, Upload] = {}
        self._given_up: list[str] = []
        """Those of which the server could not be told yet."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._pace = Pace()

    async def send(
        self, source: Source, name: str | None, media_type: str | None, on_upload: OnUpload | None
    ) -> tuple[File, str]:
        """Upload a file; return it, and the id of its upload. Raises as the client's ``upload``."""
        self._check()
        async with self._places, opened(source) as content:
            file = described(source, content.size, name, media_type)
            start = frames.UploadStart(
                upload_id=uuid.uuid4().hex, name=file.name, media_type=file.media_type, size=file.size
            )
            upload = self._uploads[start.upload_id] = Upload(start, self._pace)
            try:
                await self._send_all(upload, content, lambda: on_upload and on_upload(file, upload.received))
            except BaseException as exc:
                if upload.begun or not isinstance(exc, ServerError):
                    await self._give_up(start.upload_id)
                raise
            finally:
                del self._uploads[start.upload_id]
            return File(file.name, file.media_type, file.size, upload.file_id), start.upload_id

    @contextlib.asynccontextmanager
    async def attached(
        self, attachments: Sequence[Attachable], on_upload: OnUpload | None
    ) -> AsyncIterator[list[str] | None]:
        """Have the files of a request at the server; what was uploaded for it is taken back where that fails.

        What an agent has got by then it keeps. Raises as the client's ``stream``.
        """
        if len(attachments) > frames.MAX_ATTACHMENTS:
            raise FileError(f"A request has at most {frames.MAX_ATTACHMENTS} attachments.")
        sent: list[str] = []

        async def file_id(attachment: Attachable) -> str:
            if isinstance(attachment, File | AgentFile):
                return attachment.file_id
            file, upload_id = await self.send(attachment, None, None, on_upload)
            sent.append(upload_id)
            return file.file_id

        sending = [asyncio.create_task(file_id(attachment)) for attachment in attachments]
        try:
            try:
                yield await asyncio.gather(*sending) or None
            finally:
                await _cancelled(sending)
        except BaseException:
            for upload_id in sent:
                await self._give_up(upload_id)
            raise

    # ---- What the reader hears ---------------------------------------------------------------------------------------

    def take(self, upload_id: str, answer: frames.UploadProgress | frames.UploadComplete | frames.ErrorFrame) -> None:
        """Hand an answer to its upload; one that was given up may still be answered."""
        if upload := self._uploads.get(upload_id):
            upload.take(answer)

    async def go_on(self) -> None:
        """There is another connection for the session."""
        for upload in self._uploads.values():
            upload.go_on()
        given_up, self._given_up = self._given_up, []
        for upload_id in given_up:
            await self._say(frames.UploadCancel(upload_id=upload_id))

    def abandon(self, why: str) -> None:
        """There is no session any more."""
        self._given_up.clear()
        for upload in self._uploads.values():
            upload.fail(ConnectionLost(why))

    # ---- Sending -----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if (connection := self._connection()) is None:
            raise ConnectionLost("There is no connection.")
        if not connection.takes_files:
            raise FileError("This server takes no files.")

    async def _send_all(self, upload: Upload, content: Bytes | OnDisk, told: Callable[[], object]) -> None:
        while not upload.file_id:
            if not upload.may_send:
                await upload.hear(self._connection)
                told()
                continue
            await self._pace.turn()
            if upload.known:
                await self._send_piece(upload, content)
            else:
                upload.note_sent(0)
                await self._say(upload.start)

    async def _send_piece(self, upload: Upload, content: Bytes | OnDisk) -> None:
        number, offset = upload.break_number, upload.next
        data = await content.read(offset, min(upload.step, self._largest, upload.start.size - offset))
        if (number, offset) != (upload.break_number, upload.next):
            return  # there was a break meanwhile
        upload.note_sent(len(data))
        encoded = base64.b64encode(data).decode()
        await self._say(frames.UploadChunk(upload_id=upload.start.upload_id, offset=offset, data=encoded))

    @property
    def _largest(self) -> int:
        """Bytes of the largest piece that the server takes."""
        connection = self._connection()
        limit = (connection and connection.max_message_size) or UNTOLD
        return max(1, min(MAX_PIECE, (limit - ENVELOPE) // 4 * 3))

    async def _give_up(self, upload_id: str) -> None:
        connection = self._connection()
        if connection is not None and connection.is_open:
            await self._say(frames.UploadCancel(upload_id=upload_id))
        elif connection is not None:
            self._given_up.append(upload_id)


async def _cancelled(tasks: Sequence[asyncio.Task[str]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
