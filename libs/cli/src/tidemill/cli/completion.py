"""`tidemill completion`: prints the script that a shell evaluates to complete this command. Typer makes it."""

import enum
from typing import Annotated, Final

import typer
from typer.completion import shell_complete

VARIABLE: Final = "_TIDEMILL_COMPLETE"  # set by the shell when it asks Typer for completions


class Shell(enum.StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(context: typer.Context, shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print what makes a shell complete this command's names and options.

    bash and zsh: `eval "$(tidemill completion bash)"` in ~/.bashrc or ~/.zshrc, after compinit. fish: `tidemill
    completion fish > ~/.config/fish/completions/tidemill.fish`. `tidemill --install-completion` does it for you.
    """
    shell_complete(context.find_root().command, {}, "tidemill", VARIABLE, f"source_{shell.value}")
