"""`tidemill dev`: the options of the command."""

from pathlib import Path
from typing import Annotated

import typer


def dev(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Has cog.yaml.")
    ] = Path(),
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 5001,
) -> None:
    """Serve a directory's model and load it anew whenever a file changes. Errors are printed; the server stays.

    POST /predictions with {"input": {…}}, `Prefer: wait` or the stream at `urls.stream`, as with the API; official
    clients work with the printed base URL and any token.
    """
    # Imported here: the modules that run models take long to import, and help and usage errors do not need them.
    from tidemill.cli.dev import serving  # noqa: PLC0415

    serving.serve(directory, port)
