"""`tidemill push --dry-run`: builds the model's environment on this machine and imports the model in it."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from tidemill.cli.local.runtime import as_command_errors, local_runtime
from tidemill.cli.model_directory.bundle import list_files, list_paths
from tidemill.cli.output import terminal
from tidemill.contracts.bundle import bundle_digest
from tidemill.hosting.local.runtime import InspectedModel


def try_import(directory: Path, already_shown: Collection[str]) -> None:
    """Print the inputs, warnings and digest of the model. Raise CommandError if it cannot be imported."""
    inspected = asyncio.run(_inspect(directory.resolve()))
    for warning in inspected.warnings:
        if warning not in already_shown:
            typer.echo(f"warning: {warning}", err=True)
    for name, definition in inspected.schema["components"]["schemas"]["Input"].get("properties", {}).items():
        typer.echo(f"input {name}{_described(definition)}")
    files = list_files(directory)
    size = sum(file.size for file in files)
    typer.echo(f"{len(files)} files ({size / 1e6:.1f} MB) with the digest {bundle_digest(files)}. Nothing was sent.")


def _described(definition: dict[str, Any]) -> str:
    said = definition.get("description")
    return f": {said}" if said else ""


async def _inspect(directory: Path) -> InspectedModel:
    with as_command_errors():
        async with local_runtime() as runtime:
            return await runtime.inspect(
                directory, list_paths(directory), lambda text: terminal.print_log(text, err=True)
            )
