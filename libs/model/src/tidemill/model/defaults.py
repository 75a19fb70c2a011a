"""Defaults that their own inputs refuse: outside the choices, the limits or the pattern. Cog takes them, so they are no
errors: whoever leaves the input out gets them. But forms that show a default send it, so the author is warned.
"""

from typing import Final

from tidemill.model.coerce import check_limits, convert
from tidemill.model.errors import InputError
from tidemill.model.schema import json_default
from tidemill.model.shapes import holds_code, holds_files
from tidemill.model.signature import Parameter, Signature

WARNINGS: Final = "x-tidemill-warnings"  # in a schema: what its author should know


def warnings(signature: Signature) -> list[str]:
    """One for each such default; it calls nothing of the author's."""
    misfits = [(parameter.name, _misfit(parameter)) for parameter in signature.parameters]
    return [
        f"{signature.name}(): the default of {name!r} is not what the input takes ({reason}): "
        "whoever leaves it out gets it, whoever sends it is refused."
        for name, reason in misfits
        if reason is not None
    ]


def _misfit(parameter: Parameter) -> str | None:
    """Why a caller could not send the default."""
    shown = json_default(parameter)
    if not shown or holds_files(parameter.shape) or holds_code(parameter.shape):
        return None
    try:
        check_limits(parameter, convert(parameter.shape, shown["default"], parameter.name))
    except InputError as error:
        return error.message
    return None
