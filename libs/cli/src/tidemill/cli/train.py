"""`tidemill train`: a model's train() runs, and its weights become a version of the destination."""

from typing import Annotated

import typer

from tidemill.cli.api import Api, CommandError
from tidemill.cli.logs import followed
from tidemill.cli.run import input_of


def train(
    model: Annotated[
        str, typer.Argument(metavar="OWNER/NAME[:VERSION]", help="Its latest version, else the one named.")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Gets the new version; it is made if it does not exist.")
    ],
    *,
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", help="name=value; name=@path sends a file.")
    ] = None,
) -> None:
    """Train a model and print the version that comes of it; its logs appear as they come. Ctrl-C cancels."""
    name, _, version = model.partition(":")
    if not all(name.partition("/")) or not all(destination.partition("/")):
        raise CommandError("models are named OWNER/NAME")
    api = Api()
    source = api.call("GET", f"models/{name}")
    version = version or (source["latest_version"] or {}).get("id", "")
    if not version:
        raise CommandError(f"{name} has no version")
    values = dict(input_of(api, item) for item in inputs or [])
    if api.find(f"models/{destination}") is None:
        _make(api, destination, source["hardware"])
    body = {"destination": destination, "input": values}
    training = api.call("POST", f"models/{name}/versions/{version}/trainings", json=body)
    typer.echo(f"training {training['id']}", err=True)
    try:
        ended = followed(api, f"trainings/{training['id']}", training)
    except KeyboardInterrupt:
        api.call("POST", f"trainings/{training['id']}/cancel")
        raise CommandError("canceled") from None
    if ended["status"] != "succeeded":
        raise CommandError(f"{ended['status']}: {ended['error'] or ''}".strip())
    made = (ended["output"] or {}).get("version") if isinstance(ended["output"], dict) else None
    typer.echo(f"Version {made}" if made else "It returned no weights: there is no new version.")


def _make(api: Api, destination: str, hardware: str) -> None:
    owner, _, name = destination.partition("/")
    api.call("POST", "models", json={"owner": owner, "name": name, "visibility": "private", "hardware": hardware})
    typer.echo(f"Made the private model {destination}.", err=True)
