"""The `tidemill` command: what authors and users do over the HTTP API, and what operators do on the database."""

import sys

import httpx
import typer

from tidemill.cli import (
    account_limits,
    accounts,
    collections,
    deployments,
    dev,
    examples,
    init,
    logs,
    mcp_command,
    model_secrets,
    organizations,
    predict,
    push,
    run,
    tokens,
    train,
    webhooks,
    workers,
)
from tidemill.cli.api import CommandError

app = typer.Typer(
    name="tidemill",
    help="Push models to Tidemill and run them. Reads REPLICATE_BASE_URL and REPLICATE_API_TOKEN.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(accounts.account, name="account")
app.add_typer(tokens.token, name="token")
app.add_typer(organizations.org, name="org")
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(collections.collection, name="collection")
app.add_typer(examples.example, name="example")
app.add_typer(deployments.deployment, name="deployment")
app.add_typer(model_secrets.secret, name="secret")
app.add_typer(workers.worker, name="worker")
app.add_typer(workers.model, name="model")
accounts.account.command("limit")(account_limits.limit)
accounts.account.command("official")(collections.official)
app.command("dev")(dev.dev)
app.command("init")(init.init)
app.command("predict")(predict.predict)
app.command("push")(push.push)
app.command("run")(run.run)
app.command("logs")(logs.logs)
app.command("train")(train.train)
app.command("mcp")(mcp_command.mcp)


def cli() -> None:
    """Exit status 1 and one line for what a user can mend."""
    try:
        app()
    except CommandError as error:
        sys.exit(f"tidemill: {error}")
    except httpx.TransportError as error:
        sys.exit(f"tidemill: cannot reach the API: {error}")
