"""`tidemill account`: the account of the token in use, over the API, and the operators' commands of `admin`."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tidemill.cli.admin.account_limits import set_limits
from tidemill.cli.admin.accounts import create_account
from tidemill.cli.admin.collections import mark_official
from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import JsonObject, JsonOption, format_time, print_one


def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Accounts: show and change your own; make and limit others, as an operator.

    Without a command it shows the account of the token in use.
    """
    if context.invoked_subcommand is None:
        print_one(Api().call("GET", "account"), _facts, as_json=as_json)


def update(
    *,
    name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    retention_s: Annotated[
        int | None,
        typer.Option(min=0, help="Seconds that predictions' data is kept after they end; 0: the service's own time."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change the account of the token in use. What is not given stays."""
    retention = {} if retention_s is None else {"retention_s": retention_s or None}
    body = {**({} if name is None else {"name": name}), **retention}
    if not body:
        raise CommandError("nothing to change: give --name or --retention-s")
    print_one(Api().call("PATCH", "account", json=body), _facts, as_json=as_json)


def _facts(each: JsonObject) -> Iterator[tuple[str, Any]]:
    for name in ("username", "name", "type", "role", "github_url", "avatar_url", "retention_s"):
        yield name, each.get(name)
    yield "created", format_time(each["created_at"])
    yield "scopes", " ".join(each["scopes"])


account = typer.Typer(callback=show, invoke_without_command=True)
account.command("update")(update)
account.command("limit")(set_limits)
account.command("official")(mark_official)
account.command("create")(create_account)
