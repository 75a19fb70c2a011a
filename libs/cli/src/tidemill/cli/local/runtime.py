"""What the commands share that run a model on this machine: the cache folder, opening a model, errors in words."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.bundle import list_paths
from tidemill.hosting.local.frame_handler import PredictionObserver
from tidemill.hosting.local.runtime import LOAD_ERRORS, LocalModel, LocalRuntime


def local_runtime() -> LocalRuntime:
    """Return a runtime that keeps its files in TIDEMILL_CACHE, or else in this user's cache folder."""
    # Informational log lines are for operators.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("TIDEMILL_CACHE") or caches / "tidemill").absolute()
    home.mkdir(parents=True, exist_ok=True)
    return LocalRuntime(home)


@asynccontextmanager
async def open_model(runtime: LocalRuntime, directory: Path, observer: PredictionObserver) -> AsyncIterator[LocalModel]:
    """Load the model of `directory` and print its warnings. Raise CommandError with what the author can fix."""
    with as_command_errors():
        entered = runtime.open(directory, list_paths(directory), observer)
        model = await entered.__aenter__()
    try:
        for warning in model.warnings:
            typer.echo(f"warning: {warning}", err=True)
        yield model
    finally:
        await entered.__aexit__(None, None, None)


@contextlib.contextmanager
def as_command_errors() -> Iterator[None]:
    """Turn the errors of a model that cannot be loaded into CommandError."""
    try:
        yield
    except LOAD_ERRORS as error:
        raise CommandError(str(error)) from None
