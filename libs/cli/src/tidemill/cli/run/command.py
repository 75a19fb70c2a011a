"""`tidemill run`: creates one prediction and prints its output as it comes."""

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from tidemill.cli.api import model_lookup
from tidemill.cli.api.client import Api
from tidemill.cli.api.files import download_file, upload_for_url
from tidemill.cli.errors import Canceled, CommandError
from tidemill.cli.input_values import parse_values
from tidemill.cli.output import terminal
from tidemill.cli.output.paths import OutputPaths

POLL_S = 0.2
OPEN = {"starting", "processing"}


def run(
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME[:VERSION]")],
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", help="name=value; name=@path sends a file.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where file outputs are saved.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished prediction as JSON.")] = False,
) -> None:
    """Run a model and print what it makes; text appears as it comes, files are saved."""
    api = Api()
    named = model_lookup.parse_reference(model)
    found = model_lookup.find_version(api, named)
    values = parse_values(inputs or [], found.schema, send=lambda path: upload_for_url(api, path))
    path = "predictions" if named.version else f"models/{named.model}/predictions"
    body = {"input": values, **({"version": model} if named.version else {})}
    prediction = api.call("POST", path, json=body)
    try:
        prediction = _follow(api, prediction, quiet=as_json)
    except KeyboardInterrupt:
        api.call("POST", f"predictions/{prediction['id']}/cancel")
        raise Canceled("canceled") from None
    except OSError:  # stdout is closed (`| head`), or its disk is full
        api.call("POST", f"predictions/{prediction['id']}/cancel")
        raise
    if as_json:
        typer.echo(json.dumps(prediction, indent=2))
    if prediction["status"] != "succeeded":
        terminal.print_log(_with_newline(prediction["logs"] or ""), err=True)
        raise CommandError(f"{prediction['status']}: {prediction['error'] or ''}".strip())
    if not as_json:
        _print_output(prediction["output"], output, api)


def _follow(api: Api, prediction: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Poll until the prediction has ended. Print the items of a growing list of texts as they come."""
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


def _with_newline(logs: str) -> str:
    return logs if not logs or logs.endswith("\n") else f"{logs}\n"


def _is_url(value: str) -> bool:
    return value.startswith(("http://", "https://", "data:"))


def _print_output(output: Any, folder: Path, api: Api) -> None:
    saved = _with_local_paths(output, OutputPaths(folder), str(api.http.base_url).removesuffix("/v1/"))
    for value in saved if isinstance(saved, list) else [] if saved is None else [saved]:
        typer.echo(value if isinstance(value, str) else json.dumps(value))


def _with_local_paths(value: Any, paths: OutputPaths, base: str) -> Any:
    """Return the output with the API's file URLs, wherever they are in it, downloaded and replaced by paths."""
    if isinstance(value, list):
        return [_with_local_paths(item, paths, base) for item in value]
    if isinstance(value, dict):
        return {key: _with_local_paths(item, paths, base) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(base):
        return _download(value, paths)
    return value


def _download(url: str, paths: OutputPaths) -> str:
    target = paths.reserve(Path(unquote(urlsplit(url).path)).name)
    download_file(url, target)
    return str(target)
