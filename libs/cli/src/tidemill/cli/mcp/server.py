"""The MCP server: offers the tools of `tools` to agents, over stdio or streamable HTTP.

Over HTTP it passes each request's own bearer token on to the API. The server has no token and keeps no state.
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Annotated, Any, Final, TypeVar

import httpx
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.cli.api.client import API_URL
from tidemill.cli.errors import CommandError
from tidemill.cli.mcp.tools import TIMEOUT, WAIT_LIMIT_S, AgentTools, ToolRefused

INSTRUCTIONS: Final = """\
Tidemill runs machine-learning models. Find one with `search`, read its inputs with `describe`, then `run` it. What
takes long answers before it has ended: go on with `wait`, look with `get`, or stop it with `cancel`. File inputs are
https URLs or data URIs; file outputs are URLs that last an hour."""
PATH: Final = "/mcp"
LOOKS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
RUNS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
STOPS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
ResultT = TypeVar("ResultT")

Model = Annotated[str, Field(description="owner/name, or owner/name:version", max_length=200)]
PredictionId = Annotated[str, Field(description="The id that `run` answered", max_length=64)]
Seconds = Annotated[float, Field(ge=0, le=WAIT_LIMIT_S, description="How long to stay with it at most")]


def make_server(http: httpx.AsyncClient, token: str | None) -> MCPServer[Any]:
    """Return the server with its tools. If `token` is None, each HTTP request brings its own."""
    server: MCPServer[Any] = MCPServer(
        "tidemill", title="Tidemill", instructions=INSTRUCTIONS, version=version("tidemill-cli"), log_level="WARNING"
    )

    def tools(context: Context[Any, Any]) -> AgentTools:
        try:
            return AgentTools(http, token or bearer_token((context.headers or {}).get("authorization")))
        except ToolRefused as refused:
            raise ToolError(str(refused)) from None

    @server.tool(annotations=LOOKS)
    async def search(
        context: Context[Any, Any],
        query: Annotated[str, Field(description="What the model should do", max_length=500)],
        limit: Annotated[int, Field(ge=1, le=20)] = 10,
    ) -> list[dict[str, Any]]:
        """Find models by what they do."""
        return await raise_tool_errors(tools(context).search(query, limit))

    @server.tool(annotations=LOOKS)
    async def describe(context: Context[Any, Any], model: Model) -> dict[str, Any]:
        """Read a model's inputs, its output and an example."""
        return await raise_tool_errors(tools(context).describe(model))

    @server.tool(annotations=RUNS)
    async def run(
        context: Context[Any, Any],
        model: Model,
        input: Annotated[dict[str, Any], Field(description="The inputs by name, as `describe` lists them")],  # noqa: A002 - its name on the wire
        wait_s: Seconds = 60,
    ) -> dict[str, Any]:
        """Run a model. Answers the prediction with its output, or as it is when the time is over."""
        return await raise_tool_errors(tools(context).run(model, input, wait_s, progress_reporter(context)))

    @server.tool(annotations=LOOKS)
    async def wait(context: Context[Any, Any], prediction_id: PredictionId, timeout_s: Seconds = 60) -> dict[str, Any]:
        """Wait until a prediction has ended, and answer it."""
        return await raise_tool_errors(tools(context).wait(prediction_id, timeout_s, progress_reporter(context)))

    @server.tool(annotations=LOOKS)
    async def get(context: Context[Any, Any], prediction_id: PredictionId) -> dict[str, Any]:
        """Look at a prediction as it is now."""
        return await raise_tool_errors(tools(context).get(prediction_id))

    @server.tool(annotations=STOPS)
    async def cancel(context: Context[Any, Any], prediction_id: PredictionId) -> dict[str, Any]:
        """Stop a prediction."""
        return await raise_tool_errors(tools(context).cancel(prediction_id))

    return server


async def raise_tool_errors(work: Awaitable[ResultT]) -> ResultT:
    """Await `work`; raise a refusal of the API as ToolError, which the agent reads."""
    try:
        return await work
    except ToolRefused as refused:
        raise ToolError(str(refused)) from None


def progress_reporter(context: Context[Any, Any]) -> Callable[[str], Awaitable[None]]:
    """Return a function that tells the client what a prediction waits for. Clients that did not ask get nothing."""
    steps = 0

    async def tell(message: str) -> None:
        nonlocal steps
        steps += 1
        await context.report_progress(steps, message=message)

    return tell


def bearer_token(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() not in {"bearer", "token"} or not token.strip():
        raise ToolRefused("There is no token: send one as `Authorization: Bearer TOKEN`.")
    return token.strip()


@contextlib.asynccontextmanager
async def open_client(base_url: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    url = base_url or os.environ.get("REPLICATE_BASE_URL", API_URL).rstrip("/").removesuffix("/v1")
    headers = {"User-Agent": "tidemill-mcp"}
    async with httpx.AsyncClient(base_url=f"{url}/v1/", headers=headers, timeout=TIMEOUT) as http:
        yield http


async def serve_stdio() -> None:
    """Serve until the client closes the pipe, with the token of the environment. Raise CommandError without one."""
    token = os.environ.get("REPLICATE_API_TOKEN")
    if not token:
        raise CommandError("REPLICATE_API_TOKEN is not set; `. .tidemill/env` sets it for the local stack")
    async with open_client() as http:
        await make_server(http, token).run_stdio_async()


async def serve_http(host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve until a signal ends it. `started` gets the URL; port 0 takes a free port."""
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        actual = listening.getsockname()[1]
        shown_host = f"[{host}]" if ":" in host else host
        async with open_client() as http:
            # Stateless: any of several servers can handle any request.
            app = make_server(http, None).streamable_http_app(streamable_http_path=PATH, stateless_http=True, host=host)
            started(f"http://{shown_host}:{actual}{PATH}")
            config = uvicorn.Config(_RequireBearerToken(app), log_level="warning", access_log=False)
            await uvicorn.Server(config).serve(sockets=[listening])


class _RequireBearerToken:
    """Middleware that refuses requests without a bearer token. Whether the token is valid is the API's decision."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            try:
                bearer_token(headers.get(b"authorization"))
            except ToolRefused as refused:
                refusal = JSONResponse({"detail": str(refused), "status": 401}, 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
