"""`tidemill files`: the account's files, uploaded before a prediction uses them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.api.files import download_file, upload_file
from tidemill.cli.output.printing import (
    DEFAULT_LIMIT,
    JsonObject,
    JsonOption,
    LimitOption,
    format_time,
    print_json,
    print_list,
    print_one,
)

files = typer.Typer(help="Files: upload, list, show, download and delete them.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A file's id.")]


@files.command("upload")
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)], as_json: JsonOption = False
) -> None:
    """Upload a file; print its id and the URL that an input can name."""
    made = upload_file(Api(), file)
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{made['id']}  {made['urls']['get']}")


@files.command("list")
def list_(limit: LimitOption = DEFAULT_LIMIT, as_json: JsonOption = False) -> None:
    """List files, the newest first.

    A line has id, size in bytes, kind, when it expires, name.
    """
    print_list(paginate(Api(), "files"), _cells, limit=limit, as_json=as_json)


@files.command("get")
def get(file: Id, as_json: JsonOption = False) -> None:
    """Show a file: its size, kind, checksums and URLs."""
    print_one(Api().call("GET", f"files/{file}"), _facts, as_json=as_json)


@files.command("download")
def download_(
    file: Id,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to; its own name here, else.")] = None,
) -> None:
    """Download a file and print where it lies."""
    api = Api()
    found = api.call("GET", f"files/{file}")
    target = output or Path(Path(found["name"]).name)
    download_file(api.own_url(found["urls"]["download"]), target)
    typer.echo(str(target))


@files.command("delete")
def delete(files: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of files.")]) -> None:
    """Delete files."""
    api = Api()
    for each in files:
        api.call("DELETE", f"files/{each}")
        typer.echo(f"Deleted {each}.")


def _cells(each: JsonObject) -> list[str]:
    return [each["id"], str(each["size"]), each["content_type"], format_time(each["expires_at"]), each["name"]]


def _facts(each: JsonObject) -> Iterator[tuple[str, Any]]:
    for name in ("id", "name", "content_type", "size", "metadata"):
        yield name, each[name]
    yield from sorted(each["checksums"].items())
    yield "created", format_time(each["created_at"])
    yield "expires", format_time(each["expires_at"])
    yield "input", each["urls"]["get"]
    yield "download", each["urls"]["download"]
