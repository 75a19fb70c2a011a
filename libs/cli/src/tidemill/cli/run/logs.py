"""`tidemill logs`: what a prediction or a training printed, or the predictions of a model, as it grows."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.cli.output import terminal

POLL_S: Final = 0.5  # as often as the rows of long runs are brought up to date
OPEN: Final = frozenset({"starting", "processing"})
LATEST: Final = 10  # predictions of a model that are shown
FOLLOWED: Final = 20  # predictions of a model that are asked about at a time


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
            _of_model(api, of, follow=follow)
        else:
            _of_one(api, of, follow=follow)
    except KeyboardInterrupt:
        raise typer.Exit from None  # what it follows goes on


def _of_one(api: Api, identifier: str, *, follow: bool) -> None:
    path, found = next(
        ((path, found) for path in ("predictions", "trainings") if (found := api.find(f"{path}/{identifier}"))),
        ("", None),
    )
    if found is None:
        raise CommandError(f"there is no prediction or training {identifier} of yours")
    ended = followed(api, f"{path}/{identifier}", found) if follow else _shown(found)
    if ended["error"]:
        typer.echo(f"{ended['status']}: {ended['error']}", err=True)


def _shown(prediction: dict[str, Any]) -> dict[str, Any]:
    terminal.log(prediction["logs"] or "")
    return prediction


def followed(api: Api, path: str, prediction: dict[str, Any]) -> dict[str, Any]:
    """How it ended; its logs were printed as they came."""
    printed = ""
    while True:
        now = prediction["logs"] or ""
        terminal.log(added(printed, now))
        printed = now
        if prediction["status"] not in OPEN:
            return prediction
        time.sleep(POLL_S)
        prediction = api.call("GET", path)


def added(before: str, now: str) -> str:
    """What is new of a log; another attempt begins it afresh."""
    if now.startswith(before):
        return now[len(before) :]
    # The note of how much was dropped grows at the end of a log that is full.
    same = next((at for at, (old, new) in enumerate(zip(before, now, strict=False)) if old != new), len(now))
    return now[same:]


def _of_model(api: Api, model: str, *, follow: bool) -> None:
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
    """The oldest first. Lists leave logs out, so each is asked for."""
    page = api.call("GET", "predictions", params={"model": model})["results"][:count]
    for listed in reversed(page):
        prediction = api.find(f"predictions/{listed['id']}")
        if prediction is not None:
            yield prediction


def _print_new(prediction: dict[str, Any], printed: dict[str, str]) -> None:
    """A line says whose logs follow. An ended prediction is `status` and done with once it was printed."""
    identifier, status = prediction["id"], prediction["status"]
    now = f"{status}\n{prediction['logs'] or ''}"
    if printed.get(identifier) == now:
        return
    typer.echo(f"==> {identifier} {status}")
    before = printed.get(identifier, "").partition("\n")[2]
    terminal.log(added(before, prediction["logs"] or ""))
    if prediction["error"] and status not in OPEN:
        typer.echo(prediction["error"])
    printed[identifier] = now
