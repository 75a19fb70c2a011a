"""Deployments over the API: versions under a name of one's own, with instances of their own."""

from typing import Annotated, Any

import typer

from tidemill.cli.api import Api, pages
from tidemill.cli.errors import CommandError

deployment = typer.Typer(help="Deployments: a version under a name, with instances of its own.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The deployment's name; owner/name works too.")]
Hardware = Annotated[str | None, typer.Option(help="One of those that the API's GET /hardware lists.")]
Least = Annotated[int | None, typer.Option("--min", help="Instances that are kept running, 0 to 5.")]
Most = Annotated[int | None, typer.Option("--max", help="Instances at most, 0 to 20; 0 disables the deployment.")]


@deployment.command("create")
def create(
    name: Name,
    model: Annotated[str, typer.Argument(help="owner/name for its latest version, or owner/name:version.")],
    hardware: Hardware = "cpu",
    least: Least = 0,
    most: Most = 1,
) -> None:
    """Make a deployment."""
    api = Api()
    model_name, _, version = model.partition(":")
    body = {
        "name": name.rpartition("/")[2],
        "model": model_name,
        "version": version or _latest(api, model_name),
        "hardware": hardware,
        "min_instances": least,
        "max_instances": most,
    }
    _show(api.call("POST", "deployments", json=body))


@deployment.command("list")
def list_() -> None:
    """List the account's deployments."""
    for each in pages(Api(), "deployments"):
        _show(each)


@deployment.command("update")
def update(
    name: Name,
    version: Annotated[str | None, typer.Option(help="A version of its model, or `latest`.")] = None,
    hardware: Hardware = None,
    least: Least = None,
    most: Most = None,
) -> None:
    """Make the next release. What is not given stays."""
    api = Api()
    path = _path(api, name)
    if version == "latest":
        version = _latest(api, api.call("GET", path)["current_release"]["model"])
    wishes = {"version": version, "hardware": hardware, "min_instances": least, "max_instances": most}
    body = {key: value for key, value in wishes.items() if value is not None}
    if not body:
        raise CommandError("nothing to change: give --version, --hardware, --min or --max")
    _show(api.call("PATCH", path, json=body))


@deployment.command("delete")
def delete(name: Name) -> None:
    """Delete a deployment that is offline and has been unused for 15 minutes."""
    api = Api()
    api.call("DELETE", _path(api, name))
    typer.echo(f"Deleted {name}.")


def _path(api: Api, name: str) -> str:
    owner = "" if "/" in name else f"{api.call('GET', 'account')['username']}/"
    return f"deployments/{owner}{name}"


def _latest(api: Api, model: str) -> str:
    latest: dict[str, Any] | None = api.call("GET", f"models/{model}")["latest_version"]
    if latest is None:
        raise CommandError(f"{model} has no version yet")
    return str(latest["id"])


def _show(made: dict[str, Any]) -> None:
    release = made["current_release"]
    scale = release["configuration"]
    typer.echo(
        f"{made['owner']}/{made['name']}  release {release['number']}  {release['model']}:{release['version'][:12]}  "
        f"{scale['hardware']}  {scale['min_instances']} to {scale['max_instances']} instances"
    )
