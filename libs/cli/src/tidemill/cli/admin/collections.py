"""`tidemill collection` and `tidemill account official`: what operators present to users, set on the database."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory import readme as reading
from tidemill.cli.output.printing import JsonOption, print_list
from tidemill.contracts.limits import README_LIMIT_CHARS
from tidemill.runtime.accounts import life

SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

collection = typer.Typer(help="Collections of models (needs TIDEMILL_DATABASE_URL).", no_args_is_help=True)

_SET: Final = """
INSERT INTO collection (slug, name, description, full_description) VALUES ($1, $2, $3, $4)
ON CONFLICT (slug) DO UPDATE SET name = excluded.name, description = excluded.description,
    full_description = excluded.full_description"""
_MODELS: Final = "SELECT owner || '/' || name AS model, id FROM model WHERE owner || '/' || name = ANY ($1)"
_ADD: Final = "INSERT INTO collection_model (slug, position, model_id) VALUES ($1, $2, $3)"


@collection.command("set")
def set_(
    slug: Annotated[str, typer.Argument(help="Names it in URLs: lower-case letters, digits and '-'.")],
    models: Annotated[list[str] | None, typer.Argument(metavar="OWNER/NAME...", help="In the order shown.")] = None,
    *,
    name: Annotated[str | None, typer.Option(help="Its heading; else the first of --file.")] = None,
    description: Annotated[str | None, typer.Option(help="One sentence; else the first paragraph of --file.")] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The full description in Markdown.")
    ] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out models that do not exist.")] = False,
) -> None:
    """Make a collection, or replace one as a whole."""
    if SLUG.fullmatch(slug) is None:
        raise CommandError(f"{slug!r} is no valid slug")
    text = None if file is None else file.read_text()[:README_LIMIT_CHARS]
    heading = name or (reading.find_title(text) if text else None) or slug
    sentence = description or (reading.find_first_paragraph(text) if text else None) or ""
    wanted = list(dict.fromkeys(models or []))

    async def replace(connection: Connection) -> list[str]:
        async with connection.transaction():
            known = {row["model"]: row["id"] for row in await connection.fetch(_MODELS, wanted)}
            missing = [model for model in wanted if model not in known]
            if missing and not skip_missing:
                return missing
            await connection.execute(_SET, slug, heading, sentence, text)
            await connection.execute("DELETE FROM collection_model WHERE slug = $1", slug)
            members = [known[model] for model in wanted if model in known]
            await connection.executemany(_ADD, [(slug, place, model_id) for place, model_id in enumerate(members)])
        return []

    missing = run_on_database(replace)
    if missing:
        raise CommandError(f"there is no model {', '.join(missing)}")
    typer.echo(slug)


@collection.command("list")
def list_(as_json: JsonOption = False) -> None:
    """The collections with the number of their models."""

    async def read(connection: Connection) -> list[dict[str, Any]]:
        rows = await connection.fetch(
            "SELECT c.slug, c.name, count(m.slug) AS models FROM collection c LEFT JOIN collection_model m "
            "ON m.slug = c.slug GROUP BY c.slug ORDER BY c.slug"
        )
        return [dict(row) for row in rows]

    print_list(
        run_on_database(read),
        lambda each: [each["slug"], each["name"], f"({each['models']} models)"],
        limit=None,
        as_json=as_json,
    )


@collection.command("delete")
def delete(slug: Annotated[str, typer.Argument(help="Which.")]) -> None:
    """Delete a collection. Its models stay."""

    async def remove(connection: Connection) -> bool:
        return str(await connection.execute("DELETE FROM collection WHERE slug = $1", slug)).endswith("1")

    if not run_on_database(remove):
        raise CommandError(f"there is no collection {slug}")


def mark_official(
    username: Annotated[str, typer.Argument(help="Whose models.")],
    off: Annotated[bool, typer.Option("--off", help="Take the mark away.")] = False,
) -> None:
    """Mark models as official (needs TIDEMILL_DATABASE_URL)."""

    async def mark(connection: Connection) -> bool:
        return await life.set_official(connection, username, official=not off)

    if not run_on_database(mark):
        raise CommandError(f"there is no account {username}")
