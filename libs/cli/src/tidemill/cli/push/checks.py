"""What `tidemill push --lint` and `--dry-run` say: a push up to the point where it would send something."""

from pathlib import Path

import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory import lint
from tidemill.cli.model_directory.bundle import paths_of


def look(directory: Path) -> None:
    """Before an ordinary push: nothing is made for one that would fail, and secrets are warned of."""
    paths = paths_of(directory)
    errors = lint.errors(directory, paths)
    if errors:
        raise CommandError("\n".join(errors))
    for finding in lint.secrets(directory, paths):
        typer.echo(f"warning: {finding.text}", err=True)


def rehearse(directory: Path, *, imports: bool) -> None:
    """Tells what is wrong; with `imports` also builds the environment and imports the model. Raises CommandError."""
    found = lint.findings(directory, paths_of(directory))
    for finding in found:
        typer.echo(f"{'error' if finding.is_error else 'warning'}: {finding.text}", err=True)
    errors = sum(finding.is_error for finding in found)
    if errors:
        raise CommandError(f"a push would fail: {errors} error{'s' if errors > 1 else ''}")
    if imports:
        # Not at the top: it needs all that runs models, and takes longer to import than looking takes.
        from tidemill.cli.push import dry_run  # noqa: PLC0415

        dry_run.try_import(directory, {finding.text for finding in found})
    elif not found:
        typer.echo("Nothing to mend.")
