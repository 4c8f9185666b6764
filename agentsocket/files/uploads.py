"""Files that a client sends in pieces over its connection, and goes on with after a break."""

import binascii

from agentsocket.files.kinds import clean_name, clean_type, is_accepted
from agentsocket.files.shelf import Draft, Shelf
from agentsocket.files.store import StoredFile
from agentsocket.protocol.errors import ErrorCode, ProtocolError
from agentsocket.protocol.frames import Upload, UploadCancel, UploadChunk, UploadComplete, UploadProgress, UploadStart

CHUNK_SIZE = 128 * 1024
"""Bytes that one piece may have."""


class Uploads:
    """The uploads of one session, by their clients' own ids; whichever connection goes on with one."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._uploads: dict[str, Draft | StoredFile] = {}

    async def take(self, frame: Upload) -> UploadProgress | UploadComplete | None:
        """Take a frame; return its answer.

        Raises:
            ProtocolError: ``file_type_refused``, ``file_too_large``, ``too_many_files``, ``files_unavailable``,
                ``unknown_upload`` or ``invalid_frame``. What was there before is there still.
        """
        try:
            async with self._shelf.lock:
                return None if self._shelf.closed else await self._take(frame)
        except ProtocolError as exc:
            exc.fields["upload_id"] = frame.upload_id
            raise

    async def _take(self, frame: Upload) -> UploadProgress | UploadComplete | None:
        upload = self._uploads.get(frame.upload_id)
        if isinstance(frame, UploadCancel):
            await self._cancel(frame.upload_id)
            return None
        if upload is None:
            if isinstance(frame, UploadChunk):
                raise ProtocolError(ErrorCode.UNKNOWN_UPLOAD, "No such upload was begun.")
            upload = await self._begin(frame)
        elif isinstance(frame, UploadChunk) and isinstance(upload, Draft) and frame.offset == upload.received:
            await self._shelf.write(upload, _decoded(frame.data, upload.size - upload.received))
        if isinstance(upload, Draft) and upload.received == upload.size:
            upload = self._shelf.finish(upload)
        self._uploads[frame.upload_id] = upload
        if isinstance(upload, StoredFile):
            return UploadComplete(upload_id=frame.upload_id, file_id=upload.id)
        return UploadProgress(upload_id=frame.upload_id, received=upload.received)

    async def _cancel(self, upload_id: str) -> None:
        upload = self._uploads.pop(upload_id, None)
        if isinstance(upload, Draft) or (upload is not None and not upload.readable):
            await self._shelf.drop(upload)

    async def _begin(self, frame: UploadStart) -> Draft:
        media_type = clean_type(frame.media_type)
        accepted = self._shelf.store.settings.file_types
        if not is_accepted(media_type, accepted):
            text = f"Files of this type are not taken. What is taken: {', '.join(accepted)}."
            raise ProtocolError(ErrorCode.FILE_TYPE_REFUSED, text)
        return await self._shelf.begin(clean_name(frame.name), media_type, frame.size)


def _decoded(data: str, room: int) -> bytes:
    if len(data) > (CHUNK_SIZE + 2) // 3 * 4:
        raise ProtocolError(ErrorCode.INVALID_FRAME, f"Field 'data': a piece has at most {CHUNK_SIZE} bytes.")
    try:
        decoded = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'data': it is not base64.") from None
    if len(decoded) > CHUNK_SIZE:
        raise ProtocolError(ErrorCode.INVALID_FRAME, f"Field 'data': a piece has at most {CHUNK_SIZE} bytes.")
    if len(decoded) > room:
        raise ProtocolError(ErrorCode.INVALID_FRAME, "Field 'data': the file has fewer bytes.")
    return decoded
