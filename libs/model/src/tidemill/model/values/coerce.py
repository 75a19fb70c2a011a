"""Converts the input of a request to the keyword arguments of a model's function.

Every parameter gets a value, also its default, so that no `Input()` object reaches the function. File inputs are paths
of local files: the worker has fetched them.
"""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import cog
from cog.input import MISSING
from tidemill.model.errors.contract import InputError
from tidemill.model.introspection import records
from tidemill.model.introspection.shapes import Kind, Shape, describe_for_caller, describe_json_kind
from tidemill.model.introspection.signature import Parameter, Signature

__all__ = ["InputError", "build_kwargs", "check_limits", "convert", "unknown_inputs"]

URL_PREFIXES: Final = ("http://", "https://", "data:")


def build_kwargs(signature: Signature, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments by name, without unknown inputs. Raise InputError with the invalid field."""
    return {parameter.name: _argument(parameter, values) for parameter in signature.parameters}


def unknown_inputs(signature: Signature, values: Mapping[str, Any]) -> list[str]:
    """Return the input names that the function has no parameter for, in their order."""
    known = {parameter.name for parameter in signature.parameters}
    return [name for name in values if name not in known]


def _argument(parameter: Parameter, values: Mapping[str, Any]) -> Any:
    value = values.get(parameter.name)
    if value is not None:
        converted = convert(parameter.shape, value, parameter.name)
        check_limits(parameter, converted)
        return converted
    if parameter.default is not MISSING:
        return _default(parameter)
    if parameter.shape.nullable or (parameter.shape.kind is Kind.ANY and parameter.name in values):
        return None
    raise InputError(parameter.name, "Field required")


def _default(parameter: Parameter) -> Any:
    """Return the default, converted: a text becomes a Path if the parameter is one. Mutable values are copied."""
    default = parameter.default
    if default is None:
        return None
    if isinstance(default, (list, dict, set)):
        default = copy.deepcopy(default)
    try:
        return convert(parameter.shape, default, parameter.name)
    except InputError:
        if parameter.shape.kind in {Kind.PATH, Kind.FILE}:
            raise
        return default  # a default may be a value that callers cannot send


def convert(shape: Shape, value: Any, field: str) -> Any:
    """Return the Python value for a JSON value of this shape. Raise InputError; `field` is the path of the value."""
    if value is None and shape.nullable:
        return None
    return CONVERTERS[shape.kind](shape, value, field)


def _as_is(_shape: Shape, value: Any, _field: str) -> Any:
    return value


def _string(shape: Shape, value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise _mismatch(shape, value, field)


def _integer(shape: Shape, value: Any, field: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise _mismatch(shape, value, field)


def _number(shape: Shape, value: Any, field: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise InputError(field, "is too large for a float") from None
    raise _mismatch(shape, value, field)


def _boolean(shape: Shape, value: Any, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _mismatch(shape, value, field)


def _path(shape: Shape, value: Any, field: str) -> cog.Path:
    if isinstance(value, str) and value.startswith(URL_PREFIXES):
        raise InputError(field, "is a URL that was not fetched before the prediction")
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return cog.Path(value)
    raise _mismatch(shape, value, field)


def _file(shape: Shape, value: Any, field: str) -> Any:
    if callable(getattr(value, "read", None)):
        return value
    path = _path(shape, value, field)
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(field, f"the file cannot be opened: {error.strerror}") from error


def _secret(shape: Shape, value: Any, field: str) -> cog.Secret:
    if isinstance(value, cog.Secret):
        return value
    if isinstance(value, str):
        return cog.Secret(value)
    raise InputError(field, f"must be {describe_for_caller(shape)}")  # the value may be the secret, so it is not shown


def _object(shape: Shape, value: Any, field: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _mismatch(shape, value, field)


def _choice(shape: Shape, value: Any, field: str) -> Any:
    if shape.python is not None and isinstance(value, shape.python):
        return value
    for choice in shape.values:
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return choice if shape.python is None else shape.python(choice)
    raise InputError(field, f"must be {describe_for_caller(shape)}")


def _list(shape: Shape, value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise _mismatch(shape, value, field)
    if shape.item is None:
        return value
    return [convert(shape.item, item, f"{field}.{index}") for index, item in enumerate(value)]


def _dict(shape: Shape, value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or shape.item is None:
        raise _mismatch(shape, value, field)
    return {key: convert(shape.item, item, f"{field}.{key}") for key, item in value.items()}


def _union(shape: Shape, value: Any, field: str) -> Any:
    for option in shape.options:
        if option.kind is Kind.NUMBER and isinstance(value, int) and not isinstance(value, bool):
            return value  # a union keeps a JSON number unchanged: 1 stays an int
        try:
            return convert(option, value, field)
        except InputError:
            continue
    raise _mismatch(shape, value, field)


def _record(shape: Shape, value: Any, field: str) -> Any:
    if isinstance(value, shape.python):
        return value
    if not isinstance(value, dict):
        raise _mismatch(shape, value, field)
    if records.is_pydantic_model(shape.python):
        arguments = value
    else:
        arguments = {
            member.name: convert(member.shape, value[member.name], f"{field}.{member.name}")
            for member in shape.fields
            if member.name in value
        }
        _check_complete(shape, arguments, field)
    try:
        return records.build(shape.python, arguments)
    except (TypeError, ValueError) as error:
        found = records.invalid_fields(error)
        if not found:
            raise InputError(field, str(error)) from error
        path, message = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(".".join([field, *path]), f"{message}{more}") from None  # the traceback shows pydantic only


def _check_complete(shape: Shape, arguments: dict[str, Any], field: str) -> None:
    for member in shape.fields:
        if member.name in arguments or member.has_default:
            continue
        if not member.shape.nullable:
            raise InputError(f"{field}.{member.name}", "Field required")
        arguments[member.name] = None


def _coded(shape: Shape, value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        return _object(shape, value, field)
    try:
        return shape.python.decode(value)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(field, f"cannot be decoded: {error}") from error


CONVERTERS: Final[dict[Kind, Callable[[Shape, Any, str], Any]]] = {
    Kind.ANY: _as_is,
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.PATH: _path,
    Kind.FILE: _file,
    Kind.SECRET: _secret,
    Kind.OBJECT: _object,
    Kind.CHOICE: _choice,
    Kind.LIST: _list,
    Kind.DICT: _dict,
    Kind.UNION: _union,
    Kind.RECORD: _record,
    Kind.CODED: _coded,
}


def check_limits(parameter: Parameter, value: Any) -> None:
    """Check the limits of `Input()` that apply to this value. Raise InputError."""
    info, name = parameter.info, parameter.name
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if info.ge is not None and value < info.ge:
            raise InputError(name, f"must be greater than or equal to {info.ge}")
        if info.le is not None and value > info.le:
            raise InputError(name, f"must be less than or equal to {info.le}")
    text = value.get_secret_value() if isinstance(value, cog.Secret) else value
    if isinstance(text, (str, list)):
        if info.min_length is not None and len(text) < info.min_length:
            raise InputError(name, f"must have a length of at least {info.min_length}")
        if info.max_length is not None and len(text) > info.max_length:
            raise InputError(name, f"must have a length of at most {info.max_length}")
    if info.regex is not None and isinstance(text, str) and re.search(info.regex, text) is None:
        raise InputError(name, f"must match {info.regex!r}")


def _mismatch(shape: Shape, value: Any, field: str) -> InputError:
    return InputError(field, f"must be {describe_for_caller(shape)}, not {describe_json_kind(value)}")
