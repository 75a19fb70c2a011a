"""Models and versions of the server by the names that people type, found before anything is sent or made for them."""

import re
from typing import Any, Final, NamedTuple

from tidemill.cli.api.client import Api
from tidemill.cli.errors import CommandError
from tidemill.contracts import patterns

_NAME: Final = re.compile(patterns.NAME)


class Name(NamedTuple):
    """`version` is the 64 digits of one, or nothing."""

    model: str
    version: str = ""


class Published(NamedTuple):
    """A version with its OpenAPI document."""

    model: dict[str, Any]
    version: str
    schema: dict[str, Any]


def name_of(text: str) -> Name:
    """Of OWNER/NAME or OWNER/NAME:VERSION. Raises CommandError."""
    model, _, version = text.partition(":")
    owner, slash, name = model.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise CommandError(f"a model is named OWNER/NAME, not {text!r}")
    return Name(model, version)


def new_name_of(text: str) -> Name:
    """As `name_of`, for a model that is to be made. Raises CommandError."""
    named = name_of(text)
    name = named.model.partition("/")[2]
    if named.version:
        raise CommandError(f"a version gets its id by itself: {named.model} will do")
    if _NAME.fullmatch(name) is None:
        raise CommandError(f"{name!r} cannot be a model's name: expected {patterns.DESCRIPTIONS[patterns.NAME]}")
    return named


def must_own(api: Api, named: Name) -> None:
    """Raise CommandError when the token in use acts for another account than the model's owner."""
    owner, _, name = named.model.partition("/")
    account = api.find("account", or_status=403)  # a token need not have the scope to read it; the API decides then
    if account is not None and account["username"] != owner:
        own = account["username"]
        raise CommandError(
            f"the token in use acts for {own}, and can make no model of {owner}: use a token of {owner}, or "
            f"name the model {own}/{name}"
        )


def find(api: Api, named: Name) -> Published:
    """The version named, else the model's latest. Raises CommandError."""
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
    return Published(model, version["id"], version["openapi_schema"])
