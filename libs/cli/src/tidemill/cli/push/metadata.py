"""A model's metadata besides its versions: from the options of a push, or else from its README."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory import readme as reading

README: Final = "README.md"


class ModelMetadata(msgspec.Struct, kw_only=True):
    """The options of a push. None takes the value from the README, or leaves the model's own."""

    description: str | None = None
    readme: str | None = None  # the text of the README
    license_url: str | None = None
    github_url: str | None = None
    cover_image_url: str | None = None
    visibility: str | None = None
    hardware: str | None = None


def update_model(api: Api, model: str, about: ModelMetadata) -> list[str]:
    """Update the model where it differs from `about`. Return the sorted names of the changed fields."""
    known = api.call("GET", f"models/{model}")
    changes = find_changes(known, about)
    if about.readme is not None and about.readme != api.text(f"models/{model}/readme"):
        changes["readme"] = about.readme
    if changes:
        api.call("PATCH", f"models/{model}", json=changes)
    return sorted(changes)


def find_changes(known: dict[str, Any], about: ModelMetadata) -> dict[str, Any]:
    """Return the fields to change. Options win over the model's values, and those over the README. Pure."""
    said = {name: value for name, value in msgspec.structs.asdict(about).items() if name != "readme"}
    read = {}
    if about.readme is not None:
        read = {
            "description": reading.find_first_paragraph(about.readme),
            "license_url": reading.find_license_link(about.readme),
        }
    wanted = {name: value if value is not None else known.get(name) or read.get(name) for name, value in said.items()}
    return {name: value for name, value in wanted.items() if value is not None and value != (known.get(name) or "")}


def read_readme(given: Path | None, directory: Path) -> str | None:
    """Return the text of the given file, or else of the directory's README.md, or None. Raise CommandError."""
    path = given or directory / README
    if given is None and not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from None
    if "\0" in text:
        raise CommandError(f"cannot read {path}: it has the character U+0000")
    return text
