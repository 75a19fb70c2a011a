"""What is said of a model besides its versions: by a push's options, else by the README that lies with the model."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory import readme as reading

README: Final = "README.md"


class About(msgspec.Struct, kw_only=True):
    """What the person who pushes says; None is left to the README, or as it is."""

    description: str | None = None
    readme: str | None = None  # its text
    license_url: str | None = None
    github_url: str | None = None
    cover_image_url: str | None = None
    visibility: str | None = None
    hardware: str | None = None


def tell(api: Api, model: str, about: About) -> list[str]:
    """Changes the model where it says something else; answers the names of what was changed."""
    known = api.call("GET", f"models/{model}")
    changes = differing(known, about)
    if about.readme is not None and about.readme != api.text(f"models/{model}/readme"):
        changes["readme"] = about.readme
    if changes:
        api.call("PATCH", f"models/{model}", json=changes)
    return sorted(changes)


def differing(known: dict[str, Any], about: About) -> dict[str, Any]:
    """What was said wins over what the model has, and that over what the README tells. Pure."""
    said = {name: value for name, value in msgspec.structs.asdict(about).items() if name != "readme"}
    read = {}
    if about.readme is not None:
        read = {
            "description": reading.first_paragraph(about.readme),
            "license_url": reading.licence_link(about.readme),
        }
    wanted = {name: value if value is not None else known.get(name) or read.get(name) for name, value in said.items()}
    return {name: value for name, value in wanted.items() if value is not None and value != (known.get(name) or "")}


def readme_of(given: Path | None, directory: Path) -> str | None:
    """The text of the file that was given, else of the directory's README.md, if it has one. Raises CommandError."""
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
