"""`tidemill push`: a directory becomes a version."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress

from tidemill.cli.api import Api, CommandError
from tidemill.cli.bundle import CHUNK_BYTES, files_of
from tidemill.contracts.api import BundleFile
from tidemill.contracts.bundle import version_id

POLL_S = 0.3


def push(
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model; it is made if it does not exist.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Has cog.yaml.")
    ] = Path(),
    public: Annotated[bool, typer.Option("--public/--private", help="Who may run a model that is made.")] = False,
    hardware: Annotated[str, typer.Option(help="What a model that is made runs on.")] = "cpu",
    if_changed: Annotated[bool, typer.Option("--if-changed", help="Do nothing if the latest version is this.")] = False,
) -> None:
    """Push a model directory. Only files that the server lacks are uploaded."""
    owner, _, name = model.partition("/")
    if not owner or not name:
        raise CommandError(f"{model!r} is not of the form OWNER/NAME")
    api = Api()
    files = files_of(directory)
    found = api.find(f"models/{model}")
    if found is None:
        visibility = "public" if public else "private"
        body = {"owner": owner, "name": name, "visibility": visibility, "hardware": hardware}
        api.call("POST", "models", json=body)
        typer.echo(f"Made the {visibility} model {model}.")
    elif if_changed and (found.get("latest_version") or {}).get("id") == version_id(files):
        typer.echo(f"{model} is up to date.")
        return
    size = sum(file.size for file in files)
    typer.echo(f"Pushing {len(files)} files ({size / 1e6:.1f} MB) to {model}")
    pushed = api.call("POST", f"models/{model}/pushes", json={"files": msgspec.to_builtins(files)})
    _upload(api, directory, files, set(pushed["missing"]))
    if pushed["missing"]:
        pushed = api.call("POST", f"pushes/{pushed['id']}/start")
    _follow(api, pushed)


def _upload(api: Api, directory: Path, files: list[BundleFile], missing: set[str]) -> None:
    wanted = {file.sha256: file for file in files if file.sha256 in missing}
    with Progress(transient=True) as progress:
        task = progress.add_task("Uploading", total=sum(file.size for file in wanted.values()))

        def body(path: Path) -> Iterator[bytes]:
            with path.open("rb") as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    progress.advance(task, len(chunk))
                    yield chunk

        for digest, file in wanted.items():
            headers = {"Content-Length": str(file.size), "Content-Type": "application/octet-stream"}
            api.call("PUT", f"blobs/{digest}", content=body(directory / file.path), headers=headers)


def _follow(api: Api, pushed: dict[str, Any]) -> None:
    shown = 0
    while pushed["status"] in {"queued", "building"}:
        shown = _show(pushed["logs"], shown)
        time.sleep(POLL_S)
        pushed = api.call("GET", f"pushes/{pushed['id']}")
    _show(pushed["logs"], shown)
    for warning in pushed["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    if pushed["status"] != "succeeded":
        raise CommandError(f"the push failed: {pushed['error']}")
    typer.echo(f"Version {pushed['model']}:{pushed['version']}")


def _show(logs: str, shown: int) -> int:
    typer.echo(logs[shown:], nl=False)
    return len(logs)
