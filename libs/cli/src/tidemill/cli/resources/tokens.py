"""`tidemill token`: API tokens, over the API for users, or on the database for operators."""

from typing import Annotated, Any

import typer

from tidemill.cli.admin.database import Connection, run_on_database
from tidemill.cli.api.client import Api, paginate
from tidemill.cli.errors import CommandError
from tidemill.cli.output.printing import AllOrLimitOption, JsonObject, JsonOption, format_time, print_list
from tidemill.runtime.accounts.tokens import create_of_operator
from tidemill.security import tokens

token = typer.Typer(help="API tokens of one's own account and organizations.", no_args_is_help=True)
DAY_S = 24 * 3600


@token.command("create")
def create_token(
    username: Annotated[
        str | None,
        typer.Argument(help="For operators: make it on the database of TIDEMILL_DATABASE_URL, for this account."),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="What the token is for.")] = "default",
    account: Annotated[
        str | None, typer.Option(help="The organization that the token acts for; without it, the token in use's own.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="What it may do, as predictions:write; may be repeated.")
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Days after which it ends.")] = None,
    print_only: Annotated[bool, typer.Option("--print", help="Print the token and nothing else.")] = False,
) -> None:
    """Make an API token. It is shown once and kept nowhere.

    Without USERNAME it is made over the API (REPLICATE_API_TOKEN) and grants no more than the token in use.
    """
    if username is not None:
        if account or scope or expires_in_days:
            raise CommandError("--account, --scope and --expires-in-days are for tokens made over the API")
        secret, whose = _on_the_database(username, name), username
    else:
        made = _over_the_api(name, account, scope, expires_in_days)
        secret, whose = made["token"], made["account"]
    typer.echo(secret if print_only else f"Token for {whose}, shown this once: {secret}")


def _over_the_api(name: str, account: str | None, scopes: list[str] | None, days: int | None) -> dict[str, Any]:
    wanted = {
        "name": name,
        "account": account,
        "scopes": scopes,
        "expires_in_s": None if days is None else days * DAY_S,
    }
    made: dict[str, Any] = Api().call(
        "POST", "tokens", json={key: value for key, value in wanted.items() if value is not None}
    )
    return made


def _on_the_database(username: str, name: str) -> str:
    secret = tokens.new_token()

    async def insert(connection: Connection) -> bool:
        return await create_of_operator(connection, username, name, secret)

    if not run_on_database(insert):
        raise CommandError(f"there is no account {username}: `tidemill account create {username}` makes it")
    return secret


@token.command("list")
def list_tokens(
    account: Annotated[str | None, typer.Option(help="Only those that act for this account.")] = None,
    limit: AllOrLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the tokens that you may see.

    They are your own, and all of the organizations that you own.
    """
    found = paginate(Api(), "tokens", {} if account is None else {"account": account})
    print_list(found, _cells, limit=limit, as_json=as_json)


@token.command("revoke")
def revoke_token(token_id: Annotated[str, typer.Argument(help="As `tidemill token list` shows it.")]) -> None:
    """End a token, for good."""
    Api().call("DELETE", f"tokens/{token_id}")
    typer.echo(f"Revoked {token_id}.")


def _cells(each: JsonObject) -> list[str]:
    used = format_time(each["last_used_at"]) or "never"
    ends = f", expires {format_time(each['expires_at'])}" if each["expires_at"] else ""
    scopes = f"[{' '.join(each['scopes'])}]"
    return [each["id"], f"…{each['last4']}", each["account"], each["name"], scopes, f"used {used}{ends}"]
