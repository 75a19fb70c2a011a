"""The HTTP boundary: every handler gets a Call and answers a response or raises a Problem.

The only place of the gateway that catches everything: what is not a Problem becomes a 500 whose id is in the log.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import asyncpg
import msgspec
from aiohttp import web
from prometheus_client import Counter, Histogram

from tidemill.contracts.access import Scope
from tidemill.contracts.errors import Problem, bad_request, not_found, unavailable, unprocessable
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway import limits
from tidemill.gateway.allowances import Kind
from tidemill.gateway.auth import Account, Caller
from tidemill.runtime.db import AWAY
from tidemill.runtime.telemetry import log

if TYPE_CHECKING:
    from tidemill.gateway.parts import Parts

REQUESTS: Final = Counter("tidemill_http_requests_total", "Requests answered", ["route", "status"])
SECONDS: Final = Histogram("tidemill_http_seconds", "Time to the answer", ["route"])
BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")
# Many write the + of a time's zone as it is, and a + in a query is a space.
UNESCAPED_PLUS: Final = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+) (\d\d:\d\d)$")
PASSING: Final = frozenset({429, 503})  # statuses that tell when to come again
encode: Final = msgspec.json.Encoder().encode


class Call(NamedTuple):
    """One request: who asks, what for, and the parts of the gateway that can answer."""

    request: web.Request
    caller: Caller
    parts: "Parts"

    @property
    def account(self) -> Account:
        """Whom the request acts for."""
        return self.caller.account

    def location(self, path: str) -> dict[str, str]:
        """The header of an answer about something new, which is at `path` below the API's base."""
        return {"Location": f"{self.parts.api_url}{path}"}

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
        query = {name: UNESCAPED_PLUS.sub(r"\1+\2", value) for name, value in self.query.items()}
        try:
            return msgspec.convert(query, kind, strict=False)
        except msgspec.ValidationError as error:
            raise bad_request(f"The query is not as expected: {error}") from None

    async def body(self, kind: type[BodyT]) -> BodyT:
        """The JSON body. Raises 400 for what is not JSON, 422 for JSON of the wrong shape, 413 for too much."""
        return decode(await self.read(BODY_LIMIT_BYTES), kind)

    async def read(self, limit_bytes: int) -> bytes:
        refuse_encoded(self.request)
        length = self.request.content_length
        if length is not None and length > limit_bytes:
            raise too_large(limit_bytes)
        if limit_bytes <= BODY_LIMIT_BYTES:
            return await self.request.read()
        chunks, size = [], 0
        async for chunk in self.request.content.iter_any():
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            chunks.append(chunk)
        return b"".join(chunks)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A handler with what goes in and out, for those who enforce it and for the reference that is made of it."""

    handler: Handler
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


def operation(name: str, scope: Scope | None = None, **rest: Any) -> Callable[[Handler], Operation]:
    """Makes an Operation of a handler; `rest` is as its fields are."""
    return lambda handler: Operation(handler=handler, name=name, scope=scope, **rest)


class Route(NamedTuple):
    method: str
    path: str
    operation: Operation


BYTES: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"
NOBODY: Final = Caller(Account("", "", "", "user"), frozenset())


def decode(body: bytes, kind: type[BodyT]) -> BodyT:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise unprocessable(f"The request body is not as expected: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {error}") from None
    except RecursionError:
        raise bad_request("The request body nests too deeply.") from None


def refuse_encoded(request: web.Request) -> None:
    """A compressed body could be a bomb, and no client of ours sends one."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed request bodies are not accepted.", "Unsupported media type")


def too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"The request body is over {limit_bytes // (1024 * 1024)} MB.", "Payload too large")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = value if isinstance(value, bytes) else encode(value)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def problem_response(problem: Problem) -> web.Response:
    response = web.Response(
        body=encode(problem.body()),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )
    if problem.status in PASSING:
        response.headers.setdefault("Retry-After", "1")  # whoever raised it knew no better
    return response


def bind(parts: "Parts", route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler that authenticates, calls the route's handler and turns whatever it raises into a problem."""
    handler, scope, takes = route.operation.handler, route.operation.scope, route.operation.takes
    anonymous = route.operation.anonymous
    # Frameworks that cache GETs would poll their own cache for ever; nor is what needs a token for any cache.
    uncached = scope is not None and route.method == "GET"
    seconds = SECONDS.labels(route.path)
    counters: dict[int, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        started = asyncio.get_running_loop().time()
        caller = NOBODY
        try:
            if scope is not None and not (anonymous and "Authorization" not in request.headers):
                caller = await parts.door.enter(request, scope)
            call = Call(request, caller, parts)
            if caller.account.allowances is not None:
                await parts.limits.take(call, kind=takes)
            response = await handler(call)
        except (Problem, web.HTTPException, asyncpg.CharacterNotInRepertoireError, *AWAY) as error:
            response = problem_response(problem_of(error))
        except Exception as error:  # noqa: BLE001 - this is the boundary
            response = problem_response(_unexpected(error, request))
        if uncached:
            response.headers.setdefault("Cache-Control", "no-store")
        if caller.account.allowances is not None:
            limits.tell(request, response)
        seconds.observe(asyncio.get_running_loop().time() - started)
        status = response.status
        if status not in counters:
            counters[status] = REQUESTS.labels(route.path, status)
        counters[status].inc()
        return response

    return answer


def problem_of(error: BaseException) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return _problem_of_http(error)
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return unprocessable("Text may not contain the character U+0000.")  # JSON and URLs can, PostgreSQL cannot
    return unavailable("The database is away for a moment; please retry.", 1)


def _problem_of_http(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return too_large(BODY_LIMIT_BYTES)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return Problem(405, f"Method {error.method!r} not allowed; allowed: {allow}.", headers={"Allow": allow})
    if isinstance(error, web.HTTPNotFound):
        return not_found()
    return Problem(error.status, error.reason)


def _unexpected(error: Exception, request: web.Request) -> Problem:
    incident = new_id()
    log().error("unexpected", action="answer", incident=incident, method=request.method, exc_info=error)
    return Problem(500, f"Something went wrong on our side (incident {incident}).", "Internal server error")


@web.middleware
async def unmatched(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Unknown paths and methods, which no bound route sees, get problem bodies too; OPTIONS lists what a path has."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if request.method == "OPTIONS" and isinstance(error, web.HTTPMethodNotAllowed):
            return web.Response(status=204, headers={"Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))})
        return problem_response(problem_of(error))
