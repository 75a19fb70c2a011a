"""`tidemill trainings`: lists, shows and cancels the account's trainings. `tidemill train` creates one."""

from typing import Annotated

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.output.printing import DEFAULT_LIMIT, JsonOption, LimitOption, print_list, print_one
from tidemill.cli.resources.predictions import cells, facts

trainings = typer.Typer(help="Trainings: list, show and cancel them.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A training's id.")]


@trainings.command("list")
def list_(limit: LimitOption = DEFAULT_LIMIT, as_json: JsonOption = False) -> None:
    """List trainings, the newest first.

    A line has id, status, model, when it was made, why it failed.
    """
    print_list(paginate(Api(), "trainings"), cells, limit=limit, as_json=as_json)


@trainings.command("get")
def get(training: Id, as_json: JsonOption = False) -> None:
    """Show a training: its state, input, output and times."""
    print_one(Api().call("GET", f"trainings/{training}"), facts, as_json=as_json)


@trainings.command("cancel")
def cancel(training: Id) -> None:
    """Cancel a training. One that has ended stays as it is."""
    typer.echo(f"{training} {Api().call('POST', f'trainings/{training}/cancel')['status']}")
