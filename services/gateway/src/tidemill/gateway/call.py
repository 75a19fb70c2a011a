"""The call that a handler takes, the operation that it implements, and the reading and writing of JSON bodies."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.errors import Problem, bad_request, invalid_input, not_found
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway import json_errors
from tidemill.gateway.caller import Account, Caller
from tidemill.gateway.checks.structs import coerce_texts, invalid_body_fields
from tidemill.gateway.limits.allowances import RateKind
from tidemill.gateway.request_urls import RequestUrls

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")
PartsT = TypeVar("PartsT")
PartsT_co = TypeVar("PartsT_co", covariant=True)
PartsT_contra = TypeVar("PartsT_contra", contravariant=True)
CONNECTION_LOST: Final = (aiohttp.ClientError, ConnectionError)  # raised by a read when the client has disconnected
BODY_TIMEOUT_S: Final = 120.0  # enough for the largest body at 50 kB/s
TIME_PARAMETERS: Final = frozenset({"created_after", "created_before"})  # query parameters
TIME: Final = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)([Tt ](?P<time>\d[\d:.]+))?(?P<zone>[Zz]|[ +-]\d\d:\d\d)?")
encode: Final = msgspec.json.Encoder().encode


class Call(NamedTuple, Generic[PartsT_co]):
    """One request: its caller, and the parts of the gateway that its handler needs.

    The type of `parts` is a protocol of the handler's module: a handler sees no more than that.
    """

    request: web.Request
    caller: Caller
    request_urls: RequestUrls
    parts: PartsT_co

    @property
    def account(self) -> Account:
        return self.caller.account

    @property
    def public_url(self) -> str:
        """Return the public URL by which the request came, without a trailing slash: the base of response URLs."""
        return self.request_urls.base_url(self.request)

    @property
    def api_url(self) -> str:
        """Return the base URL of the API for URLs in the response, without a trailing slash."""
        return f"{self.public_url}/v1"

    def location(self, path: str) -> dict[str, str]:
        """Return the Location header for a new resource at `path`, which is relative to the base URL of the API."""
        return {"Location": f"{self.api_url}{path}"}

    def path(self, name: str) -> str:
        """Return a parameter of the path. Raise the 404 problem for unprintable text: no name contains it."""
        value = self.request.match_info[name]
        if not value.isprintable():
            raise not_found()
        return value

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def parse_query(self, kind: type[QueryT]) -> QueryT:
        """Return the query parameters as a struct; unknown ones are ignored. Raise the 400 problem for wrong values."""
        query = {name: _as_rfc3339(value) if name in TIME_PARAMETERS else value for name, value in self.query.items()}
        try:
            return msgspec.convert(query, kind, strict=False)
        except msgspec.ValidationError as error:
            flaws = invalid_body_fields(kind, coerce_texts(kind, query), str(error))
            details = "; ".join(f"{each['field']}: {each['description']}" for each in flaws)
            raise bad_request(f"The query is not as expected: {details}.") from None

    async def body(self, kind: type[BodyT]) -> BodyT:
        """Return the JSON body as a struct. Raise 400 for invalid JSON, 422 for a wrong shape, 413 for a large body."""
        return decode(await self.read(BODY_LIMIT_BYTES), kind)

    async def read(self, limit_bytes: int) -> bytes:
        """Return the body's bytes. Raise 400 when the client disconnects, 408 after BODY_TIMEOUT_S, 413 and 415."""
        refuse_encoded(self.request)
        length = self.request.content_length
        if length is not None and length > limit_bytes:
            raise too_large(limit_bytes)
        if self.request.content.is_eof():  # the usual case: the body came with the headers
            return await self._read(limit_bytes)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await self._read(limit_bytes)
        except TimeoutError:
            raise body_timed_out() from None
        except CONNECTION_LOST:
            raise bad_request("The request body broke off.") from None

    async def _read(self, limit_bytes: int) -> bytes:
        if limit_bytes <= BODY_LIMIT_BYTES:
            return await self.request.read()
        chunks, size = [], 0
        async for chunk in self.request.content.iter_any():
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            chunks.append(chunk)
        return b"".join(chunks)


def _as_rfc3339(text: str) -> str:
    """Return a time in the form of RFC 3339; return other text unchanged.

    A date alone means 00:00. A time without a zone means UTC: Python's `isoformat` of a naive datetime has none. Many
    clients do not escape the + of a zone, and a + in a query string is a space.
    """
    found = TIME.fullmatch(text)
    if found is None:
        return text
    return f"{found['date']}T{found['time'] or '00:00:00'}{(found['zone'] or 'Z').replace(' ', '+')}"


Handler: TypeAlias = Callable[[Call[PartsT]], Awaitable[web.StreamResponse]]


class Operation(msgspec.Struct, Generic[PartsT_contra], frozen=True, kw_only=True):
    """A handler with its inputs and outputs. `http.bind` enforces them; the OpenAPI document is made from them."""

    handler: Callable[[Call[PartsT_contra]], Awaitable[web.StreamResponse]]
    name: str  # `predictions.create`; what stands before the first dot groups it
    scope: Scope | None  # None: no token is needed: the handler checks a signed URL itself, or the operation is public
    body: Any = None  # the struct of a JSON body, or a media type as text
    query: Any = None  # the struct of the query parameters
    headers: tuple[str, ...] = ()  # request headers that the handler reads
    response: Any = None  # the struct of the response, a media type as text, or None for no content
    status: int = 200
    also_statuses: tuple[int, ...] = ()  # further statuses with the same response body
    rate_kind: RateKind = "requests"  # the account's rate limit that a request counts against
    errors: tuple[int, ...] = ()  # beyond the statuses that every operation may return
    anonymous: bool = False  # also works without a token, for public things
    signed: bool = False  # its URL carries a signature instead of a token


def operation(name: str, scope: Scope | None = None, **rest: Any) -> Callable[[Handler[PartsT]], Operation[PartsT]]:
    """Return a decorator that makes an Operation of a handler; `rest` are fields of Operation."""
    return lambda handler: Operation(handler=handler, name=name, scope=scope, **rest)


class Route(NamedTuple, Generic[PartsT_contra]):
    method: str
    path: str
    operation: Operation[PartsT_contra]


BYTES: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"


def decode(body: bytes, kind: type[BodyT]) -> BodyT:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _decode_problem(body, kind, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {json_errors.reason(body, error)}") from None
    except RecursionError:
        raise bad_request("The request body nests too deeply.") from None


def _decode_problem(body: bytes, kind: Any, reason: str) -> Problem:
    try:
        return invalid_input(invalid_body_fields(kind, msgspec.json.decode(body), reason))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # in a part that the typed decoder skipped
        return bad_request(f"The request body is not valid JSON: {json_errors.reason(body, error)}")
    except RecursionError:
        return bad_request("The request body nests too deeply.")


def refuse_encoded(request: web.Request) -> None:
    """Raise the 415 problem for a compressed body: it could be a bomb, and no known client sends one."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed request bodies are not accepted.", "Unsupported media type")


def too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"The request body is over {limit_bytes // (1024 * 1024)} MB.", "Payload too large")


def body_timed_out() -> Problem:
    return Problem(408, "The request body came too slowly.", headers={"Connection": "close"})


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = value if isinstance(value, bytes) else encode(value)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
