"""What a handler gets and answers: the call, the operation that it is, and how bodies are read and made."""

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
from tidemill.gateway import json_faults
from tidemill.gateway.access.request_urls import RequestUrls
from tidemill.gateway.caller import Account, Caller
from tidemill.gateway.checks.structs import loosely, refusal
from tidemill.gateway.limits.allowances import Kind

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")
PartsT = TypeVar("PartsT")
PartsT_co = TypeVar("PartsT_co", covariant=True)
PartsT_contra = TypeVar("PartsT_contra", contravariant=True)
BROKEN_OFF: Final = (aiohttp.ClientError, ConnectionError)  # what reading raises when the sender of a body has gone
BODY_WITHIN_S: Final = 120.0  # the largest at 50 kB/s; who stays longer holds a connection for nothing
MOMENTS: Final = frozenset({"created_after", "created_before"})  # query parameters
MOMENT: Final = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)([Tt ](?P<time>\d[\d:.]+))?(?P<zone>[Zz]|[ +-]\d\d:\d\d)?")
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
        """Whom the request acts for."""
        return self.caller.account

    @property
    def public_url(self) -> str:
        """The public URL by which the request came: what URLs in its answer begin with. No slash at its end."""
        return self.request_urls.of(self.request)

    @property
    def api_url(self) -> str:
        """The API's base in URLs of the answer, without a slash at its end."""
        return f"{self.public_url}/v1"

    def location(self, path: str) -> dict[str, str]:
        """The header of an answer about something new, which is at `path` below the API's base."""
        return {"Location": f"{self.api_url}{path}"}

    def path(self, name: str) -> str:
        """A parameter of the path. Raises the 404 problem for text that no name can be."""
        value = self.request.match_info[name]
        if not value.isprintable():
            raise not_found()
        return value

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def asked(self, kind: type[QueryT]) -> QueryT:
        """The query parameters as a struct; others are ignored. Raises the 400 problem."""
        query = {name: _moment(value) if name in MOMENTS else value for name, value in self.query.items()}
        try:
            return msgspec.convert(query, kind, strict=False)
        except msgspec.ValidationError as error:
            flaws = refusal(kind, loosely(kind, query), str(error))
            said = "; ".join(f"{each['field']}: {each['description']}" for each in flaws)
            raise bad_request(f"The query is not as expected: {said}.") from None

    async def body(self, kind: type[BodyT]) -> BodyT:
        """The JSON body. Raises 400 for what is not JSON, 422 for JSON of the wrong shape, 413 for too much."""
        return decode(await self.read(BODY_LIMIT_BYTES), kind)

    async def read(self, limit_bytes: int) -> bytes:
        """Raises 400 for a body that breaks off, 408 for one that does not come, 413 and 415."""
        refuse_encoded(self.request)
        length = self.request.content_length
        if length is not None and length > limit_bytes:
            raise too_large(limit_bytes)
        if self.request.content.is_eof():  # nearly always it came with the headers
            return await self._read(limit_bytes)
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                return await self._read(limit_bytes)
        except TimeoutError:
            raise too_slow() from None
        except BROKEN_OFF:
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


def _moment(text: str) -> str:
    """As RFC 3339 has it: a date alone is its beginning, and what names no zone is UTC, as Python's `isoformat` of a
    plain datetime. Many write the + of a zone as it is, and a + in a query is a space.
    """
    found = MOMENT.fullmatch(text)
    if found is None:
        return text
    return f"{found['date']}T{found['time'] or '00:00:00'}{(found['zone'] or 'Z').replace(' ', '+')}"


Handler: TypeAlias = Callable[[Call[PartsT]], Awaitable[web.StreamResponse]]


class Operation(msgspec.Struct, Generic[PartsT_contra], frozen=True, kw_only=True):
    """A handler with what goes in and out, for those who enforce it and for the reference that is made of it."""

    handler: Callable[[Call[PartsT_contra]], Awaitable[web.StreamResponse]]
    name: str  # `predictions.create`; what stands before the first dot groups it
    scope: Scope | None  # None: no token; the handler checks a signed capability itself, or anybody may ask
    body: Any = None  # the struct of a JSON body, or a media type as text
    query: Any = None  # the struct of the query parameters
    headers: tuple[str, ...] = ()  # request headers that it heeds
    answer: Any = None  # the struct of the answer, a media type as text, or None for no content
    status: int = 200
    also: tuple[int, ...] = ()  # further statuses that come with the same answer
    takes: Kind = "requests"  # of which of the account's rates it takes one
    errors: tuple[int, ...] = ()  # beyond those that every operation may answer
    anonymous: bool = False  # answers without a token too, what is public
    signed: bool = False  # its URL carries a signature instead


def operation(name: str, scope: Scope | None = None, **rest: Any) -> Callable[[Handler[PartsT]], Operation[PartsT]]:
    """Makes an Operation of a handler; `rest` is as its fields are."""
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
        raise _refused(body, kind, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {json_faults.reason(body, error)}") from None
    except RecursionError:
        raise bad_request("The request body nests too deeply.") from None


def _refused(body: bytes, kind: Any, said: str) -> Problem:
    try:
        return invalid_input(refusal(kind, msgspec.json.decode(body), said))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # in what the first decoding passed over unread
        return bad_request(f"The request body is not valid JSON: {json_faults.reason(body, error)}")
    except RecursionError:
        return bad_request("The request body nests too deeply.")


def refuse_encoded(request: web.Request) -> None:
    """A compressed body could be a bomb, and no client of ours sends one."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed request bodies are not accepted.", "Unsupported media type")


def too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"The request body is over {limit_bytes // (1024 * 1024)} MB.", "Payload too large")


def too_slow() -> Problem:
    return Problem(408, "The request body came too slowly.", headers={"Connection": "close"})


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = value if isinstance(value, bytes) else encode(value)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
