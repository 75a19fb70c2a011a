"""Objects as HTTP answers: streamed, in ranges, and harmless to the browser that opens them.

What users and models stored shares this origin with the API, so nothing of it may ever run as a page of ours.
"""

import re
from typing import Final
from urllib.parse import quote

from aiohttp import web

from tidemill.contracts.errors import Problem, not_found, unavailable
from tidemill.gateway.http import Call
from tidemill.runtime.objects import CHUNK_BYTES, ObjectMissing, Objects, ObjectStoreError
from tidemill.security.response_fields import content_type, filename

# One range only, as the store has it; a header of any other form is ignored, which RFC 9110 allows.
SINGLE_RANGE: Final = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})")
# Types that browsers show without running anything in them. SVG, HTML, XML and PDF are none of these.
PASSIVE: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain", "application/json"}
)
PASSIVE_FAMILIES: Final = ("audio/", "video/")
PROTECTION: Final = {
    "X-Content-Type-Options": "nosniff",
    # What browsers wrap an image or a video in when it is opened by itself needs these three.
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",  # pages of others may show an image whose URL they were given
    "Referrer-Policy": "no-referrer",  # the URL is the capability
    "Cache-Control": "private, max-age=300",  # the janitor deletes data: no cache may keep it for long
    "Accept-Ranges": "bytes",
}
COPIED: Final = ("Content-Length", "Content-Range", "ETag", "Last-Modified")


def disposition(kind: str, name: str) -> str:
    """Content-Disposition for a file of this type, its name in ASCII and, where that lacks something, in UTF-8."""
    shown = "inline" if kind in PASSIVE or kind.startswith(PASSIVE_FAMILIES) else "attachment"
    safe = filename(None, name)
    plain = "".join(each if " " <= each <= "~" and each not in '"\\' else "_" for each in safe)
    extended = "" if plain == safe else f"; filename*=UTF-8''{quote(safe, safe='')}"
    return f'{shown}; filename="{plain}"{extended}'


async def serve(call: Call, key: str, name: str, kind: str | None = None) -> web.StreamResponse:
    """Streams the object under `key`; `kind` overrides the type that it was stored with. 404 when it is missing.

    If-Range needs no look: an object never changes under its key, so what a client has begun to fetch is the same.
    """
    asked = call.request.headers.get("Range")
    byte_range = asked if asked and SINGLE_RANGE.fullmatch(asked) else None
    response = web.StreamResponse(headers=PROTECTION)
    try:
        async with call.parts.objects.get(key, byte_range=byte_range) as stored:
            if stored.status == 416:
                size = stored.headers.get("Content-Range", "bytes */*")
                raise Problem(416, "The requested range lies outside the file.", headers={"Content-Range": size})
            response.set_status(stored.status)
            essence = kind or content_type(stored.headers.get("Content-Type"))
            response.headers["Content-Type"] = f"{essence}; charset=utf-8" if essence == "text/plain" else essence
            response.headers["Content-Disposition"] = disposition(essence, name)
            response.headers.update({field: stored.headers[field] for field in COPIED if field in stored.headers})
            await response.prepare(call.request)
            if call.request.method != "HEAD":
                async for chunk in stored.content.iter_chunked(CHUNK_BYTES):
                    await response.write(chunk)
    except ObjectMissing:
        raise not_found() from None
    except (ObjectStoreError, OSError, TimeoutError):
        if not response.prepared:
            raise store_away() from None
        # Half an answer is out. Only a broken connection tells the client so.
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


def store_away() -> Problem:
    return unavailable("The object store is away for a moment; please retry.", 2)


async def forget(objects: Objects, key: str) -> None:
    """Deletes an object. Raises the 503 problem."""
    try:
        await objects.delete([key])
    except ObjectStoreError:
        raise store_away() from None
