"""`tidemill files`: files of the account, uploaded ahead of a prediction or to be used by several."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.api.client import Api, pages
from tidemill.cli.api.files import download, uploaded
from tidemill.cli.output.printing import LISTED, Json, Limit, Thing, second, show_json, show_list, show_one

files = typer.Typer(help="Files: upload, list, show, download and delete them.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A file's id.")]


@files.command("upload")
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)], as_json: Json = False
) -> None:
    """Upload a file; print its id and the URL that an input can name."""
    made = uploaded(Api(), file)
    if as_json:
        show_json(made)
    else:
        typer.echo(f"{made['id']}  {made['urls']['get']}")


@files.command("list")
def list_(limit: Limit = LISTED, as_json: Json = False) -> None:
    """List files, the newest first.

    A line has id, size in bytes, kind, when it expires, name.
    """
    show_list(pages(Api(), "files"), _cells, limit=limit, as_json=as_json)


@files.command("get")
def get(file: Id, as_json: Json = False) -> None:
    """Show a file: its size, kind, checksums and URLs."""
    show_one(Api().call("GET", f"files/{file}"), _facts, as_json=as_json)


@files.command("download")
def download_(
    file: Id,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to; its own name here, else.")] = None,
) -> None:
    """Download a file and print where it lies."""
    api = Api()
    found = api.call("GET", f"files/{file}")
    target = output or Path(Path(found["name"]).name)
    download(api.here(found["urls"]["download"]), target)
    typer.echo(str(target))


@files.command("delete")
def delete(files: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of files.")]) -> None:
    """Delete files."""
    api = Api()
    for each in files:
        api.call("DELETE", f"files/{each}")
        typer.echo(f"Deleted {each}.")


def _cells(each: Thing) -> list[str]:
    return [each["id"], str(each["size"]), each["content_type"], second(each["expires_at"]), each["name"]]


def _facts(each: Thing) -> Iterator[tuple[str, Any]]:
    for name in ("id", "name", "content_type", "size", "metadata"):
        yield name, each[name]
    yield from sorted(each["checksums"].items())
    yield "created", second(each["created_at"])
    yield "expires", second(each["expires_at"])
    yield "input", each["urls"]["get"]
    yield "download", each["urls"]["download"]
