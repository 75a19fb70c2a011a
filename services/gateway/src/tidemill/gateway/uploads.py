"""Reads the multipart form of a file upload, in bounded memory: the content goes to a spool, the rest is small."""

from typing import Any, Final

import msgspec
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from tidemill.contracts.errors import Problem, bad_request, unprocessable
from tidemill.contracts.limits import FILE_METADATA_LIMIT_BYTES, FILENAME_LIMIT_BYTES
from tidemill.gateway.http import refuse_encoded
from tidemill.gateway.spool import Spool
from tidemill.runtime.objects import CHUNK_BYTES
from tidemill.security.response_fields import content_type, filename

PARTS_LIMIT: Final = 16  # four are known; a form of thousands of parts is no upload
TYPE_LIMIT_BYTES: Final = 256  # twice what a content type may have, so that parameters fit
_LIMITS_BYTES: Final = {
    "filename": FILENAME_LIMIT_BYTES,
    "type": TYPE_LIMIT_BYTES,
    "metadata": FILE_METADATA_LIMIT_BYTES,
}


class Form(msgspec.Struct):
    """What came beside the content. A field may come as text or as a file part: clients differ."""

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
        """The metadata. Raises the 422 problem when it is no JSON object."""
        try:
            return msgspec.json.decode(self.metadata or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise unprocessable("metadata must be a JSON object") from None


async def receive(request: web.Request, spool: Spool) -> Form:
    """The form, its content in the spool. Raises 400, 413, 415 and 422 problems."""
    refuse_encoded(request)
    if request.content_type != "multipart/form-data":
        raise Problem(415, "Files are uploaded as multipart/form-data.", "Unsupported media type")
    try:
        form = await _read(request, spool)
    except (ValueError, AssertionError, HttpProcessingError):  # what aiohttp's reader raises for malformed forms
        raise bad_request("The request body is not a valid multipart form.") from None
    if not form.has_content:
        raise unprocessable("content is required")
    return form


async def _read(request: web.Request, spool: Spool) -> Form:
    form = Form()
    parts = await request.multipart()
    for _ in range(PARTS_LIMIT):
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


async def _receive_content(part: BodyPartReader, form: Form, spool: Spool) -> None:
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
