"""`tidemill predict`: a directory's model, run here with what the worker runs it with, and no services."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from tidemill.cli import local_files
from tidemill.cli.input_values import values_of
from tidemill.cli.local_models import opened, workbench
from tidemill.cli.places import Places
from tidemill.contracts.ids import new_id
from tidemill.hosting.conversation import Ended
from tidemill.hosting.local import LocalModel

INTERRUPTED: Final = 130  # as shells have it: 128 + SIGINT


def predict(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Has cog.yaml.")
    ] = Path(),
    *,
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", help="name=value; name=@path gives a file.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where file outputs are saved.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print how it ended as JSON.")] = False,
) -> None:
    """Run the model of a directory once, on this machine: the same loader, sandbox and process as a worker's.

    Output goes to stdout as it comes, what the model prints to stderr.
    Exits with 0 when it succeeded, 1 when it failed, 130 when it was canceled.
    """
    terminal = Terminal(output, quiet=as_json)
    try:
        ended = asyncio.run(_predict(directory.resolve(), inputs or [], terminal))
    except KeyboardInterrupt:
        typer.echo("canceled", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps({**msgspec.to_builtins(ended), "logs": terminal.logs}, indent=2))
    else:
        terminal.finish(ended)
    if ended.status != "succeeded":
        typer.echo(f"{ended.status}: {ended.error or ''}".strip(), err=True)
        raise typer.Exit(1)


async def _predict(directory: Path, inputs: list[str], terminal: "Terminal") -> Ended:
    async with workbench() as bench, opened(bench, directory, terminal) as model:
        values = values_of(inputs, model.schema)
        value = await local_files.bring(values, model.schema, model.input_folder(), of_this_machine=True)
        terminal.begin(model)
        return await model.run(new_id(), value, terminal)


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
            sys.stderr.write(text)
            sys.stderr.flush()

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
