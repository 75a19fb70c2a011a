"""The `tidemill` command: what authors and users do over the HTTP API, and what operators do on the database.

What a command needs is imported when it is called, and not here.
"""

import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from tidemill.cli import terminal
from tidemill.cli.deferred import Deferred
from tidemill.cli.errors import CommandError

# By name: where it is, and the beginning of its own help.
COMMANDS: Final = {
    "dev": ("dev_command:dev", "Serve a directory's model and load it anew whenever a file changes."),
    "init": ("init:init", "Make a model's directory: cog.yaml, predict.py, requirements.txt, example.json, README.md."),
    "predict": ("predict_command:predict", "Run the model of a directory once, on this machine"),
    "push": ("push:push", "Push a model directory. Only files that the server lacks are uploaded."),
    "run": ("run:run", "Run a model and print what it makes; text appears as it comes, files are saved."),
    "logs": ("logs:logs", "Print logs. Of a model: those of your latest predictions, the oldest first."),
    "train": ("train:train", "Train a model and print the version that comes of it; its logs appear as they come."),
    "mcp": ("mcp_command:mcp", "Serve the Model Context Protocol: tools that search, run, wait for and cancel."),
    "account": ("accounts:account", "Accounts (needs TIDEMILL_DATABASE_URL)."),
    "token": ("tokens:token", "API tokens of one's own account and organisations."),
    "org": ("organizations:org", "Organisations: accounts that several users share."),
    "webhooks": ("webhooks:webhooks", "Webhooks: hear them, look at deliveries, try again."),
    "collection": ("collections:collection", "Collections of models (needs TIDEMILL_DATABASE_URL)."),
    "example": ("examples:example", "The examples that a model shows."),
    "deployment": ("deployments:deployment", "Deployments: a version under a name, with instances of its own."),
    "secret": ("model_secrets:secret", "Run-time secrets of your models."),
    "worker": ("workers:worker", "Workers (needs TIDEMILL_DATABASE_URL)."),
    "model": ("workers:model", "Models, as their operator sees them (needs TIDEMILL_DATABASE_URL)."),
}


class Commands(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (place, line) in COMMANDS.items():
            self.add_command(Deferred(name, place, line))


app = typer.Typer(
    name="tidemill",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"color": True},  # or colours would be taken out of what goes into pipes; we make none
    rich_markup_mode=None,  # it takes twice as long to import as all else that help needs
)


@app.callback()
def tidemill() -> None:
    """Push models to Tidemill and run them. Reads REPLICATE_BASE_URL and REPLICATE_API_TOKEN."""


def cli() -> None:
    """Exit status 1 and one line for what a user can mend."""
    terminal.guard()
    try:
        app()
    except (CommandError, OSError) as error:  # an OSError says what it was and of which file
        sys.exit(f"tidemill: {error}")
