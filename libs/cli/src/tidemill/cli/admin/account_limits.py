"""`tidemill account limit`: an account's limits where they differ from the gateways' settings, set on the database."""

from typing import Annotated, Final

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import JsonOption, print_json
from tidemill.contracts.limits import CANCEL_AFTER_LIMIT_S, CREATES_PER_MINUTE, OPEN_PREDICTIONS, REQUESTS_PER_MINUTE
from tidemill.runtime.accounts import life

MOST: Final = 1_000_000  # the maximum that the database's CHECK constraints allow


def set_limits(
    username: Annotated[str, typer.Argument(help="Whose limits. Without options they are shown.")],
    *,
    creates_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Predictions and trainings that are created.")
    ] = None,
    creates_burst: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="At once after a pause; a minute's worth if never set.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, max=MOST, help="All other requests.")] = None,
    requests_burst: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Of those, at once after a pause.")
    ] = None,
    open_predictions: Annotated[
        int | None, typer.Option(min=0, max=MOST, help="Predictions that have not ended, at a time.")
    ] = None,
    time_limit_s: Annotated[
        int | None, typer.Option(min=1, max=CANCEL_AFTER_LIMIT_S, help="Of each run; the workers' own limit stays.")
    ] = None,
    unlimited: Annotated[bool | None, typer.Option("--unlimited/--limited", help="Count nothing.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Forget what was set before, except what is set now.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> None:
    """Set or show limits (needs TIDEMILL_DATABASE_URL).

    Gateways and workers apply them within a few seconds.
    """
    numbers = (creates_per_minute, creates_burst, requests_per_minute, requests_burst, open_predictions, time_limit_s)

    async def change(connection: Connection) -> tuple[bool, list[int | None]] | None:
        row = await life.set_limits(connection, username, numbers, unlimited=unlimited, default=default)
        return None if row is None else (row["unlimited"], [row[name] for name in life.LIMITS])

    found = run_on_database(change)
    if found is None:
        raise CommandError(f"there is no account {username}")
    if as_json:
        print_json({"unlimited": found[0], **dict(zip(life.LIMITS, found[1], strict=True))})
        return
    for line in format_limits(*found):
        typer.echo(line)


def format_limits(unlimited: bool, numbers: list[int | None]) -> list[str]:
    """Return the limits of an account as lines of text."""
    if unlimited:
        return ["no limits"]
    creates, creates_burst, requests, requests_burst, open_predictions, time_limit_s = numbers
    return [
        _rate("creates", creates, creates_burst, CREATES_PER_MINUTE),
        _rate("other requests", requests, requests_burst, REQUESTS_PER_MINUTE),
        f"open predictions: {_or_default(open_predictions, OPEN_PREDICTIONS)}",
        "time of a run: as long as the workers let it" if time_limit_s is None else f"time of a run: {time_limit_s} s",
    ]


def _rate(what: str, per_minute: int | None, burst: int | None, default: int) -> str:
    at_once = "a minute's worth" if burst is None else str(burst)
    return f"{what}: {_or_default(per_minute, default)} a minute, {at_once} at once"


def _or_default(value: int | None, default: int) -> str:
    return f"the default ({default} unless the gateways say otherwise)" if value is None else str(value)
