"""Prints what the API returns: lists in columns, single objects as names and values, or JSON."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import typer

DEFAULT_LIMIT: Final = 50  # of a list without bounds, unless --limit is given: two screens
LIST_VALUE_LIMIT_CHARS: Final = 200  # of a value in a list; --json prints it whole
VALUE_LIMIT_CHARS: Final = 4000  # of a value of a single object: two screens
GAP: Final = "  "
LINKS: Final = ("http://", "https://")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many; the newest first.")]
AllOrLimitOption = Annotated[int | None, typer.Option("-n", "--limit", min=1, help="How many; all, unless given.")]

JsonObject = dict[str, Any]


def print_list(
    found: Iterable[JsonObject], cells: Callable[[JsonObject], Sequence[str]], *, limit: int | None, as_json: bool
) -> None:
    """Print the first `limit` items, one a line or as a JSON array. Say on stderr if there are more."""
    rest = iter(found)
    shown = list(itertools.islice(rest, limit))
    if as_json:
        print_json(shown)
    else:
        for line in align([cells(each) for each in shown]):
            typer.echo(line)
    if limit is not None and next(rest, None) is not None:
        typer.echo(f"There are more; --limit {2 * limit} shows twice as many.", err=True)


def print_one(thing: JsonObject, facts: Callable[[JsonObject], Iterable[tuple[str, Any]]], *, as_json: bool) -> None:
    """Print one object as facts or as JSON. Facts that are null or empty are left out."""
    if as_json:
        print_json(thing)
        return
    for line in align(
        [(name, one_line(value, VALUE_LIMIT_CHARS)) for name, value in facts(thing) if value not in (None, "", [], {})]
    ):
        typer.echo(line)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns; the last column is not padded. Pure."""
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    return [
        GAP.join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), *row[-1:]]).rstrip()
        for row in rows
    ]


def one_line(value: Any, limit: int = LIST_VALUE_LIMIT_CHARS) -> str:
    """Return a value in one line, cut at `limit`. Links are never cut: half a link is of no use. Pure."""
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(whole.split())
    cut = len(line) > limit and not line.startswith(LINKS)
    return f"{line[:limit]}…" if cut else line


def format_time(moment: str | None) -> str:
    """Return a time of the API without fractions of a second; empty for None. Pure."""
    return "" if moment is None else f"{moment[:19]}Z"
