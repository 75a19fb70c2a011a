"""`tidemill train`: a model's train() runs, and its weights become a version of the destination."""

from typing import Annotated, Final

import typer

from tidemill.cli.api import model_lookup
from tidemill.cli.api.client import Api
from tidemill.cli.api.files import upload
from tidemill.cli.errors import Canceled, CommandError
from tidemill.cli.input_values import values_of
from tidemill.cli.run.logs import followed

TRAINING: Final = "TrainingInput"  # of a version's schema; only of one that can be trained


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
    named, made = model_lookup.name_of(model), model_lookup.new_name_of(destination)
    api = Api()
    model_lookup.must_own(api, made)
    found = model_lookup.find(api, named)
    if TRAINING not in found.schema["components"]["schemas"]:
        raise CommandError(f"{named.model} cannot be trained: its cog.yaml names no train function")
    values = values_of(inputs or [], found.schema, TRAINING, send=lambda path: upload(api, path))
    if api.find(f"models/{made.model}") is None:
        _make(api, made.model, found.model["hardware"])
    body = {"destination": made.model, "input": values}
    training = api.call("POST", f"models/{named.model}/versions/{found.version}/trainings", json=body)
    typer.echo(f"training {training['id']}", err=True)
    try:
        ended = followed(api, f"trainings/{training['id']}", training)
    except KeyboardInterrupt:
        api.call("POST", f"trainings/{training['id']}/cancel")
        raise Canceled("canceled") from None
    if ended["status"] != "succeeded":
        raise CommandError(f"{ended['status']}: {ended['error'] or ''}".strip())
    version = (ended["output"] or {}).get("version") if isinstance(ended["output"], dict) else None
    typer.echo(f"Version {version}" if version else "It returned no weights: there is no new version.")


def _make(api: Api, destination: str, hardware: str) -> None:
    owner, _, name = destination.partition("/")
    api.call("POST", "models", json={"owner": owner, "name": name, "visibility": "private", "hardware": hardware})
    typer.echo(f"Made the private model {destination}.", err=True)
