"""`tidemill predictions`: lists, shows, cancels, deletes and shares the account's predictions over the API."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.output.printing import (
    DEFAULT_LIMIT,
    JsonObject,
    JsonOption,
    LimitOption,
    format_time,
    print_list,
    print_one,
)

predictions = typer.Typer(help="Predictions: list, show, cancel, delete and share them.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A prediction's id.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of predictions.")]


@predictions.command("list")
def list_(
    *,
    model: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Only those of this model.")] = None,
    deployment: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Only those of this deployment.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those: starting, processing, succeeded, failed, canceled, aborted.")
    ] = None,
    limit: LimitOption = DEFAULT_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """List predictions, the newest first.

    A line has id, status, model, when it was made, why it failed.
    """
    wishes = {"model": model, "deployment": deployment, "status": status}
    query = {name: value for name, value in wishes.items() if value is not None}
    print_list(paginate(Api(), "predictions", query), cells, limit=limit, as_json=as_json)


@predictions.command("get")
def get(prediction: Id, as_json: JsonOption = False) -> None:
    """Show a prediction: its state, input, output, times and cost."""
    print_one(Api().call("GET", f"predictions/{prediction}"), facts, as_json=as_json)


@predictions.command("cancel")
def cancel(predictions: Ids) -> None:
    """Cancel predictions. One that has ended stays as it is."""
    api = Api()
    for each in predictions:
        typer.echo(f"{each} {api.call('POST', f'predictions/{each}/cancel')['status']}")


@predictions.command("delete")
def delete(predictions: Ids) -> None:
    """Delete predictions with all that belongs to them, for good.

    That is their input, output, logs and files. One that has not ended is canceled first.
    """
    api = Api()
    for each in predictions:
        api.call("DELETE", f"predictions/{each}")
        typer.echo(f"Deleted {each}.")


@predictions.command("share")
def share(prediction: Id, off: Annotated[bool, typer.Option("--off", help="Share it no longer.")] = False) -> None:
    """Let everybody see a prediction; print its address."""
    shared = Api().call("DELETE" if off else "POST", f"predictions/{prediction}/share")
    typer.echo(f"{prediction} is not shared any more." if off else shared["urls"]["web"])


def cells(each: JsonObject) -> list[str]:
    """Return the columns of a prediction or training in a list."""
    why = each.get("error") or ""
    return [each["id"], each["status"], each["model"], format_time(each["created_at"]), str(why).partition("\n")[0]]


def facts(each: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield the names and values that are shown of one prediction or training."""
    yield "id", each["id"]
    yield "status", each["status"]
    yield "waits for", each.get("waiting_for")
    yield "waits since", format_time(each.get("waiting_since"))
    yield "set-up prints", each.get("setup_logs")
    yield "model", f"{each['model']}:{each['version']}"
    yield "deployment", each.get("deployment")
    yield "destination", each.get("destination")
    yield "created", format_time(each["created_at"])
    yield "started", format_time(each.get("started_at"))
    yield "completed", format_time(each.get("completed_at"))
    yield "input", each["input"]
    yield "output", each["output"]
    yield "error", each["error"]
    yield "error code", each.get("error_code")
    yield "metrics", each.get("metrics")
    yield "shared since", format_time(each.get("shared_at"))
    yield "data", "removed" if each["data_removed"] else None
    yield "logs", f"tidemill logs {each['id']}" if each["logs"] else None
