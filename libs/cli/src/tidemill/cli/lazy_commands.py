"""Commands that are imported when they are called: help names them all, and none waits for what another needs."""

import importlib
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand

_VALUES: Final[dict[Any, str]] = {int: "NUMBER", list[str]: "TEXT", str: "TEXT", Path: "PATH"}


class Deferred(TyperCommand):
    """Stands for the command, or group of commands, at `place` (module:attribute). `line` is what help says of it."""

    def __init__(self, name: str, place: str, line: str) -> None:
        super().__init__(name, short_help=line)
        self._place = place

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """That of the command itself, which thereby is what runs."""
        return self.loaded().make_context(*arguments, **extra)

    def loaded(self) -> Any:
        module, _, attribute = self._place.partition(":")
        found = getattr(importlib.import_module(f"tidemill.cli.{module}"), attribute)
        around = typer.Typer(rich_markup_mode=None, callback=_nothing)
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=self.name)
        else:
            around.command(self.name)(found)
        command = typer.main.get_group(around).commands[str(self.name)]
        _name_values(command)
        return command


def _name_values(command: Any) -> None:
    """Help says TEXT, NUMBER and PATH of options' values, where Typer says `<str>`, `<int range>` and `<path>`."""
    for each in getattr(command, "commands", {}).values():
        _name_values(each)
    for option in command.params:
        if option.param_type_name == "option" and option.metavar is None and not option.type_descriptor.is_choice:
            option.metavar = _VALUES.get(option.type_descriptor.annotation)


def _nothing() -> None:
    """Of a command with a callback Typer makes a group, however few commands it has."""
