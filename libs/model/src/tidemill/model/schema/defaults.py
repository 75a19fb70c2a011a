"""Finds defaults that violate the choices, limits or pattern of their own input. Cog accepts them, so they are no
errors: a caller who leaves the input out gets them. But forms send the default that they show, so the author is warned.
"""

import os
import re
from pathlib import Path
from typing import Final

from cog.input import MISSING
from tidemill.model.errors.contract import ContractError, InputError
from tidemill.model.introspection.shapes import holds_code, holds_files
from tidemill.model.introspection.signature import Parameter, Signature
from tidemill.model.schema.openapi import json_default
from tidemill.model.values.coerce import URL_PREFIXES, check_limits, convert

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")  # one slash only: pathlib merges two
WARNINGS: Final = "x-tidemill-warnings"  # key in a schema: warnings for its author


def warnings(signature: Signature) -> list[str]:
    """Return one warning for each such default. Call no code of the author."""
    invalid = [(parameter.name, _refusal(parameter)) for parameter in signature.parameters]
    return _missing_files(signature) + [
        f"{signature.name}(): the default of {name!r} is not what the input takes ({reason}): "
        "whoever leaves it out gets it, whoever sends it is refused."
        for name, reason in invalid
        if reason is not None
    ]


def check_files(signature: Signature) -> None:
    """Raise ContractError if the default of a file input cannot be opened: calls without this input would fail."""
    for parameter in signature.parameters:
        given, paths = _file_default(parameter)
        place = f"{signature.name}(): the default of {parameter.name!r}"
        if paths and len(paths) < len(given):
            raise ContractError(f"{place} holds URLs and files of the model; use one of them")
        for path in paths:
            if _SCHEME.match(path):
                raise ContractError(f"{place} is {path!r}; a URL is a text that begins with http:, https: or data:")


def _missing_files(signature: Signature) -> list[str]:
    """Return one warning for each default that names a file which is missing in the model's directory."""
    return [
        f"{signature.name}(): the default of {parameter.name!r} is {path!r}, which is not among the model's files: "
        "unless setup() makes it, whoever leaves the input out fails."
        for parameter in signature.parameters
        for path in _file_default(parameter)[1]
        if not Path(path).is_absolute() and not Path(path).exists()
    ]


def _file_default(parameter: Parameter) -> tuple[list[str], list[str]]:
    """Return the files that the default names, and those of them that are no URL."""
    default = parameter.default
    if not holds_files(parameter.shape) or default is None or default is MISSING:
        return [], []
    items = default if isinstance(default, list | tuple) else [default]
    given = [str(each) for each in items if isinstance(each, str | os.PathLike)]
    return given, [each for each in given if not _is_url(each)]


def _is_url(text: str) -> bool:
    return text.startswith(URL_PREFIXES)


def _refusal(parameter: Parameter) -> str | None:
    """Return the reason why a caller could not send the default, or None."""
    default = json_default(parameter)
    if not default or holds_files(parameter.shape) or holds_code(parameter.shape):
        return None
    try:
        check_limits(parameter, convert(parameter.shape, default["default"], parameter.name))
    except InputError as error:
        return error.message
    return None
