"""Runs the server of `tidemill dev`: an HTTP server, and a reloader of the model."""

import asyncio
import contextlib
import signal
import socket
import tempfile
from pathlib import Path
from typing import Final

import typer
from aiohttp import web

from tidemill.cli.dev.reloader import ModelReloader
from tidemill.cli.dev.server import DevServer
from tidemill.cli.errors import CommandError
from tidemill.cli.local.runtime import local_runtime
from tidemill.cli.model_directory.init import model_name

HOST: Final = "127.0.0.1"  # loopback only: the server checks no token
STOP_WITHIN_S: Final = 2.0  # for open connections at shutdown


def serve(directory: Path, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM. Raise CommandError if the port cannot be had."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(directory.resolve(), port))


async def _serve(directory: Path, port: int) -> None:
    name = f"local/{model_name(directory)}"
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as asyncio.run does for Ctrl-C
    with _listening(port) as listening, tempfile.TemporaryDirectory(prefix="tidemill-dev-") as outputs:
        base = f"http://{HOST}:{listening.getsockname()[1]}"
        async with local_runtime() as runtime:
            reloader = ModelReloader(runtime, directory)
            server = DevServer(reloader, Path(outputs), name, base)
            runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=STOP_WITHIN_S)
            await runner.setup()
            try:
                await web.SockSite(runner, listening).start()
                typer.echo(f"serving {name} at {base}", err=True)
                await reloader.run()
            finally:
                await runner.cleanup()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise CommandError(f"port {port} cannot be had: {error.strerror}") from None
