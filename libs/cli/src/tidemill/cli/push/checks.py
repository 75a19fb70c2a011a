"""`tidemill push --lint` and `--dry-run`, and the checks before every push. Nothing is sent."""

from pathlib import Path

import typer

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory import lint
from tidemill.cli.model_directory.bundle import list_paths


def check(directory: Path) -> None:
    """Check before a push: raise CommandError for errors, print a warning for each secret."""
    paths = list_paths(directory)
    errors = lint.find_errors(directory, paths)
    if errors:
        raise CommandError("\n".join(errors))
    for finding in lint.find_secrets(directory, paths):
        typer.echo(f"warning: {finding.text}", err=True)


def report(directory: Path, *, imports: bool) -> None:
    """Print all findings; with `imports` also build the environment and import the model. Raise CommandError."""
    found = lint.check_directory(directory, list_paths(directory))
    for finding in found:
        typer.echo(f"{'error' if finding.is_error else 'warning'}: {finding.text}", err=True)
    errors = sum(finding.is_error for finding in found)
    if errors:
        raise CommandError(f"a push would fail: {errors} error{'s' if errors > 1 else ''}")
    if imports:
        # Imported here: it needs all modules that run models, which take longer to import than the checks take.
        from tidemill.cli.push import dry_run  # noqa: PLC0415

        dry_run.try_import(directory, {finding.text for finding in found})
    elif not found:
        typer.echo("Nothing to mend.")
