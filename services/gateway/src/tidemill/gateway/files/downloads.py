"""Objects as HTTP responses: streamed, in ranges, and safe to open in a browser.

The files share the API's origin, so a browser must never run one of them as a page of this origin.
"""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import quote

import aiohttp
from aiohttp import web

from tidemill.contracts.errors import Problem, not_found, unavailable
from tidemill.gateway.call import Call
from tidemill.gateway.files import preconditions
from tidemill.gateway.files.preconditions import Validators
from tidemill.gateway.protocols import HasObjects
from tidemill.runtime.objects.retries import RetryBudget
from tidemill.runtime.objects.store import CHUNK_BYTES, ObjectMissing, Objects, ObjectStoreError
from tidemill.security.egress.response_headers import content_type, filename

# One range only, like the object store; a header of any other form is ignored, which RFC 9110 allows.
SINGLE_RANGE: Final = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})")
# Types that browsers display without running anything in them. SVG, HTML, XML and PDF are not among them.
PASSIVE: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain", "application/json"}
)
PASSIVE_FAMILIES: Final = ("audio/", "video/")
PROTECTION: Final = {
    "X-Content-Type-Options": "nosniff",
    # Browsers show a lone image or video in a generated document, which needs these three sources.
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",  # other sites may show an image if they have its URL
    "Referrer-Policy": "no-referrer",  # the URL itself grants access
    "Cache-Control": "private, max-age=300",  # the janitor deletes data: caches must not keep it for long
    "Accept-Ranges": "bytes",
}
# Request headers that a download evaluates.
CONDITIONAL_HEADERS: Final = (
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
)
COPIED: Final = ("Content-Length", "Content-Range")
# How long a request retries the object store: longer than a restart of the store, shorter than clients' timeouts.
STORING_S: Final = 25.0
READING_S: Final = 10.0


def disposition(kind: str, name: str) -> str:
    """Return Content-Disposition for a file of this type. A name that is not plain ASCII is also given in UTF-8."""
    shown = "inline" if kind in PASSIVE or kind.startswith(PASSIVE_FAMILIES) else "attachment"
    safe = filename(None, name)
    plain = "".join(each if " " <= each <= "~" and each not in '"\\' else "_" for each in safe)
    extended = "" if plain == safe else f"; filename*=UTF-8''{quote(safe, safe='')}"
    return f'{shown}; filename="{plain}"{extended}'


class ServedObject(NamedTuple):
    """An object and what the response says of it. None: use the object store's value."""

    key: str
    name: str
    kind: str | None = None  # its media type
    etag: str | None = None  # without quotes
    sha256: str | None = None  # in hexadecimal


async def serve_object(call: Call[HasObjects], shown: ServedObject) -> web.StreamResponse:
    """Stream the object or the requested range, or return 304 or 412. Raise the 404, 412, 416 and 503 problems."""
    response = web.StreamResponse(headers=PROTECTION)
    try:
        byte_range = await _range(call, shown)
        async with call.parts.objects.get(shown.key, byte_range=byte_range, budget=RetryBudget(READING_S)) as stored:
            if stored.status == 416:
                size = stored.headers.get("Content-Range", "bytes */*")
                raise Problem(416, "The requested range lies outside the file.", headers={"Content-Range": size})
            _describe(response, stored, shown)
            if byte_range is None and (bodiless := _without_body(call, stored, shown)):
                return bodiless
            response.set_status(stored.status)
            await response.prepare(call.request)
            if call.request.method != "HEAD":
                async for chunk in stored.content.iter_chunked(CHUNK_BYTES):
                    await response.write(chunk)
    except ObjectMissing:
        raise not_found() from None
    except (ObjectStoreError, OSError, TimeoutError):
        if not response.prepared:
            raise store_unavailable() from None
        # A part of the body is sent: only a broken connection tells the client that the rest is missing.
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


async def _range(call: Call[HasObjects], shown: ServedObject) -> str | None:
    """Return the range to request from the object store, or None. With conditions, only if they allow a range: the
    store does not evaluate them before the range, as RFC 9110 demands, and does not know If-Range.
    """
    headers = call.request.headers
    byte_range = headers.get("Range")
    if call.request.method != "GET" or not byte_range or not SINGLE_RANGE.fullmatch(byte_range):
        return None
    if not preconditions.is_conditional(headers):
        return byte_range
    async with call.parts.objects.get(shown.key, budget=RetryBudget(READING_S)) as stored:
        now = _validators(stored, shown)
    if preconditions.verdict(headers, now) is not None or not preconditions.range_applies(headers, now):
        return None
    return byte_range


def _validators(stored: aiohttp.ClientResponse, shown: ServedObject) -> Validators:
    etag = f'"{shown.etag}"' if shown.etag else stored.headers.get("ETag")
    return Validators(etag, stored.headers.get("Last-Modified"))


def _without_body(call: Call[HasObjects], stored: aiohttp.ClientResponse, shown: ServedObject) -> web.Response | None:
    """Return the response if the request's conditions need no body (304), else None. Raise the 412 problem."""
    now = _validators(stored, shown)
    verdict = preconditions.verdict(call.request.headers, now)
    if verdict == 412:
        raise Problem(412, "The file is not in the state that the request asks for.", "Precondition failed")
    if verdict is None:
        return None
    kept = {field: value for field, value in zip(("ETag", "Last-Modified"), now, strict=True) if value}
    return web.Response(status=verdict, headers={**PROTECTION, **kept})


def _describe(response: web.StreamResponse, stored: aiohttp.ClientResponse, shown: ServedObject) -> None:
    essence = shown.kind or content_type(stored.headers.get("Content-Type"))
    headers = response.headers
    headers["Content-Type"] = f"{essence}; charset=utf-8" if essence == "text/plain" else essence
    headers["Content-Disposition"] = disposition(essence, shown.name)
    headers.update({field: stored.headers[field] for field in COPIED if field in stored.headers})
    for field, value in zip(("ETag", "Last-Modified"), _validators(stored, shown), strict=True):
        if value:
            headers[field] = value
    if shown.sha256:  # RFC 9530: the digest is of the whole file, also with a range
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(shown.sha256)).decode()}:"


def store_unavailable() -> Problem:
    return unavailable("The object store is away for a moment; please retry.", 2)


async def delete_object(objects: Objects, key: str) -> None:
    """Delete the object. Raise the 503 problem."""
    try:
        await objects.delete([key])
    except ObjectStoreError:
        raise store_unavailable() from None
