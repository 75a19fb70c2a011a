"""`tidemill run`: one prediction, its output as it comes."""

import json
import mimetypes
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import httpx
import typer

from tidemill.cli.api import Api, CommandError

POLL_S = 0.2
OPEN = {"starting", "processing"}


def run(
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME[:VERSION]")],
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", help="key=value; key=@path sends a file.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where file outputs are saved.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished prediction as JSON.")] = False,
) -> None:
    """Run a model and print what it makes; text appears as it comes, files are saved."""
    api = Api()
    values = dict(input_of(api, item) for item in inputs or [])
    path = "predictions" if ":" in model else f"models/{model}/predictions"
    body = {"input": values, **({"version": model} if ":" in model else {})}
    prediction = api.call("POST", path, json=body)
    try:
        prediction = _follow(api, prediction, quiet=as_json)
    except KeyboardInterrupt:
        api.call("POST", f"predictions/{prediction['id']}/cancel")
        raise CommandError("canceled") from None
    if as_json:
        typer.echo(json.dumps(prediction, indent=2))
    if prediction["status"] != "succeeded":
        raise CommandError(f"{prediction['status']}: {prediction['error'] or ''}\n{prediction['logs'] or ''}".strip())
    if not as_json:
        _save(prediction["output"], output, api)


def input_of(api: Api, item: str) -> tuple[str, Any]:
    """Name and value of `key=value`; a file is uploaded and its URL is the value. Raises CommandError."""
    key, separator, value = item.partition("=")
    if not separator:
        raise CommandError(f"{item!r} is not of the form key=value")
    if value.startswith("@"):
        return key, _upload(api, Path(value[1:]))
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _upload(api: Api, path: Path) -> str:
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    with path.open("rb") as stream:
        uploaded = api.call("POST", "files", files={"content": (path.name, stream, kind)})
    return str(uploaded["urls"]["get"])


def _follow(api: Api, prediction: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Polls to the end, printing the items of a growing list of text as they come."""
    printed, status = 0, ""
    while True:
        if prediction["status"] in OPEN and prediction["status"] != status and not quiet:
            status = prediction["status"]
            typer.echo(f"{status}…", err=True)
        items = prediction["output"]
        if isinstance(items, list) and not quiet and all(isinstance(item, str) and not _is_url(item) for item in items):
            typer.echo("".join(items[printed:]), nl=False)
            printed = len(items)
        if prediction["status"] not in OPEN:
            if printed:
                typer.echo()
                prediction["output"] = None
            return prediction
        time.sleep(POLL_S)
        prediction = api.call("GET", f"predictions/{prediction['id']}")


def _is_url(value: str) -> bool:
    return value.startswith(("http://", "https://", "data:"))


def _save(output: Any, folder: Path, api: Api) -> None:
    values = output if isinstance(output, list) else [] if output is None else [output]
    for value in values:
        if isinstance(value, str) and value.startswith(str(api.http.base_url).removesuffix("/v1/")):
            typer.echo(_download(value, folder))
        else:
            typer.echo(value if isinstance(value, str) else json.dumps(value))


def _download(url: str, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / Path(unquote(urlsplit(url).path)).name
    with httpx.stream("GET", url, timeout=60) as response:
        if not response.is_success:
            raise CommandError(f"could not download {url}: {response.status_code}")
        with target.open("wb") as stream:
            for chunk in response.iter_bytes():
                stream.write(chunk)
    return str(target)
