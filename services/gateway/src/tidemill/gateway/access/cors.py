"""Cross-origin requests from browsers (CORS). Installed only if the operator allows some origins."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

PREFLIGHT_MAX_AGE_S: Final = 600  # Chromium accepts up to two hours; a change of the settings should take effect sooner
METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, QUERY"
EXPOSED: Final = (
    "Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, Preference-Applied, RateLimit-Limit,"
    " RateLimit-Remaining, RateLimit-Reset, Repr-Digest, Retry-After"
)


def install(app: web.Application, origins: str) -> None:
    """`origins` is comma-separated; `*` allows any. No credentials: tokens come in a header, not in cookies."""
    allowed = frozenset(origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip())

    def origin_of(request: web.Request) -> str | None:
        origin = request.headers.get("Origin")
        if origin is None or not allowed & {"*", origin}:
            return None
        return "*" if "*" in allowed else origin

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add("Vary", "Origin")
        origin = origin_of(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED

    @web.middleware
    async def answer_preflights(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return await handler(request)
        headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S)}
        wanted = request.headers.get("Access-Control-Request-Headers")
        if wanted:
            headers["Access-Control-Allow-Headers"] = wanted
        return web.Response(status=204, headers=headers)

    app.on_response_prepare.append(add_headers)
    app.middlewares.insert(0, answer_preflights)
