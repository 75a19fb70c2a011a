"""Keeps the model of a directory loaded: loads it anew when a file changes or its process ends, and says what failed.

A model that is replaced first finishes what it runs.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.local.runtime import opened
from tidemill.cli.model_directory.bundle import paths_of
from tidemill.cli.output import terminal
from tidemill.hosting.local.runtime import LocalModel, Workbench

LOOK_EVERY_S: Final = 0.5  # a thousand files take 5 ms
FINISH_WITHIN_S: Final = 60.0  # what still runs on the old files

State = dict[str, tuple[int, int]]


class Loader:
    """`run` is a task for as long as the server lives; the others ask for the model that is loaded now."""

    def __init__(self, bench: Workbench, directory: Path) -> None:
        self._bench = bench
        self._directory = directory
        self._model: LocalModel | None = None
        self._error: str | None = None
        self._news = asyncio.Event()
        self._turns = asyncio.Semaphore()
        self._running = 0
        self._idle = asyncio.Event()

    async def model(self) -> LocalModel:
        """Waits while it is being loaded. Raises CommandError when the files as they are cannot be loaded."""
        while self._model is None:
            if self._error is not None:
                raise CommandError(self._error)
            await self._news.wait()
        return self._model

    async def run(self) -> None:
        while True:
            state = await asyncio.to_thread(state_of, self._directory)
            try:
                async with opened(self._bench, self._directory, self) as model:
                    self._tell(model, None)
                    typer.echo("ready", err=True)
                    await self._until_stale(state, model)
                    self._tell(None, None)
                    await self._finish()
            except CommandError as error:
                self._tell(None, str(error))
                typer.echo(f"{error}\nwaiting for a change", err=True)
                await self._until_stale(state, None)
                self._tell(None, None)

    def _tell(self, model: LocalModel | None, error: str | None) -> None:
        self._model, self._error = model, error
        self._turns = asyncio.Semaphore(model.concurrency if model else 1)
        self._news.set()
        self._news = asyncio.Event()

    async def _until_stale(self, state: State, model: LocalModel | None) -> None:
        while model is None or not model.ended.done():
            await asyncio.sleep(LOOK_EVERY_S)
            now = await asyncio.to_thread(state_of, self._directory)
            if now != state:
                typer.echo(f"changed: {', '.join(sorted(changed(state, now)))}", err=True)
                return
        typer.echo(f"the model's process ended: {model.ended.result()}", err=True)

    async def _finish(self) -> None:
        while self._running:
            self._idle.clear()
            try:
                async with asyncio.timeout(FINISH_WITHIN_S):
                    await self._idle.wait()
            except TimeoutError:
                return

    async def __aenter__(self) -> "tuple[LocalModel, asyncio.Semaphore]":
        """The model, held until the exit, and the turns to run on it."""
        model = await self.model()
        self._running += 1
        return model, self._turns

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1
        self._idle.set()

    # The Audience of what is said while no prediction runs.

    def on_log(self, text: str) -> None:
        terminal.log(text, err=True)

    def on_item(self, value: Any) -> None:
        raise AssertionError(f"{value!r} is of no prediction")

    def place(self, name: str) -> tuple[Path, str]:
        raise AssertionError(f"{name} is of no prediction")


def state_of(directory: Path) -> State:
    """Of each file when it changed and its size; empty while the directory is no model's."""
    try:
        return {path: _state(directory / path) for path in paths_of(directory)}
    except (CommandError, OSError):
        return {}


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def changed(before: State, now: State) -> set[str]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
