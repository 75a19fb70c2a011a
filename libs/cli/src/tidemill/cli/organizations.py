"""Organisations and their members, over the API."""

from typing import Annotated

import typer

from tidemill.cli.api import Api, pages

org = typer.Typer(help="Organisations: accounts that several users share.", no_args_is_help=True)
members = typer.Typer(help="The members of an organisation.", no_args_is_help=True)
org.add_typer(members, name="members")
Username = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="The organisation's username.")]
Member = Annotated[str, typer.Argument(metavar="USERNAME")]


@org.command("create")
def create(username: Username, name: Annotated[str | None, typer.Option(help="The name to show.")] = None) -> None:
    """Make an organisation; you are its owner."""
    made = Api().call("POST", "organizations", json={"username": username, **({"name": name} if name else {})})
    typer.echo(made["username"])


@org.command("list")
def list_() -> None:
    """List the organisations that you are in."""
    for each in pages(Api(), "organizations"):
        typer.echo(f"{each['username']}  {each['name']}  {each['role']}")


@org.command("delete")
def delete(username: Username) -> None:
    """Delete an organisation that owns nothing any more. Its name stays taken."""
    Api().call("DELETE", f"organizations/{username}")
    typer.echo(f"Deleted {username}.")


@members.command("list")
def list_members(username: Username) -> None:
    """List who is in an organisation."""
    for each in pages(Api(), f"organizations/{username}/members"):
        typer.echo(f"{each['username']}  {each['name']}  {each['role']}")


@members.command("add")
def add(
    username: Username,
    member: Member,
    role: Annotated[str, typer.Option(help="owner, member or viewer.")] = "member",
) -> None:
    """Add a user to an organisation, or change a member's role."""
    made = Api().call("PUT", f"organizations/{username}/members/{member}", json={"role": role})
    typer.echo(f"{made['username']} is {made['role']} of {username}.")


@members.command("remove")
def remove(username: Username, member: Member) -> None:
    """Take a member out of an organisation; the tokens he made for it end."""
    Api().call("DELETE", f"organizations/{username}/members/{member}")
    typer.echo(f"{member} is no member of {username} any more.")
