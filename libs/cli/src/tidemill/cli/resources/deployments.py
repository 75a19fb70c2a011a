"""`tidemill deployments`: versions under a name of their own, with instances of their own, over the API."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import (
    AllOrLimitOption,
    JsonObject,
    JsonOption,
    format_time,
    print_json,
    print_list,
    print_one,
)

deployments = typer.Typer(help="Deployments: a version under a name, with instances of its own.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The deployment's name; owner/name works too.")]
Hardware = Annotated[str | None, typer.Option(help="What it runs on; `tidemill hardware` lists the names.")]
Least = Annotated[int | None, typer.Option("--min", help="Instances that are kept running, 0 to 5.")]
Most = Annotated[int | None, typer.Option("--max", help="Instances at most, 0 to 20; 0 disables the deployment.")]


@deployments.command("create")
def create(
    name: Name,
    model: Annotated[str, typer.Argument(help="owner/name for its latest version, or owner/name:version.")],
    *,
    hardware: Hardware = "cpu",
    least: Least = 0,
    most: Most = 1,
    as_json: JsonOption = False,
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
    _show(api.call("POST", "deployments", json=body), as_json=as_json)


@deployments.command("list")
def list_(limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """List the account's deployments."""
    print_list(paginate(Api(), "deployments"), _cells, limit=limit, as_json=as_json)


@deployments.command("get")
def get(name: Name, as_json: JsonOption = False) -> None:
    """Show a deployment: what it runs, on what, and who changed it last."""
    api = Api()
    print_one(api.call("GET", _path(api, name)), _facts, as_json=as_json)


@deployments.command("update")
def update(
    name: Name,
    *,
    version: Annotated[str | None, typer.Option(help="A version of its model, or `latest`.")] = None,
    hardware: Hardware = None,
    least: Least = None,
    most: Most = None,
    as_json: JsonOption = False,
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
    _show(api.call("PATCH", path, json=body), as_json=as_json)


@deployments.command("delete")
def delete(name: Name) -> None:
    """Delete a deployment. It must be offline and unused for 15 minutes."""
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


def _show(made: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        typer.echo("  ".join(_cells(made)))


def _cells(each: JsonObject) -> list[str]:
    release = each["current_release"]
    scale = release["configuration"]
    return [
        f"{each['owner']}/{each['name']}",
        f"release {release['number']}",
        f"{release['model']}:{release['version'][:12]}",
        scale["hardware"],
        f"{scale['min_instances']} to {scale['max_instances']} instances",
    ]


def _facts(each: JsonObject) -> Iterator[tuple[str, Any]]:
    release = each["current_release"]
    scale = release["configuration"]
    yield "deployment", f"{each['owner']}/{each['name']}"
    yield "release", str(release["number"])
    yield "version", f"{release['model']}:{release['version']}"
    yield "hardware", scale["hardware"]
    yield "instances", f"{scale['min_instances']} to {scale['max_instances']}"
    yield "since", format_time(release["created_at"])
    yield "made by", release["created_by"]["username"]
