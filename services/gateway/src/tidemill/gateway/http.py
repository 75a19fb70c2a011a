"""The HTTP boundary: every handler takes a Call and returns a response or raises a Problem.

The only module of the gateway that catches every exception: one that is not a Problem becomes a 500, and the incident
id in its body is in the log.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import asyncpg
from aiohttp import web
from prometheus_client import Counter, Histogram

from tidemill.contracts.errors import Problem, not_found, unavailable, unprocessable
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import BODY_LIMIT_BYTES
from tidemill.gateway.access import connections
from tidemill.gateway.access.authenticator import Authenticator, TokenlessKind
from tidemill.gateway.call import Call, Route, encode, too_large
from tidemill.gateway.caller import Account, Caller
from tidemill.gateway.limits import rates
from tidemill.gateway.limits.rates import RateLimiter
from tidemill.gateway.request_urls import RequestUrls
from tidemill.gateway.serving import Draining
from tidemill.runtime.db import TRANSIENT_ERRORS
from tidemill.runtime.telemetry import log

REQUESTS: Final = Counter("tidemill_http_requests_total", "Requests answered", ["route", "status"])
SECONDS: Final = Histogram("tidemill_http_seconds", "Time to the answer", ["route"])
RETRYABLE: Final = frozenset({429, 503})  # statuses that come with Retry-After
ANONYMOUS: Final = Caller(Account("", "", "", "user"), frozenset())


class BoundaryParts(Protocol):
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def rate_limiter(self) -> RateLimiter: ...
    @property
    def request_urls(self) -> RequestUrls: ...
    @property
    def draining(self) -> Draining: ...


PartsT = TypeVar("PartsT", bound=BoundaryParts)


def problem_response(problem: Problem) -> web.Response:
    response = web.Response(
        body=encode(problem.body()),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )
    if problem.status in RETRYABLE:
        response.headers.setdefault("Retry-After", "1")  # the default, in seconds
    return response


def bind(parts: PartsT, route: Route[PartsT]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return an aiohttp handler: it authenticates, counts the request, calls the route's handler and maps errors."""
    handler, scope, rate_kind = route.operation.handler, route.operation.scope, route.operation.rate_kind
    anonymous = route.operation.anonymous
    tokenless: TokenlessKind = "signed" if route.operation.signed else "anonymous"
    # Frameworks that cache GETs would poll their own cache forever, and no cache may keep what a token protects.
    uncached = scope is not None and route.method == "GET"
    seconds = SECONDS.labels(route.path)
    counters: dict[int, Any] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        started = asyncio.get_running_loop().time()
        caller = ANONYMOUS
        try:
            if scope is None or (anonymous and "Authorization" not in request.headers):
                parts.authenticator.throttle_anonymous(request, tokenless)
            else:
                caller = await parts.authenticator.authenticate(request, scope)
            call = Call(request, caller, parts.request_urls, parts)
            if caller.account.allowances is not None:
                await parts.rate_limiter.take(request, caller.account, kind=rate_kind)
            response = await handler(call)
        except (Problem, web.HTTPException, asyncpg.CharacterNotInRepertoireError, *TRANSIENT_ERRORS) as error:
            response = problem_response(problem_of(error))
        except Exception as error:  # noqa: BLE001 - this is the boundary
            response = problem_response(_unexpected(error, request))
        if uncached:
            response.headers.setdefault("Cache-Control", "no-store")
        if caller.account.allowances is not None:
            rates.add_headers(request, response)
        if parts.draining.on:
            response.force_close()  # the client sends its next request to another gateway
        seconds.observe(asyncio.get_running_loop().time() - started)
        status = response.status
        await connections.delay_refusal(request, response)
        if status not in counters:
            counters[status] = REQUESTS.labels(route.path, status)
        counters[status].inc()
        return response

    return handle


def problem_of(error: BaseException) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return _problem_of_http(error)
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return unprocessable(
            "Text may not contain the character U+0000."
        )  # JSON and URLs can contain it, text in PostgreSQL cannot
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
    """Return problem bodies for unknown paths and methods too, which no route handles. OPTIONS lists the methods."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if request.method == "OPTIONS" and isinstance(error, web.HTTPMethodNotAllowed):
            return web.Response(status=204, headers={"Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))})
        return problem_response(problem_of(error))
