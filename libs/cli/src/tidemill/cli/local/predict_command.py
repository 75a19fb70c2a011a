"""`tidemill predict`: the options of the command."""

from pathlib import Path
from typing import Annotated

import typer


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
    # Imported here: the modules that run models take long to import, and help and usage errors do not need them.
    from tidemill.cli.local import predict as here  # noqa: PLC0415

    here.predict(directory, inputs or [], output, as_json=as_json)
