"""What is said of a model besides its versions: by a push's options, else by the README that lies with the model."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tidemill.cli import readme as reading
from tidemill.cli.api import Api
from tidemill.cli.errors import CommandError

README: Final = "README.md"


class About(msgspec.Struct, kw_only=True):
    """What the person who pushes says; None is left to the README, or as it is."""

    description: str | None = None
    readme: Path | None = None
    license_url: str | None = None
    github_url: str | None = None
    cover_image_url: str | None = None
    visibility: str | None = None
    hardware: str | None = None


def tell(api: Api, model: str, about: About, directory: Path) -> list[str]:
    """Changes the model where it says something else; answers the names of what was changed."""
    known = api.call("GET", f"models/{model}")
    text = _readme(about.readme, directory)
    changes = differing(known, about, text)
    if text is not None and text != api.text(f"models/{model}/readme"):
        changes["readme"] = text
    if changes:
        api.call("PATCH", f"models/{model}", json=changes)
    return sorted(changes)


def differing(known: dict[str, Any], about: About, text: str | None) -> dict[str, Any]:
    """What was said wins over what the model has, and that over what the README tells. Pure."""
    said = {name: value for name, value in msgspec.structs.asdict(about).items() if name != "readme"}
    read = {}
    if text is not None:
        read = {"description": reading.first_paragraph(text), "license_url": reading.licence_link(text)}
    wanted = {name: value if value is not None else known.get(name) or read.get(name) for name, value in said.items()}
    return {name: value for name, value in wanted.items() if value is not None and value != (known.get(name) or "")}


def _readme(given: Path | None, directory: Path) -> str | None:
    path = given or directory / README
    if given is None and not path.is_file():
        return None
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from None
