"""Parses the names of models and versions that users type, and looks them up before anything is sent or created."""

import re
from typing import Any, Final, NamedTuple

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.contracts import patterns

_NAME: Final = re.compile(patterns.NAME)


class ModelReference(NamedTuple):
    """A model, and a version of it. `version` is its 64 hexadecimal digits, or empty."""

    model: str
    version: str = ""


class FoundVersion(NamedTuple):
    """A version with its model and its OpenAPI document."""

    model: dict[str, Any]
    version: str
    schema: dict[str, Any]


def parse_reference(text: str) -> ModelReference:
    """Parse OWNER/NAME or OWNER/NAME:VERSION. Raise CommandError."""
    model, _, version = text.partition(":")
    owner, slash, name = model.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise CommandError(f"a model is named OWNER/NAME, not {text!r}")
    return ModelReference(model, version)


def parse_new_model(text: str) -> ModelReference:
    """Parse OWNER/NAME of a model that is to be created. Raise CommandError for a version or an invalid name."""
    named = parse_reference(text)
    name = named.model.partition("/")[2]
    if named.version:
        raise CommandError(f"a version gets its id by itself: {named.model} will do")
    if _NAME.fullmatch(name) is None:
        raise CommandError(f"{name!r} cannot be a model's name: expected {patterns.DESCRIPTIONS[patterns.NAME]}")
    return named


def require_owner(api: Api, named: ModelReference) -> None:
    """Raise CommandError if the token in use acts for another account than the model's owner."""
    owner, _, name = named.model.partition("/")
    account = api.find(
        "account", or_status=403
    )  # 403: the token lacks the scope to read the account; then the API decides later
    if account is not None and account["username"] != owner:
        own = account["username"]
        raise CommandError(
            f"the token in use acts for {own}, and can make no model of {owner}: use a token of {owner}, or "
            f"name the model {own}/{name}"
        )


def find_version(api: Api, named: ModelReference) -> FoundVersion:
    """Return the version of the reference, or else the model's latest. Raise CommandError."""
    model = api.find(f"models/{named.model}")
    if model is None:
        raise CommandError(f"the model {named.model} could not be found: there is none that you may see")
    version = model["latest_version"]
    if named.version and (version is None or version["id"] != named.version):
        version = api.find(f"models/{named.model}/versions/{named.version}")
        if version is None:
            raise CommandError(f"{named.model} has no version {named.version}")
    if version is None:
        raise CommandError(f"{named.model} has no version yet; `tidemill push {named.model}` makes one")
    return FoundVersion(model, version["id"], version["openapi_schema"])
