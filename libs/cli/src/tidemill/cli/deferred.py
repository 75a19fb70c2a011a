"""Commands that are imported when they are called: help names them all, and none waits for what another needs."""

import importlib
from typing import Any

import typer
from typer.core import TyperCommand


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
        return typer.main.get_group(around).commands[str(self.name)]


def _nothing() -> None:
    """Of a command with a callback Typer makes a group, however few commands it has."""
