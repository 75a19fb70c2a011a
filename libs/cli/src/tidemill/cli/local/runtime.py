"""What `tidemill predict` and `tidemill dev` share: where they keep what they build, and how failures are told."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.bundle import paths_of
from tidemill.hosting.local.frame_handler import Audience
from tidemill.hosting.local.runtime import REASONS, LocalModel, Workbench


def workbench() -> Workbench:
    """In TIDEMILL_CACHE, else where caches of this user are."""
    # The runtime's own log is for operators.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("TIDEMILL_CACHE") or caches / "tidemill").absolute()
    home.mkdir(parents=True, exist_ok=True)
    return Workbench(home)


@asynccontextmanager
async def opened(bench: Workbench, directory: Path, audience: Audience) -> AsyncIterator[LocalModel]:
    """The model of `directory`, loaded. Raises CommandError with what the author can mend."""
    with told():
        entered = bench.open(directory, paths_of(directory), audience)
        model = await entered.__aenter__()
    try:
        for warning in model.warnings:
            typer.echo(f"warning: {warning}", err=True)
        yield model
    finally:
        await entered.__aexit__(None, None, None)


@contextlib.contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except REASONS as error:
        raise CommandError(str(error)) from None
