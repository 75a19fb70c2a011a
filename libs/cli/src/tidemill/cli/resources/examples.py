"""`tidemill example`: predictions that show what a model does, made from an input or an existing prediction."""

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import AllOrLimitOption, JsonOption, one_line, print_list

EXAMPLE: Final = "example.json"
POLL_S: Final = 0.3
OPEN: Final = frozenset({"starting", "processing"})

example = typer.Typer(help="The examples that a model shows.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(metavar="OWNER/NAME")]


@example.command("add")
def add(
    model: Model,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help='JSON: {"input": {…}}; it is run.'),
    ] = None,
    prediction: Annotated[str | None, typer.Option(help="The id of a prediction of yours instead.")] = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing if the model has an example.")] = False,
) -> None:
    """Make an example of an input, which is run, or of a prediction."""
    api = Api()
    if if_missing and api.call("GET", f"models/{model}")["default_example"] is not None:
        typer.echo(f"{model} has an example.")
        return
    if (file is None) == (prediction is None):
        raise CommandError("either a FILE or --prediction has to be given")
    if prediction is None:
        assert file is not None
        prediction = str(run(api, model, file)["id"])
    keep(api, model, prediction)
    typer.echo(f"{prediction} is an example of {model}.")


@example.command("list")
def list_(model: Model, limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """The ids of a model's examples, with their inputs."""
    found = paginate(Api(), f"models/{model}/examples")
    print_list(found, lambda each: [each["id"], one_line(each["input"])], limit=limit, as_json=as_json)


@example.command("remove")
def remove(model: Model, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Take an example away. The prediction stays, its data only as long as that of any other."""
    Api().call("DELETE", f"models/{model}/examples/{prediction}")


def run(api: Api, model: str, file: Path) -> dict[str, Any]:
    """Run the input in `file` and return the finished prediction. Raise CommandError if it did not succeed."""
    prediction = api.call("POST", f"models/{model}/predictions", json={"input": read(file)})
    while prediction["status"] in OPEN:
        time.sleep(POLL_S)
        prediction = api.call("GET", f"predictions/{prediction['id']}")
    if prediction["status"] != "succeeded":
        raise CommandError(f"the example {prediction['status']}: {prediction['error'] or ''}".strip())
    return dict(prediction)


def keep(api: Api, model: str, prediction: str) -> None:
    api.call("POST", f"models/{model}/examples", json={"prediction": prediction})


def read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except ValueError as error:
        raise CommandError(f"{file} is no JSON: {error}") from None
    given = document.get("input") if isinstance(document, dict) else None
    if not isinstance(given, dict):
        raise CommandError(f'{file} is not of the form {{"input": {{…}}}}')
    return given
