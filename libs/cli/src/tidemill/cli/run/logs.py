"""`tidemill logs`: prints the logs of a prediction, a training, or a model's predictions, and follows them."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.cli.output import terminal

POLL_S: Final = 0.5  # as often as the logs of long predictions are saved
OPEN: Final = frozenset({"starting", "processing"})
LATEST: Final = 10  # predictions of a model that are printed
FOLLOWED: Final = 20  # predictions of a model that are polled at a time


def logs(
    of: Annotated[str, typer.Argument(metavar="ID|OWNER/NAME", help="A prediction, a training, or a model.")],
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it has ended; of a model, for ever.")] = (
        False
    ),
) -> None:
    """Print logs. Of a model: those of your latest predictions, the oldest first."""
    api = Api()
    try:
        if "/" in of:
            _print_model(api, of, follow=follow)
        else:
            _print_one(api, of, follow=follow)
    except KeyboardInterrupt:
        raise typer.Exit from None  # the prediction itself goes on


def _print_one(api: Api, identifier: str, *, follow: bool) -> None:
    path, found = next(
        ((path, found) for path in ("predictions", "trainings") if (found := api.find(f"{path}/{identifier}"))),
        ("", None),
    )
    if found is None:
        raise CommandError(f"there is no prediction or training {identifier} of yours")
    ended = follow_logs(api, f"{path}/{identifier}", found) if follow else _print_all(found)
    if ended["error"]:
        typer.echo(f"{ended['status']}: {ended['error']}", err=True)


def _print_all(prediction: dict[str, Any]) -> dict[str, Any]:
    terminal.print_log(prediction["logs"] or "")
    return prediction


def follow_logs(api: Api, path: str, prediction: dict[str, Any]) -> dict[str, Any]:
    """Print the logs as they come and return the ended prediction."""
    printed = ""
    while True:
        now = prediction["logs"] or ""
        terminal.print_log(new_text(printed, now))
        printed = now
        if prediction["status"] not in OPEN:
            return prediction
        time.sleep(POLL_S)
        prediction = api.call("GET", path)


def new_text(before: str, now: str) -> str:
    """Return what is new in a log. A new attempt starts the log again."""
    if now.startswith(before):
        return now[len(before) :]
    # A full log ends with a note of how much was dropped; the note changes.
    same = next((at for at, (old, new) in enumerate(zip(before, now, strict=False)) if old != new), len(now))
    return now[same:]


def _print_model(api: Api, model: str, *, follow: bool) -> None:
    if api.find(f"models/{model}") is None:
        raise CommandError(f"there is no model {model} that you may see")
    printed: dict[str, str] = {}
    while True:
        for prediction in _latest(api, model, FOLLOWED if follow else LATEST):
            _print_new(prediction, printed)
        if not follow:
            return
        time.sleep(POLL_S)


def _latest(api: Api, model: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield the newest `count` predictions, the oldest first. Lists omit logs, so each prediction is fetched."""
    page = api.call("GET", "predictions", params={"model": model})["results"][:count]
    for listed in reversed(page):
        prediction = api.find(f"predictions/{listed['id']}")
        if prediction is not None:
            yield prediction


def _print_new(prediction: dict[str, Any], printed: dict[str, str]) -> None:
    """Print what is new of a prediction's logs, below a line with its id. `printed` holds the state printed last."""
    identifier, status = prediction["id"], prediction["status"]
    now = f"{status}\n{prediction['logs'] or ''}"
    if printed.get(identifier) == now:
        return
    typer.echo(f"==> {identifier} {status}")
    before = printed.get(identifier, "").partition("\n")[2]
    terminal.print_log(new_text(before, prediction["logs"] or ""))
    if prediction["error"] and status not in OPEN:
        typer.echo(prediction["error"])
    printed[identifier] = now
