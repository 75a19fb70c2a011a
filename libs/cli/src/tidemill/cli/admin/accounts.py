"""`tidemill account create`, for operators, directly on the database."""

import re
from typing import Annotated

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.contracts import patterns
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import NAME_LIMIT_CHARS
from tidemill.security import webhook_signatures


def create_account(
    username: Annotated[str, typer.Argument(help="Lower-case letters, digits, '.', '_' and '-'.")],
    name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Succeed when the account exists.")] = False,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="No rate limit.")] = False,
) -> None:
    """Make an account (needs TIDEMILL_DATABASE_URL)."""
    if not re.fullmatch(patterns.NAME, username) or len(username) > NAME_LIMIT_CHARS:
        raise CommandError(f"{username!r} cannot be an account's name: expected {patterns.DESCRIPTIONS[patterns.NAME]}")

    async def insert(connection: Connection) -> bool:
        status = await connection.execute(
            "INSERT INTO account (id, username, name, webhook_secret, unlimited) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING",
            new_id(),
            username,
            name or username,
            webhook_signatures.new_secret(),
            unlimited,
        )
        return str(status).endswith("1")

    if not run_on_database(insert) and not if_missing:
        raise CommandError(f"the account {username} exists already")
    typer.echo(username)
