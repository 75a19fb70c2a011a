"""What only `tidemill push --dry-run` does: builds the environment of a model here, and imports it there."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from tidemill.cli.local.runtime import told, workbench
from tidemill.cli.model_directory.bundle import files_of, paths_of
from tidemill.cli.output import terminal
from tidemill.contracts.bundle import bundle_digest
from tidemill.hosting.local.runtime import Inspected


def try_import(directory: Path, told_already: Collection[str]) -> None:
    inspected = asyncio.run(_inspect(directory.resolve()))
    for warning in inspected.warnings:
        if warning not in told_already:
            typer.echo(f"warning: {warning}", err=True)
    for name, definition in inspected.schema["components"]["schemas"]["Input"].get("properties", {}).items():
        typer.echo(f"input {name}{_described(definition)}")
    files = files_of(directory)
    size = sum(file.size for file in files)
    typer.echo(f"{len(files)} files ({size / 1e6:.1f} MB) with the digest {bundle_digest(files)}. Nothing was sent.")


def _described(definition: dict[str, Any]) -> str:
    said = definition.get("description")
    return f": {said}" if said else ""


async def _inspect(directory: Path) -> Inspected:
    with told():
        async with workbench() as bench:
            return await bench.inspect(directory, paths_of(directory), lambda text: terminal.log(text, err=True))
