"""The `tidemill` command: authors and users work over the HTTP API, operators on the database.

It imports the modules of a command only when the command is called.
"""

import re
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from tidemill.cli.errors import CommandError
from tidemill.cli.lazy_commands import LazyCommand
from tidemill.cli.output import terminal

# By name: module and attribute, and the first sentence of its help.
COMMANDS: Final = {
    "init": (
        "model_directory.init:init",
        "Make a model's directory: cog.yaml, predict.py, requirements.txt, example.json, README.md.",
    ),
    "predict": ("local.predict_command:predict", "Run the model of a directory once, on this machine"),
    "dev": ("dev.command:dev", "Serve a directory's model and load it anew whenever a file changes."),
    "push": ("push.command:push", "Push a model directory. Only files that the server lacks are uploaded."),
    "run": ("run.command:run", "Run a model and print what it makes; text appears as it comes, files are saved."),
    "logs": ("run.logs:logs", "Print logs. Of a model: those of your latest predictions, the oldest first."),
    "train": ("run.train:train", "Train a model and print the version that comes of it; its logs appear as they come."),
    "search": ("resources.search:search", "Find models, collections and pages of the documentation; the best first."),
    "predictions": ("resources.predictions:predictions", "Predictions: list, show, cancel, delete and share them."),
    "trainings": ("resources.trainings:trainings", "Trainings: list, show and cancel them."),
    "models": (
        "resources.models:models",
        "Models: list, show, make, change and delete them and their versions.",
    ),
    "example": ("resources.examples:example", "The examples that a model shows."),
    "secret": ("resources.secrets:secret", "Run-time secrets of your models."),
    "deployments": (
        "resources.deployments:deployments",
        "Deployments: a version under a name, with instances of its own.",
    ),
    "files": ("resources.files:files", "Files: upload, list, show, download and delete them."),
    "hardware": (
        "resources.search:hardware",
        "List the hardware that models and deployments may ask for, with what a second costs.",
    ),
    "webhooks": ("resources.webhooks:webhooks", "Webhooks: listen to them, show deliveries, deliver again."),
    "account": (
        "resources.accounts:account",
        "Accounts: show and change your own; make and limit others, as an operator.",
    ),
    "token": ("resources.tokens:token", "API tokens of one's own account and organizations."),
    "org": ("resources.organizations:org", "Organizations: accounts that several users share."),
    "mcp": ("mcp.command:mcp", "Serve the Model Context Protocol: tools that search, run, wait for and cancel."),
    "completion": ("completion:completion", "Print what makes a shell complete this command's names and options."),
    "collection": ("admin.collections:collection", "Collections of models (needs TIDEMILL_DATABASE_URL)."),
    "settings": (
        "admin.settings:settings",
        "Settings that all services must share (needs TIDEMILL_DATABASE_URL).",
    ),
    "worker": ("admin.workers:worker", "Workers (needs TIDEMILL_DATABASE_URL)."),
}
# Singular and plural of each name work, and so does the long form of org.
ALIASES: Final = {
    "organizations": "org",
    "organization": "org",
    **{name.removesuffix("s"): name for name in COMMANDS if name.endswith("s") and name != "logs"},
    **{f"{name}s": name for name in ("account", "collection", "example", "org", "secret", "token", "worker")},
}
# Typer checks options with pydantic; these are the parts of its messages that we reword.
_PYDANTIC: Final = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^Input should be a valid integer.*"), "it must be a whole number"),
    (re.compile(r"^Input should be a valid number.*"), "it must be a number"),
    (re.compile(r"^Input should be greater than or equal to "), "it must be at least "),
    (re.compile(r"^Input should be less than or equal to "), "it must be at most "),
    (re.compile(r"^Input should "), "it must "),
)
NEAR_LIMIT: Final = 3  # names that are suggested for an unknown one


class CommandGroup(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (target, line) in COMMANDS.items():
            self.add_command(LazyCommand(name, target, line))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name or alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Suggest commands that begin with the unknown name; Typer itself suggests similar spellings."""
        begins = [name for name in self.commands if args and name.startswith(args[0])]
        if begins and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            near = ", ".join(repr(name) for name in begins[:NEAR_LIMIT])
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Reword the errors of options and arguments before Typer prints them."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = in_words(error.message)
            raise


def in_words(message: str) -> str:
    """Return pydantic's message about a value without its terms of types. Pure."""
    for pattern, words in _PYDANTIC:
        message = pattern.sub(words, message)
    return message


app = typer.Typer(
    name="tidemill",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"color": True},  # otherwise click strips escape sequences from piped output; we print no colours
    rich_markup_mode=None,  # rich takes twice as long to import as everything else that help needs
)


def _version(asked: bool) -> None:
    if asked:
        # Imported here: only --version needs it.
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"tidemill {version('tidemill-cli')}")
        raise typer.Exit


@app.callback()
def tidemill(
    *,
    _shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Push models to Tidemill and run them. Reads REPLICATE_BASE_URL and REPLICATE_API_TOKEN.

    Exits with 0 when it did what was asked, 1 when it could not (the reason is on stderr), 2 when the command line is
    wrong, 130 after Ctrl-C.
    """


def cli() -> None:
    """Run the command. Print an error that the user can fix in one line, and exit with its status."""
    terminal.install()
    try:
        app()
    except CommandError as error:
        print(f"tidemill: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:  # its text names the problem and the file
        sys.exit(f"tidemill: {error}")
