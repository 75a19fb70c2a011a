"""`tidemill mcp`: the options of the command."""

import asyncio
import importlib.util
from typing import Annotated

import typer

from tidemill.cli.errors import CommandError


def mcp(
    http: Annotated[
        int | None, typer.Option("--http", metavar="PORT", help="Serve HTTP at this port, not stdio.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve HTTP at.")] = "127.0.0.1",
) -> None:
    """Serve the Model Context Protocol: tools that search, run, wait for and cancel.

    Over stdio it acts with REPLICATE_API_TOKEN; over HTTP with the bearer token that each request brings.
    """
    if importlib.util.find_spec("mcp") is None:
        raise CommandError("this needs the package `mcp`: install `tidemill-cli[mcp]`")
    # Imported here: it takes longer to import than most commands take to run.
    from tidemill.cli.mcp import server  # noqa: PLC0415

    if http is None:
        asyncio.run(server.serve_stdio())
    else:
        asyncio.run(server.serve_http(host, http, lambda url: typer.echo(f"MCP server at {url}", err=True)))
