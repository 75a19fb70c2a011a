"""`tidemill search` and `tidemill hardware`: the models, pages and hardware that can be used."""

from typing import Annotated

import typer

from tidemill.cli.api.client import Api
from tidemill.cli.output.printing import JsonObject, JsonOption, align, one_line, print_json, print_list


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to look for.")],
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=50, help="How many models at most.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Find models, collections and pages of the documentation; the best first."""
    found = Api().call("GET", "search", params={"query": " ".join(words), "limit": limit})
    if as_json:
        print_json(found)
        return
    rows = [
        *(_model(each["model"]) for each in found["models"]),
        *(["collection", each["slug"], one_line(each["description"])] for each in found["collections"]),
        *(["page", each["href"], each["name"]] for each in found["pages"]),
    ]
    for line in align(rows):
        typer.echo(line)
    if not rows:
        typer.echo("Nothing was found.", err=True)


def _model(model: JsonObject) -> list[str]:
    return ["model", f"{model['owner']}/{model['name']}", one_line(model["description"] or "")]


def hardware(as_json: JsonOption = False) -> None:
    """List the hardware that models and deployments may ask for, with what a second costs."""
    print_list(Api().call("GET", "hardware"), _machine, limit=None, as_json=as_json)


def _machine(each: JsonObject) -> list[str]:
    return [each["sku"], f"${each['price_usd_per_s']:.6f} a second", each["name"]]
