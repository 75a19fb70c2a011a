"""`tidemill org`: organizations and their members, over the API."""

from typing import Annotated

import typer

from tidemill.cli.api.client import Api, paginate
from tidemill.cli.output.printing import AllOrLimitOption, JsonObject, JsonOption, print_list

org = typer.Typer(help="Organizations: accounts that several users share.", no_args_is_help=True)
members = typer.Typer(help="The members of an organization.", no_args_is_help=True)
org.add_typer(members, name="members")
Username = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="The organization's username.")]
Member = Annotated[str, typer.Argument(metavar="USERNAME")]


@org.command("create")
def create(username: Username, name: Annotated[str | None, typer.Option(help="The name to show.")] = None) -> None:
    """Make an organization; you are its owner."""
    made = Api().call("POST", "organizations", json={"username": username, **({"name": name} if name else {})})
    typer.echo(made["username"])


@org.command("list")
def list_(limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """List the organizations that you are in, with your role."""
    print_list(paginate(Api(), "organizations"), _cells, limit=limit, as_json=as_json)


@org.command("delete")
def delete(username: Username) -> None:
    """Delete an organization that owns nothing any more. Its name stays taken."""
    Api().call("DELETE", f"organizations/{username}")
    typer.echo(f"Deleted {username}.")


@members.command("list")
def list_members(username: Username, limit: AllOrLimitOption = None, as_json: JsonOption = False) -> None:
    """List who is in an organization: username, name, role."""
    print_list(paginate(Api(), f"organizations/{username}/members"), _cells, limit=limit, as_json=as_json)


@members.command("add")
def add(
    username: Username,
    member: Member,
    role: Annotated[str, typer.Option(help="owner, member or viewer.")] = "member",
) -> None:
    """Add a user to an organization, or change a member's role."""
    made = Api().call("PUT", f"organizations/{username}/members/{member}", json={"role": role})
    typer.echo(f"{made['username']} is {made['role']} of {username}.")


@members.command("remove")
def remove(username: Username, member: Member) -> None:
    """Take a member out. The tokens that were made for it by the member end."""
    Api().call("DELETE", f"organizations/{username}/members/{member}")
    typer.echo(f"{member} is no member of {username} any more.")


def _cells(each: JsonObject) -> list[str]:
    return [each["username"], each["name"], each["role"]]
