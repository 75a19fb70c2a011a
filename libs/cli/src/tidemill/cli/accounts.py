"""Accounts and tokens: operators' commands, straight on the database of TIDEMILL_DATABASE_URL."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import asyncpg
import typer

from tidemill.cli.api import CommandError
from tidemill.contracts.api import NAME_PATTERN
from tidemill.contracts.ids import new_id
from tidemill.contracts.limits import NAME_LIMIT_CHARS
from tidemill.security import tokens, webhooks

account = typer.Typer(help="Accounts (needs TIDEMILL_DATABASE_URL).", no_args_is_help=True)
token = typer.Typer(help="API tokens (needs TIDEMILL_DATABASE_URL).", no_args_is_help=True)
ResultT = TypeVar("ResultT")


def _with_database(work: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[ResultT]]) -> ResultT:
    url = os.environ.get("TIDEMILL_DATABASE_URL")
    if not url:
        raise CommandError("TIDEMILL_DATABASE_URL is not set; `. .tidemill/env` sets it for the local stack")

    async def go() -> ResultT:
        try:
            connection = await asyncpg.connect(url, timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise CommandError(f"cannot reach the database: {error}") from None
        try:
            return await work(connection)
        except asyncpg.UndefinedTableError:
            raise CommandError("the database has no tables yet: start a service once, it makes them") from None
        finally:
            await connection.close()

    return asyncio.run(go())


@account.command("create")
def create_account(
    username: Annotated[str, typer.Argument(help="Lower-case letters, digits, '.', '_' and '-'.")],
    name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Succeed when the account exists.")] = False,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="No rate limit.")] = False,
) -> None:
    """Make an account."""
    if not re.fullmatch(NAME_PATTERN, username) or len(username) > NAME_LIMIT_CHARS:
        raise CommandError(f"{username!r} is no valid account name")

    async def insert(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        status = await connection.execute(
            "INSERT INTO account (id, username, name, webhook_secret, unlimited) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING",
            new_id(),
            username,
            name or username,
            webhooks.new_secret(),
            unlimited,
        )
        return str(status).endswith("1")

    if not _with_database(insert) and not if_missing:
        raise CommandError(f"the account {username} exists already")
    typer.echo(username)


@token.command("create")
def create_token(
    username: Annotated[str, typer.Argument(help="The account that the token acts for.")],
    name: Annotated[str, typer.Option(help="What the token is for.")] = "default",
    print_only: Annotated[bool, typer.Option("--print", help="Print the token and nothing else.")] = False,
) -> None:
    """Make an API token. It is shown once and kept nowhere."""
    secret = tokens.new_token()

    async def insert(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        status = await connection.execute(
            "INSERT INTO token (id, account_id, name, digest, last4) SELECT $1, id, $3, $4, $5 FROM account"
            " WHERE username = $2",
            new_id(),
            username,
            name,
            tokens.digest(secret),
            tokens.last4(secret),
        )
        return str(status).endswith("1")

    if not _with_database(insert):
        raise CommandError(f"there is no account {username}: `tidemill account create {username}` makes it")
    typer.echo(secret if print_only else f"Token for {username}, shown this once: {secret}")
