"""Reads the multipart form of a file upload in bounded memory: the content goes to a spool, the other fields are small.

Nothing in the request is trusted: not its length, not its boundaries, and the client may stop sending at any point.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, TypeVar, cast

import aiohttp
import msgspec
from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from tidemill.contracts.errors import Problem, bad_request, unprocessable
from tidemill.contracts.limits import (
    FILE_LIMIT_BYTES,
    FILE_METADATA_LIMIT_BYTES,
    FILENAME_LIMIT_BYTES,
    MIB,
)
from tidemill.gateway.call import CONNECTION_LOST, body_timed_out, refuse_encoded
from tidemill.gateway.files.spool import Spool
from tidemill.runtime.objects.store import CHUNK_BYTES
from tidemill.security.egress.response_headers import content_type, filename

FORM_LIMIT_BYTES: Final = FILE_LIMIT_BYTES + MIB  # the content, and room for boundaries and the small fields
PARTS_LIMIT: Final = 16  # four fields are known
PART_HEADERS_LIMIT: Final = 16  # three are known
LINES_LIMIT: Final = 500  # boundaries and headers of PARTS_LIMIT parts; lines are slow to read, the content has none
PART_HEADER_LIMIT_BYTES: Final = 8192  # a file's name, also encoded as `filename*`
IDLE_LIMIT_S: Final = 60.0  # a client that sends nothing for so long is gone, or an attacker
UPLOAD_LIMIT_S: Final = 3600.0  # the largest file at 30 kB/s; slower clients would occupy disk space and connections
TYPE_LIMIT_BYTES: Final = 256  # twice the limit of a content type, so that parameters fit
_LIMITS_BYTES: Final = {
    "filename": FILENAME_LIMIT_BYTES,
    "type": TYPE_LIMIT_BYTES,
    "metadata": FILE_METADATA_LIMIT_BYTES,
}

ResultT = TypeVar("ResultT")

# Python keeps the text of each warning that it has shown for ever. These contain what clients send.
warnings.filterwarnings("ignore", category=aiohttp.BadContentDispositionHeader)
warnings.filterwarnings("ignore", category=aiohttp.BadContentDispositionParam)


class UploadForm(msgspec.Struct):
    """The fields beside the content. Clients send a field as text or as a file part."""

    filename: str | None = None
    type: str | None = None
    metadata: str | None = None
    part_filename: str | None = None
    part_type: str | None = None
    has_content: bool = False

    def name(self) -> str:
        return filename(None, self.filename or self.part_filename or "upload")

    def content_type(self) -> str:
        return content_type(self.type or self.part_type)

    def labels(self) -> dict[str, Any]:
        """Return the metadata. Raise the 422 problem when it is not a JSON object."""
        try:
            return msgspec.json.decode(self.metadata or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise unprocessable("metadata must be a JSON object") from None


class _BoundedReader:
    """A request's body for MultipartReader, with limits on its bytes, lines and pauses.

    A form can contain any number of bytes outside the known fields: before its first boundary or in unknown parts.
    """

    def __init__(self, content: StreamReader, over_limit: Problem) -> None:
        self._content = content
        self._over_limit = over_limit
        self._lines = 0
        self.unread_data = content.unread_data
        self.at_eof = content.at_eof

    async def read(self, size: int = -1) -> bytes:
        return await self._bounded(self._content.read(size))

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        self._lines += 1
        if self._lines > LINES_LIMIT:
            raise bad_request("The form has too many lines that are no content.")
        return await self._bounded(self._content.readline(max_line_length=max_line_length))

    async def _bounded(self, reading: Awaitable[ResultT]) -> ResultT:
        async with asyncio.timeout(IDLE_LIMIT_S):
            read = await reading
        if self._content.total_bytes > FORM_LIMIT_BYTES:
            raise self._over_limit
        return read


async def body_chunks(content: StreamReader) -> AsyncIterator[bytes]:
    """Yield a body that is a file itself. Raise the 400 problem when the connection breaks, and 408 after a pause."""
    chunk = b"."
    while chunk:
        try:
            async with asyncio.timeout(IDLE_LIMIT_S):
                chunk = await content.read(CHUNK_BYTES)
        except TimeoutError:
            raise body_timed_out() from None
        except CONNECTION_LOST:
            raise bad_request("The upload broke off.") from None
        if chunk:
            yield chunk


async def read_form(request: web.Request, spool: Spool) -> UploadForm:
    """Return the form; its content is in the spool. Raise 400, 408, 413, 415 and 422 problems."""
    refuse_encoded(request)
    if request.content_type != "multipart/form-data":
        raise Problem(415, "Files are uploaded as multipart/form-data.", "Unsupported media type")
    if (request.content_length or 0) > FORM_LIMIT_BYTES:
        raise spool.over_limit
    try:
        async with asyncio.timeout(UPLOAD_LIMIT_S):
            form = await _read(request, spool)
    except TimeoutError:
        raise body_timed_out() from None
    except CONNECTION_LOST:
        raise bad_request("The upload broke off.") from None
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError):  # from aiohttp: the form is malformed
        raise bad_request("The request body is not a valid multipart form.") from None
    if not form.has_content:
        raise unprocessable("content is required")
    return form


async def _read(request: web.Request, spool: Spool) -> UploadForm:
    form = UploadForm()
    parts = MultipartReader(
        request.headers,
        cast("StreamReader", _BoundedReader(request.content, spool.over_limit)),
        max_field_size=PART_HEADER_LIMIT_BYTES,
        max_headers=PART_HEADERS_LIMIT,
    )
    for _ in range(PARTS_LIMIT + 1):
        part = await parts.next()
        if part is None:
            return form
        if not isinstance(part, BodyPartReader):
            raise bad_request("A form in a form is not understood.")
        if part.name == "content":
            await _receive_content(part, form, spool)
        elif part.name in _LIMITS_BYTES:
            setattr(form, part.name, await _text(part, part.name))
    raise bad_request(f"The form has more than {PARTS_LIMIT} parts.")


async def _receive_content(part: BodyPartReader, form: UploadForm, spool: Spool) -> None:
    if form.has_content:
        raise unprocessable("content may be given once")
    form.has_content = True
    form.part_filename = part.filename
    form.part_type = part.headers.get("Content-Type")
    while chunk := await part.read_chunk(CHUNK_BYTES):
        await spool.add(bytes(chunk))


async def _text(part: BodyPartReader, field: str) -> str:
    limit_bytes = _LIMITS_BYTES[field]
    received = bytearray()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        received += chunk
        if len(received) > limit_bytes:
            raise unprocessable(f"{field} may have at most {limit_bytes} bytes")
    return received.decode()
