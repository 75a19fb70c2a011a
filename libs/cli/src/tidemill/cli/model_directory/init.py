"""`tidemill init`: writes a working model from a template."""

import enum
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final

import typer

from tidemill.cli.errors import CommandError

SUFFIX: Final = ".template"
IGNORE: Final = f"shared_dockerignore{SUFFIX}"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9._-]+")


class Template(enum.StrEnum):
    TEXT = "text"
    IMAGE = "image"
    LLM = "llm"
    ASYNC = "async"
    TRAIN = "train"


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="It may exist; no file in it is replaced.")
    ] = Path(),
    *,
    template: Annotated[
        Template, typer.Option(help="What it begins as: llm streams text, train can be trained.")
    ] = Template.TEXT,
) -> None:
    """Make a model's directory: cog.yaml, predict.py, requirements.txt, example.json, README.md."""
    made = render_files(template, model_name(directory))
    there = sorted(name for name in made if (directory / name).exists())
    if there:
        raise CommandError(f"{directory} has {', '.join(there)} already; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (directory / name).write_text(text)
    typer.echo(f"Made {directory}: {', '.join(sorted(made))}")
    typer.echo(f"Try it there: {first_command(made['README.md'])}")


def first_command(readme: str) -> str:
    return next(line for line in readme.splitlines() if line.startswith("tidemill "))


def model_name(directory: Path) -> str:
    """Return a valid model name made of the directory's name."""
    return _NOT_IN_NAMES.sub("-", directory.resolve().name.lower()).strip("-._") or "model"


def render_files(template: Template, name: str) -> dict[str, str]:
    """Return the texts of the template's files by file name."""
    templates = files("tidemill.cli.model_directory") / "templates"
    found = {".dockerignore": (templates / IGNORE).read_text()}
    for file in (templates / template.value).iterdir():
        found[file.name.removesuffix(SUFFIX)] = _filled(file, name)
    return found


def _filled(file: Traversable, name: str) -> str:
    return file.read_text().replace("{{name}}", name)
