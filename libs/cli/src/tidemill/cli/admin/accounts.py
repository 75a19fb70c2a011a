"""`tidemill account create`, for operators, directly on the database."""

import re
from typing import Annotated

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.errors import CommandError
from tidemill.contracts import patterns
from tidemill.contracts.limits import NAME_LIMIT_CHARS
from tidemill.runtime.accounts import life


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
        return await life.create_user(connection, username, name or username, unlimited=unlimited)

    if not run_on_database(insert) and not if_missing:
        raise CommandError(f"the account {username} exists already")
    typer.echo(username)
