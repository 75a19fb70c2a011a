"""`tidemill search` and `tidemill hardware`: what is there to be used."""

from typing import Annotated

import typer

from tidemill.cli.api.client import Api
from tidemill.cli.output.printing import Json, Thing, aligned, show_json, show_list, text


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to look for.")],
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=50, help="How many models at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Find models, collections and pages of the documentation; the best first."""
    found = Api().call("GET", "search", params={"query": " ".join(words), "limit": limit})
    if as_json:
        show_json(found)
        return
    rows = [
        *(_model(each["model"]) for each in found["models"]),
        *(["collection", each["slug"], text(each["description"])] for each in found["collections"]),
        *(["page", each["href"], each["name"]] for each in found["pages"]),
    ]
    for line in aligned(rows):
        typer.echo(line)
    if not rows:
        typer.echo("Nothing was found.", err=True)


def _model(model: Thing) -> list[str]:
    return ["model", f"{model['owner']}/{model['name']}", text(model["description"] or "")]


def hardware(as_json: Json = False) -> None:
    """List the hardware that models and deployments may ask for, with what a second costs."""
    show_list(Api().call("GET", "hardware"), _machine, limit=None, as_json=as_json)


def _machine(each: Thing) -> list[str]:
    return [each["sku"], f"${each['price_usd_per_s']:.6f} a second", each["name"]]
