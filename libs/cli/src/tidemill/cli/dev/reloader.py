"""Keeps the model of a directory loaded. Reloads it when a file changes or its process ends, and prints errors.

The old model finishes its running predictions before it is replaced.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.local.runtime import open_model
from tidemill.cli.model_directory.bundle import list_paths
from tidemill.cli.output import terminal
from tidemill.hosting.local.runtime import LocalModel, LocalRuntime

POLL_S: Final = 0.5  # one look at a thousand files takes 5 ms
DRAIN_LIMIT_S: Final = 60.0  # the limit for predictions that still run on the old files

Snapshot = dict[str, tuple[int, int]]


class ModelReloader:
    """`run` is a task for the server's lifetime; requests use the model that is loaded now."""

    def __init__(self, runtime: LocalRuntime, directory: Path) -> None:
        self._runtime = runtime
        self._directory = directory
        self._model: LocalModel | None = None
        self._error: str | None = None
        self._updated = asyncio.Event()
        self._slots = asyncio.Semaphore()
        self._running = 0
        self._idle = asyncio.Event()

    async def model(self) -> LocalModel:
        """Return the loaded model; wait while it loads. Raise CommandError if the current files cannot be loaded."""
        while self._model is None:
            if self._error is not None:
                raise CommandError(self._error)
            await self._updated.wait()
        return self._model

    async def run(self) -> None:
        while True:
            state = await asyncio.to_thread(take_snapshot, self._directory)
            try:
                async with open_model(self._runtime, self._directory, self) as model:
                    self._publish(model, None)
                    typer.echo("ready", err=True)
                    await self._until_stale(state, model)
                    self._publish(None, None)
                    await self._drain()
            except CommandError as error:
                self._publish(None, str(error))
                typer.echo(f"{error}\nwaiting for a change", err=True)
                await self._until_stale(state, None)
                self._publish(None, None)

    def _publish(self, model: LocalModel | None, error: str | None) -> None:
        self._model, self._error = model, error
        self._slots = asyncio.Semaphore(model.concurrency if model else 1)
        self._updated.set()
        self._updated = asyncio.Event()

    async def _until_stale(self, state: Snapshot, model: LocalModel | None) -> None:
        while model is None or not model.ended.done():
            await asyncio.sleep(POLL_S)
            now = await asyncio.to_thread(take_snapshot, self._directory)
            if now != state:
                typer.echo(f"changed: {', '.join(sorted(changed_paths(state, now)))}", err=True)
                return
        typer.echo(f"the model's process ended: {model.ended.result()}", err=True)

    async def _drain(self) -> None:
        while self._running:
            self._idle.clear()
            try:
                async with asyncio.timeout(DRAIN_LIMIT_S):
                    await self._idle.wait()
            except TimeoutError:
                return

    async def __aenter__(self) -> "tuple[LocalModel, asyncio.Semaphore]":
        """Return the model, kept loaded until the exit, and the semaphore of its concurrency."""
        model = await self.model()
        self._running += 1
        return model, self._slots

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1
        self._idle.set()

    # The methods of PredictionObserver, for what is printed while no prediction runs.

    def on_log(self, text: str) -> None:
        terminal.print_log(text, err=True)

    def on_item(self, value: Any) -> None:
        raise AssertionError(f"{value!r} is of no prediction")

    def output_file(self, name: str) -> tuple[Path, str]:
        raise AssertionError(f"{name} is of no prediction")


def take_snapshot(directory: Path) -> Snapshot:
    """Return modification time and size by path; empty while the directory holds no model."""
    try:
        return {path: _file_state(directory / path) for path in list_paths(directory)}
    except (CommandError, OSError):
        return {}


def _file_state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def changed_paths(before: Snapshot, now: Snapshot) -> set[str]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
