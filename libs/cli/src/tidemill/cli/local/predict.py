"""What `tidemill predict` does: a directory's model is run here with what the worker runs it with, and no services."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import typer

from tidemill.cli.errors import INTERRUPTED
from tidemill.cli.input_values import values_of
from tidemill.cli.local import input_files
from tidemill.cli.local.runtime import opened, workbench
from tidemill.cli.output import terminal
from tidemill.cli.output.paths import Places
from tidemill.contracts.ids import new_id
from tidemill.hosting.local.frame_handler import Ended
from tidemill.hosting.local.runtime import LocalModel


def predict(directory: Path, inputs: list[str], output: Path, *, as_json: bool) -> None:
    """Raises CommandError, or typer.Exit with the status that tells how it ended."""
    shown = Terminal(output, quiet=as_json)
    try:
        ended = asyncio.run(_predict(directory.resolve(), inputs, shown))
    except KeyboardInterrupt:
        typer.echo("canceled", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps({**msgspec.to_builtins(ended), "logs": shown.logs}, indent=2))
    else:
        shown.finish(ended)
    if ended.status != "succeeded":
        typer.echo(f"{ended.status}: {ended.error or ''}".strip(), err=True)
        raise typer.Exit(1)


async def _predict(directory: Path, inputs: list[str], shown: "Terminal") -> Ended:
    async with workbench() as bench, opened(bench, directory, shown) as model:
        values = values_of(inputs, model.schema)
        value = await input_files.fetch(values, model.schema, model.input_folder(), of_this_machine=True)
        shown.begin(model)
        return await model.run(new_id(), value, shown)


class Terminal:
    """The Audience of one prediction: items and files appear as they come."""

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self.logs = ""
        self._places = Places(folder)
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
            terminal.log(text, err=True)

    def on_item(self, value: Any) -> None:
        self._shown += 1
        if not self._quiet:
            typer.echo(_text(value), nl=not self._joins)
            sys.stdout.flush()

    def place(self, name: str) -> tuple[Path, str]:
        path = self._places.place(name)
        return path, str(path)

    def finish(self, ended: Ended) -> None:
        if self._shown and self._joins:
            typer.echo()
        elif not self._shown and ended.status == "succeeded":
            for value in ended.output if isinstance(ended.output, list) else [ended.output]:
                typer.echo(_text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
