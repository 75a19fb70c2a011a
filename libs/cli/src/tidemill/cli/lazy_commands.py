"""Commands whose modules are imported when they are called. Help lists them all without importing any."""

import importlib
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand

_VALUES: Final[dict[Any, str]] = {int: "NUMBER", list[str]: "TEXT", str: "TEXT", Path: "PATH"}


class LazyCommand(TyperCommand):
    """A placeholder for the command or group at `target` (module:attribute). Help shows `line`."""

    def __init__(self, name: str, target: str, line: str) -> None:
        super().__init__(name, short_help=line)
        self._target = target

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Return the context of the real command, so that the real command runs."""
        return self.loaded().make_context(*arguments, **extra)

    def loaded(self) -> Any:
        module, _, attribute = self._target.partition(":")
        found = getattr(importlib.import_module(f"tidemill.cli.{module}"), attribute)
        wrapper = typer.Typer(rich_markup_mode=None, callback=_nothing)
        if isinstance(found, typer.Typer):
            wrapper.add_typer(found, name=self.name)
        else:
            wrapper.command(self.name)(found)
        command = typer.main.get_group(wrapper).commands[str(self.name)]
        _name_values(command)
        return command


def _name_values(command: Any) -> None:
    """Show option values as TEXT, NUMBER and PATH in help; Typer's own are `<str>`, `<int range>` and `<path>`."""
    for each in getattr(command, "commands", {}).values():
        _name_values(each)
    for option in command.params:
        if option.param_type_name == "option" and option.metavar is None and not option.type_descriptor.is_choice:
            option.metavar = _VALUES.get(option.type_descriptor.annotation)


def _nothing() -> None:
    """Serve as the callback that makes Typer build a group even for a single command."""
