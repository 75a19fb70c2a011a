"""`tidemill push`: uploads a directory and makes a version of it."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from tidemill.cli.api import model_lookup
from tidemill.cli.api.client import Api, retry_while_unavailable
from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.bundle import list_files, read_chunks
from tidemill.cli.output import terminal
from tidemill.cli.push import checks, metadata
from tidemill.cli.push.metadata import ModelMetadata
from tidemill.cli.resources import examples
from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import bundle_digest

POLL_S = 0.3


def push(
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model; it is made if it does not exist.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Has cog.yaml.")
    ] = Path(),
    *,
    public: Annotated[
        bool | None, typer.Option("--public/--private", help="Who may run it; a new one is private.")
    ] = None,
    hardware: Annotated[str | None, typer.Option(help="What it runs on; a new one on cpu.")] = None,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Push nothing if the latest version is this.")
    ] = False,
    description: Annotated[
        str | None, typer.Option(help="One sentence or two; else the README's first paragraph, if it has none.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Markdown; else README.md in DIR.")
    ] = None,
    license_url: Annotated[
        str | None, typer.Option(help="Else the first link under the heading Licence in the README, if it has none.")
    ] = None,
    github_url: Annotated[str | None, typer.Option(help="Where its source is.")] = None,
    cover: Annotated[str | None, typer.Option(metavar="URL", help="Its cover image.")] = None,
    example: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="An input that is run and shown; else example.json in DIR."),
    ] = None,
    no_example: Annotated[bool, typer.Option("--no-example", help="Run no example.")] = False,
    lint: Annotated[bool, typer.Option("--lint", help="Say what is wrong with DIR, and send nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The same, and also build and import it on this machine.")
    ] = False,
) -> None:
    """Push a model directory. Only files that the server lacks are uploaded.

    Then the model is told what the options and the README say of it, and when it has no example yet, one is run.
    """
    named = model_lookup.parse_new_model(model)
    if lint or dry_run:
        checks.report(directory, imports=dry_run)
        return
    checks.check(directory)
    about = ModelMetadata(
        description=description,
        readme=metadata.read_readme(readme, directory),  # read first, so that a failure leaves nothing created
        license_url=license_url,
        github_url=github_url,
        cover_image_url=cover,
        visibility=None if public is None else "public" if public else "private",
        hardware=hardware,
    )
    api = Api()
    model_lookup.require_owner(api, named)
    _push_files(api, model, directory, about, if_changed=if_changed)
    changed = metadata.update_model(api, model, about)
    if changed:
        typer.echo(f"Set {', '.join(changed)}.")
    if not no_example:
        _show_example(api, model, example, directory)


def _push_files(api: Api, model: str, directory: Path, about: ModelMetadata, *, if_changed: bool) -> None:
    files = list_files(directory)
    found = api.find(f"models/{model}")
    if found is None:
        _create_model(api, model, about.hardware or "cpu")
    elif if_changed and (found.get("latest_version") or {}).get("digest") == bundle_digest(files):
        typer.echo(f"{model} is up to date.")
        return
    try:
        _send(api, model, directory, files)
    except (CommandError, KeyboardInterrupt):
        if found is None:
            _delete_model(api, model)
        raise


def _send(api: Api, model: str, directory: Path, files: list[BundleFile]) -> None:
    size = sum(file.size for file in files)
    typer.echo(f"Pushing {len(files)} files ({size / 1e6:.1f} MB) to {model}")
    pushed = api.call("POST", f"models/{model}/pushes", json={"files": msgspec.to_builtins(files)})
    _upload(api, directory, files, set(pushed["missing"]))
    if pushed["missing"]:
        pushed = api.call("POST", f"pushes/{pushed['id']}/start")
    _follow(api, pushed)


def _create_model(api: Api, model: str, hardware: str) -> None:
    """Create a private model. Its real visibility is set once it has a version."""
    owner, _, name = model.partition("/")
    api.call("POST", "models", json={"owner": owner, "name": name, "visibility": "private", "hardware": hardware})
    typer.echo(f"Made the private model {model}.")


def _delete_model(api: Api, model: str) -> None:
    """Delete the model that this push created. The API refuses it if somebody has pushed a version meanwhile."""
    with contextlib.suppress(CommandError):
        api.call("DELETE", f"models/{model}")
        typer.echo(f"Removed the model {model} again.")


def _show_example(api: Api, model: str, given: Path | None, directory: Path) -> None:
    """Run the example and attach it. A failure is a warning: the version exists."""
    file = given or directory / examples.EXAMPLE
    if (given is None and not file.is_file()) or api.call("GET", f"models/{model}")["default_example"] is not None:
        return
    try:
        examples.keep(api, model, str(examples.run(api, model, file)["id"]))
    except CommandError as error:
        typer.echo(f"warning: {file.name} was not made an example: {error}", err=True)
    else:
        typer.echo(f"Ran {file.name}: it is the model's example.")


def _upload(api: Api, directory: Path, files: list[BundleFile], missing: set[str]) -> None:
    wanted = {file.sha256: file for file in files if file.sha256 in missing}
    # Not through the escaping terminal: the progress bar moves the cursor, and prints only our own text.
    console = Console(file=sys.__stdout__)
    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task("Uploading", total=sum(file.size for file in wanted.values()))

        def body(file: BundleFile) -> Iterator[bytes]:
            for chunk in read_chunks(directory, file):
                progress.advance(task, len(chunk))
                yield chunk

        sent = 0
        for digest, file in wanted.items():

            def send(file: BundleFile = file, path: str = f"blobs/{digest}", sent: int = sent) -> None:
                progress.update(task, completed=sent)
                headers = {"Content-Length": str(file.size), "Content-Type": "application/octet-stream"}
                api.call("PUT", path, content=body(file), headers=headers)

            retry_while_unavailable(send)
            sent += file.size


def _follow(api: Api, pushed: dict[str, Any]) -> None:
    shown, last_place = 0, None
    while pushed["status"] in {"queued", "building"}:
        place = pushed.get("queue_position")
        if place not in {None, last_place}:
            last_place = place
            typer.echo(f"Waiting to be built: number {place} in the queue.")
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
    terminal.print_log(logs[shown:])
    return len(logs)
