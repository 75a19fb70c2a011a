"""`tidemill models`: models and their versions over the API, and the operators' command `trust`."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from tidemill.cli.admin.workers import trust
from tidemill.cli.api.client import Api, paginate
from tidemill.cli.api.model_lookup import parse_new_model, parse_reference
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import (
    DEFAULT_LIMIT,
    AllOrLimitOption,
    JsonObject,
    JsonOption,
    LimitOption,
    format_time,
    one_line,
    print_list,
    print_one,
)

models = typer.Typer(help="Models: list, show, make, change and delete them and their versions.", no_args_is_help=True)
models.command("trust")(trust)
Model = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model.")]
Versioned = Annotated[str, typer.Argument(metavar="OWNER/NAME[:VERSION]", help="A model, or one of its versions.")]
Description = Annotated[str | None, typer.Option(help="One sentence or two.")]
Hardware = Annotated[str | None, typer.Option(help="What it runs on; `tidemill hardware` lists the names.")]
Public = Annotated[bool | None, typer.Option("--public/--private", help="Who may see and run it.")]

NEWEST: Final = {"sort_by": "model_created_at"}


@models.command("list")
def list_(
    *,
    owner: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Your own, private ones and empty ones too.")] = False,
    limit: LimitOption = DEFAULT_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List public models that can be run, or those of one account."""
    api = Api()
    if owner is not None and mine:
        raise CommandError("give either --owner or --mine")
    whose = api.call("GET", "account")["username"] if mine else owner
    query = {**NEWEST, **({} if whose is None else {"owner": whose})}
    print_list(paginate(api, "models", query), _cells, limit=limit, as_json=as_json)


@models.command("get")
def get(model: Versioned, as_json: JsonOption = False) -> None:
    """Show a model or a version: its inputs, hardware, example."""
    named, api = parse_reference(model), Api()
    if named.version:
        found = api.call("GET", f"models/{named.model}/versions/{named.version}")
        print_one(found, lambda version: _of_version(named.model, version), as_json=as_json)
    else:
        print_one(api.call("GET", f"models/{named.model}"), _facts, as_json=as_json)


@models.command("versions")
def versions(model: Model, limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """List a model's versions, the newest first."""
    name = parse_reference(model).model
    found = paginate(Api(), f"models/{name}/versions")
    print_list(
        found, lambda each: [f"{name}:{each['id']}", format_time(each["created_at"])], limit=limit, as_json=as_json
    )


@models.command("create")
def create(
    model: Model, *, description: Description = None, hardware: Hardware = "cpu", public: Public = False
) -> None:
    """Make an empty model. `tidemill push` makes one by itself."""
    owner, _, name = parse_new_model(model).model.partition("/")
    body = {"owner": owner, "name": name, "visibility": _visibility(public), "hardware": hardware}
    Api().call("POST", "models", json={**body, **({} if description is None else {"description": description})})
    typer.echo(f"Made the {_visibility(public)} model {model}.")


@models.command("update")
def update(model: Model, *, description: Description = None, hardware: Hardware = None, public: Public = None) -> None:
    """Change a model: its description, hardware, visibility.

    What is not given stays.
    """
    wishes = {"description": description, "hardware": hardware, "visibility": _visibility(public)}
    changes = {name: value for name, value in wishes.items() if value is not None}
    if not changes:
        raise CommandError("nothing to change: give --description, --hardware, --public or --private")
    Api().call("PATCH", f"models/{parse_reference(model).model}", json=changes)
    typer.echo(f"Set {', '.join(sorted(changes))} of {model}.")


@models.command("delete")
def delete(model: Versioned) -> None:
    """Delete a version, or a private model without any."""
    named = parse_reference(model)
    Api().call("DELETE", f"models/{named.model}{f'/versions/{named.version}' if named.version else ''}")
    typer.echo(f"Deleted {model}.")


def _visibility(public: bool | None) -> str | None:
    return None if public is None else "public" if public else "private"


def _cells(each: JsonObject) -> list[str]:
    return [
        f"{each['owner']}/{each['name']}",
        each["visibility"],
        each["hardware"],
        one_line(each["description"] or ""),
    ]


def _facts(each: JsonObject) -> Iterator[tuple[str, Any]]:
    yield "model", f"{each['owner']}/{each['name']}"
    yield "description", each["description"]
    yield "visibility", each["visibility"]
    yield "hardware", each["hardware"]
    yield "runs", str(each["run_count"])
    yield "created", format_time(each["created_at"])
    for name in ("github_url", "paper_url", "license_url", "weights_url"):
        yield name.removesuffix("_url"), each[name]
    version = each["latest_version"]
    if version is None:
        yield "version", "none yet: tidemill push makes one"
    else:
        yield from _of_version(f"{each['owner']}/{each['name']}", version)
    example = each["default_example"]
    yield "example", None if example is None else example["input"]


def _of_version(model: str, version: JsonObject) -> Iterator[tuple[str, Any]]:
    yield "version", f"{model}:{version['id']}"
    yield "pushed", format_time(version["created_at"])
    schemas = version["openapi_schema"]["components"]["schemas"]
    inputs = schemas.get("Input", {})
    properties = sorted(inputs.get("properties", {}).items(), key=lambda item: item[1].get("x-order", 0))
    for name, its in properties:
        yield f"  -i {name}", _described(its, required=name in inputs.get("required", ()), schemas=schemas)
    for warning in version.get("warnings") or ():
        yield "warning", warning


def _described(its: JsonObject, *, required: bool, schemas: JsonObject) -> str:
    """Return an input in one line: type or choices, bounds, default, description."""
    for reference in its.get("allOf", ()):
        its = {**schemas.get(str(reference.get("$ref", "")).rpartition("/")[2], {}), **its}
    kinds = [each["type"] for each in its.get("anyOf", ()) if each.get("type") not in (None, "null")]
    kind = "file" if its.get("format") == "uri" else its.get("type") or " or ".join(kinds) or "anything"
    words = [f"one of {', '.join(map(one_line, its['enum']))}" if "enum" in its else str(kind)]
    words += [f"{name} {its[key]}" for name, key in (("at least", "minimum"), ("at most", "maximum")) if key in its]
    if "default" in its:
        words.append(f"default {one_line(its['default'])}")
    if required:
        words.append("required")
    said = its.get("description")
    return f"{', '.join(words)}{f': {said}' if said else ''}"
