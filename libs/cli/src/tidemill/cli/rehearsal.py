"""What `tidemill push --lint` and `--dry-run` say: a push up to the point where it would send something."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from tidemill.cli import lint
from tidemill.cli.api import CommandError
from tidemill.cli.bundle import files_of, paths_of
from tidemill.cli.local_models import told, workbench
from tidemill.contracts.bundle import version_id
from tidemill.hosting.local import Inspected


def look(directory: Path) -> None:
    """Before an ordinary push: nothing is made for one that would fail, and secrets are warned of."""
    paths = paths_of(directory)
    errors = lint.errors(directory, paths)
    if errors:
        raise CommandError("\n".join(errors))
    for finding in lint.secrets(directory, paths):
        typer.echo(f"warning: {finding.text}", err=True)


def rehearse(directory: Path, *, imports: bool) -> None:
    """Tells what is wrong; with `imports` also builds the environment and imports the model. Raises CommandError."""
    found = lint.findings(directory, paths_of(directory))
    for finding in found:
        typer.echo(f"{'error' if finding.is_error else 'warning'}: {finding.text}", err=True)
    errors = sum(finding.is_error for finding in found)
    if errors:
        raise CommandError(f"a push would fail: {errors} error{'s' if errors > 1 else ''}")
    if imports:
        _import(directory, {finding.text for finding in found})
    elif not found:
        typer.echo("Nothing to mend.")


def _import(directory: Path, told_already: Collection[str]) -> None:
    inspected = asyncio.run(_inspect(directory.resolve()))
    for warning in inspected.warnings:
        if warning not in told_already:
            typer.echo(f"warning: {warning}", err=True)
    for name, definition in inspected.schema["components"]["schemas"]["Input"].get("properties", {}).items():
        typer.echo(f"input {name}{_described(definition)}")
    files = files_of(directory)
    size = sum(file.size for file in files)
    typer.echo(f"{len(files)} files ({size / 1e6:.1f} MB) would be version {version_id(files)}. Nothing was sent.")


def _described(definition: dict[str, Any]) -> str:
    said = definition.get("description")
    return f": {said}" if said else ""


async def _inspect(directory: Path) -> Inspected:
    with told():
        async with workbench() as bench:
            return await bench.inspect(
                directory, paths_of(directory), lambda text: typer.echo(text, nl=False, err=True)
            )
