"""`tidemill secret`: the secrets that a model gets as environment variables when it boots.

A value is never an argument: shell histories and process lists would show it.
"""

import sys
from typing import Annotated

import typer

from tidemill.cli.api.client import Api
from tidemill.cli.api.model_lookup import parse_reference
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import JsonOption, format_time, print_list
from tidemill.contracts.api.model_secrets import SECRET_MINIMUM_CHARS

secret = typer.Typer(help="Run-time secrets of your models.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(metavar="OWNER/NAME")]
ModelReference = Annotated[str, typer.Argument(metavar="NAME", help="The environment variable's name.")]


@secret.command("set")
def set_(model: Model, name: ModelReference) -> None:
    """Set a secret. Its value is read from standard input, or asked for at a terminal."""
    value = typer.prompt("Value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    if len(value) < SECRET_MINIMUM_CHARS:
        raise CommandError(f"a secret needs at least {SECRET_MINIMUM_CHARS} characters")
    Api().call("PUT", f"{_path(model)}/{name}", json={"value": value})
    typer.echo(f"{name} is set; the model gets it at its next boot")


@secret.command("list")
def list_(model: Model, as_json: JsonOption = False) -> None:
    """List the names of a model's secrets, and when each was set. Values are never shown."""
    found = Api().call("GET", _path(model))
    print_list(found, lambda each: [each["name"], format_time(each["updated_at"])], limit=None, as_json=as_json)


@secret.command("delete")
def delete(model: Model, name: ModelReference) -> None:
    """Delete a secret."""
    Api().call("DELETE", f"{_path(model)}/{name}")


def _path(model: str) -> str:
    return f"models/{parse_reference(model).model}/secrets"
