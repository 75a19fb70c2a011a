"""What `tidemill dev` does: a directory's model behind the API's predictions, here, loaded anew as it is edited."""

import asyncio
import contextlib
import signal
import socket
import tempfile
from pathlib import Path
from typing import Final

import typer
from aiohttp import web

from tidemill.cli.dev.reloader import Loader
from tidemill.cli.dev.server import DevServer
from tidemill.cli.errors import CommandError
from tidemill.cli.local.runtime import workbench
from tidemill.cli.model_directory.init import name_of

HOST: Final = "127.0.0.1"  # it asks for no token
STOP_WITHIN_S: Final = 2.0  # of open connections


def serve(directory: Path, port: int) -> None:
    """Until Ctrl-C or SIGTERM. Raises CommandError when the port cannot be had."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(directory.resolve(), port))


async def _serve(directory: Path, port: int) -> None:
    name = f"local/{name_of(directory)}"
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # as asyncio.run does with Ctrl-C
    with _listening(port) as listening, tempfile.TemporaryDirectory(prefix="tidemill-dev-") as outputs:
        base = f"http://{HOST}:{listening.getsockname()[1]}"
        async with workbench() as bench:
            loader = Loader(bench, directory)
            server = DevServer(loader, Path(outputs), name, base)
            runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=STOP_WITHIN_S)
            await runner.setup()
            try:
                await web.SockSite(runner, listening).start()
                typer.echo(f"serving {name} at {base}", err=True)
                await loader.run()
            finally:
                await runner.cleanup()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise CommandError(f"port {port} cannot be had: {error.strerror}") from None
