"""`tidemill train`: runs a model's train() and makes a version of the destination from its weights."""

from typing import Annotated, Final

import typer

from tidemill.cli.api import model_lookup
from tidemill.cli.api.client import Api
from tidemill.cli.api.files import upload_for_url
from tidemill.cli.errors import Canceled, CommandError
from tidemill.cli.input_values import parse_values
from tidemill.cli.run.logs import follow_logs

TRAINING: Final = "TrainingInput"  # in the schema of versions that can be trained, and only there


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
    named, made = model_lookup.parse_reference(model), model_lookup.parse_new_model(destination)
    api = Api()
    model_lookup.require_owner(api, made)
    found = model_lookup.find_version(api, named)
    if TRAINING not in found.schema["components"]["schemas"]:
        raise CommandError(f"{named.model} cannot be trained: its cog.yaml names no train function")
    values = parse_values(inputs or [], found.schema, TRAINING, send=lambda path: upload_for_url(api, path))
    if api.find(f"models/{made.model}") is None:
        _create_model(api, made.model, found.model["hardware"])
    body = {"destination": made.model, "input": values}
    training = api.call("POST", f"models/{named.model}/versions/{found.version}/trainings", json=body)
    typer.echo(f"training {training['id']}", err=True)
    try:
        ended = follow_logs(api, f"trainings/{training['id']}", training)
    except KeyboardInterrupt:
        api.call("POST", f"trainings/{training['id']}/cancel")
        raise Canceled("canceled") from None
    if ended["status"] != "succeeded":
        raise CommandError(f"{ended['status']}: {ended['error'] or ''}".strip())
    version = (ended["output"] or {}).get("version") if isinstance(ended["output"], dict) else None
    typer.echo(f"Version {version}" if version else "It returned no weights: there is no new version.")


def _create_model(api: Api, destination: str, hardware: str) -> None:
    owner, _, name = destination.partition("/")
    api.call("POST", "models", json={"owner": owner, "name": name, "visibility": "private", "hardware": hardware})
    typer.echo(f"Made the private model {destination}.", err=True)
