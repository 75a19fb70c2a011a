"""Runs the model of a directory once, with the worker's own loader and sandbox but without services."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import typer

from tidemill.cli.errors import INTERRUPTED
from tidemill.cli.input_values import parse_values
from tidemill.cli.local import input_files
from tidemill.cli.local.runtime import local_runtime, open_model
from tidemill.cli.output import terminal
from tidemill.cli.output.paths import OutputPaths
from tidemill.contracts.ids import new_id
from tidemill.hosting.local.frame_handler import PredictionResult
from tidemill.hosting.local.runtime import LocalModel


def predict(directory: Path, inputs: list[str], output: Path, *, as_json: bool) -> None:
    """Run and print the prediction. Raise CommandError, or typer.Exit with the status of the result."""
    observer = TerminalObserver(output, quiet=as_json)
    try:
        ended = asyncio.run(_predict(directory.resolve(), inputs, observer))
    except KeyboardInterrupt:
        typer.echo("canceled", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps({**msgspec.to_builtins(ended), "logs": observer.logs}, indent=2))
    else:
        observer.finish(ended)
    if ended.status != "succeeded":
        typer.echo(f"{ended.status}: {ended.error or ''}".strip(), err=True)
        raise typer.Exit(1)


async def _predict(directory: Path, inputs: list[str], observer: "TerminalObserver") -> PredictionResult:
    async with local_runtime() as runtime, open_model(runtime, directory, observer) as model:
        values = parse_values(inputs, model.schema)
        value = await input_files.fetch(values, model.schema, model.input_folder(), allow_file_urls=True)
        observer.begin(model)
        return await model.run(new_id(), value, observer)


class TerminalObserver:
    """Prints the items and logs of one prediction as they come, and saves its files."""

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self.logs = ""
        self._paths = OutputPaths(folder)
        self._quiet = quiet
        self._running = False
        self._joins = False
        self._shown = 0

    def begin(self, model: LocalModel) -> None:
        shape = model.schema["components"]["schemas"]["Output"]
        self._running = True
        self._joins = shape.get("x-cog-array-display") == "concatenate"

    def on_log(self, text: str) -> None:
        if self._running:
            self.logs += text
        if not self._quiet:
            terminal.print_log(text, err=True)

    def on_item(self, value: Any) -> None:
        self._shown += 1
        if not self._quiet:
            typer.echo(_text(value), nl=not self._joins)
            sys.stdout.flush()

    def output_file(self, name: str) -> tuple[Path, str]:
        path = self._paths.reserve(name)
        return path, str(path)

    def finish(self, ended: PredictionResult) -> None:
        if self._shown and self._joins:
            typer.echo()
        elif not self._shown and ended.status == "succeeded":
            for value in ended.output if isinstance(ended.output, list) else [ended.output]:
                typer.echo(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
