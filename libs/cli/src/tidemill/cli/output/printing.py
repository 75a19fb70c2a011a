"""How commands print what the API answers: lists in columns, one thing as names and values, or all of it as JSON."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import typer

LISTED: Final = 50  # of what grows without end, unless --limit says otherwise: two screens
SHOWN_CHARS: Final = 200  # of a value in a list; --json has it whole
ALONE_CHARS: Final = 4000  # of a value of the one thing that is shown: two screens
GAP: Final = "  "
LINKS: Final = ("http://", "https://")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, help="How many; the newest first.")]
Everything = Annotated[int | None, typer.Option("-n", "--limit", min=1, help="How many; all, unless given.")]

Thing = dict[str, Any]


def show_list(
    found: Iterable[Thing], cells: Callable[[Thing], Sequence[str]], *, limit: int | None, as_json: bool
) -> None:
    """Print the first `limit` of `found`, one a line or as a JSON array; on stderr, whether there are more."""
    rest = iter(found)
    shown = list(itertools.islice(rest, limit))
    if as_json:
        show_json(shown)
    else:
        for line in aligned([cells(each) for each in shown]):
            typer.echo(line)
    if limit is not None and next(rest, None) is not None:
        typer.echo(f"There are more; --limit {2 * limit} shows twice as many.", err=True)


def show_one(thing: Thing, facts: Callable[[Thing], Iterable[tuple[str, Any]]], *, as_json: bool) -> None:
    """Print one thing, for people or for programs. Facts that are null or empty are left out for people."""
    if as_json:
        show_json(thing)
        return
    for line in aligned(
        [(name, text(value, ALONE_CHARS)) for name, value in facts(thing) if value not in (None, "", [], {})]
    ):
        typer.echo(line)


def show_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose columns begin below each other; the last one is as long as it is. Pure."""
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    return [
        GAP.join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), *row[-1:]]).rstrip()
        for row in rows
    ]


def text(value: Any, limit: int = SHOWN_CHARS) -> str:
    """A value in one line, cut to what a screen takes; a link is of no use unless it is whole. Pure."""
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(whole.split())
    cut = len(line) > limit and not line.startswith(LINKS)
    return f"{line[:limit]}…" if cut else line


def second(moment: str | None) -> str:
    """A time of the API without fractions of a second, or nothing. Pure."""
    return "" if moment is None else f"{moment[:19]}Z"
