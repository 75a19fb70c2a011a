"""`tidemill settings`: the settings that all services of an installation share, read and deleted on the database."""

from typing import Annotated, Any, Final

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import JsonOption, print_json

settings = typer.Typer(
    help="Settings that all services must share (needs TIDEMILL_DATABASE_URL).", no_args_is_help=True
)

_ALL: Final = "SELECT name, value, is_key, set_by, set_at::text AS set_at FROM agreed_setting ORDER BY name"
_IS_KEY: Final = "SELECT is_key FROM agreed_setting WHERE name = $1"
_FORGET: Final = "DELETE FROM agreed_setting WHERE name = $1"


@settings.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Show the settings, who set them and when. Keys are shown as fingerprints."""

    async def read(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(_ALL)]

    found = run_on_database(read)
    if as_json:
        print_json(found)
        return
    for each in found:
        what = f"fingerprint {each['value']}" if each["is_key"] else repr(each["value"])
        typer.echo(f"{each['name']:<20} {what}  (the {each['set_by']}, {each['set_at'][:19]})")


@settings.command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="Of the setting, as `list` shows it.")],
    *,
    key: Annotated[bool, typer.Option("--key", help="Needed for a key: everything made with the old key is lost.")] = (
        False
    ),
) -> None:
    """Forget a setting: the next service that starts sets it.

    Stop all services before, and start them all with the new value.
    """

    async def delete(connection: Connection) -> None:
        is_key = await connection.fetchval(_IS_KEY, name)
        if is_key is None:
            raise CommandError(f"no service has set {name}")
        if is_key and not key:
            raise CommandError(f"{name} is a key: secrets, links and uploads made with it are lost; --key forgets it")
        await connection.execute(_FORGET, name)

    run_on_database(delete)
