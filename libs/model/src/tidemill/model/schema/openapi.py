"""Makes the OpenAPI document of a version from the signature of its function, as Replicate serves it.

Clients and forms read it: `x-order` is the order in a form, `allOf` with an enumeration a dropdown, `format: uri` a
file, and the `x-cog-` keys of the output distinguish an iterator from a list. Equal signatures give equal documents.
"""

from typing import Any, Final

import cog
from cog.input import MISSING
from tidemill.model.errors.contract import OutputError
from tidemill.model.introspection.shapes import Kind, Shape, holds_files
from tidemill.model.introspection.signature import CONCATENATE, OutputSignature, Parameter, Signature
from tidemill.model.schema import parts
from tidemill.model.schema.parts import Schema, reference
from tidemill.model.values.coerce import URL_PREFIXES
from tidemill.model.values.encode import encode_output

OPENAPI_VERSION: Final = "3.0.2"

TYPES: Final[dict[Kind, Schema]] = {
    Kind.STRING: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.PATH: {"type": "string", "format": "uri"},
    Kind.FILE: {"type": "string", "format": "uri"},
    Kind.SECRET: {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    Kind.OBJECT: {"type": "object"},
    Kind.CODED: {"type": "object"},
    Kind.ANY: {},
    Kind.NONE: {"nullable": True},
}


def openapi_schema(
    signature: Signature,
    *,
    train_signature: Signature | None = None,
    streaming: bool = False,
    cog_version: str = cog.__version__,
) -> Schema:
    """Return the document. `paths` is empty, as in Replicate's, so a streaming model is marked at the top level."""
    schemas: Schema = {}
    _add_function(schemas, signature, "Prediction", "")
    if train_signature is not None:
        _add_function(schemas, train_signature, "Training", "Training")
    schemas |= parts.fixed()
    document: Schema = {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "Cog", "version": cog_version},
        "paths": {},
        "components": {"schemas": schemas},
    }
    if streaming or signature.streaming:
        document["x-cog-streaming"] = True
    return document


def _add_function(schemas: Schema, signature: Signature, request: str, prefix: str) -> None:
    source, result = f"{prefix}Input", f"{prefix}Output"
    taken = {*schemas, *parts.fixed(), source, result, f"{request}Request", f"{request}Response"}
    enumerations: Schema = {}
    schemas[source] = _input(signature, source, enumerations, taken)
    schemas[result] = {"title": result, **_output(signature.output)}
    schemas |= enumerations
    schemas[f"{request}Request"] = parts.request(request, source)
    schemas[f"{request}Response"] = parts.response(request, source, result)


def _input(signature: Signature, title: str, enumerations: Schema, taken: set[str]) -> Schema:
    schema: Schema = {"type": "object", "title": title}
    required = [parameter.name for parameter in signature.parameters if parameter.required]
    if required:
        schema["required"] = required
    schema["properties"] = {
        parameter.name: _property(parameter, order, enumerations, taken)
        for order, parameter in enumerate(signature.parameters)
    }
    return schema


def _property(parameter: Parameter, order: int, enumerations: Schema, taken: set[str]) -> Schema:
    shape, info = parameter.shape, parameter.info
    choice = shape.item if shape.kind is Kind.LIST else shape
    if choice is not None and choice.kind is Kind.CHOICE:
        name = _free_name(parameter.name, taken)
        enumerations[name] = parts.enumeration(parameter.name, choice.values, _value_type(choice))
        schema: Schema = (
            {"allOf": [reference(name)]}
            if choice is shape
            else {"type": "array", "items": reference(name), "title": _title(parameter.name)}
        )
    else:
        kind = {"type": "object"} if shape.kind is Kind.ANY else _type(shape)
        schema = {**kind, "title": _title(parameter.name)}
    schema.pop("nullable", None)
    schema |= _limits(parameter)
    schema |= json_default(parameter)
    if info.deprecated:
        schema["deprecated"] = True
    if parameter.nullable:
        schema["nullable"] = True
    if info.accept is not None:
        schema["x-cog-accept"] = info.accept if isinstance(info.accept, str) else list(info.accept)
    schema["x-order"] = order
    if info.description is not None:
        schema["description"] = info.description
    return schema


def _limits(parameter: Parameter) -> Schema:
    info = parameter.info
    least, most = ("minItems", "maxItems") if parameter.shape.kind is Kind.LIST else ("minLength", "maxLength")
    limits = {
        "minimum": info.ge,
        "maximum": info.le,
        least: info.min_length,
        most: info.max_length,
        "pattern": info.regex,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def json_default(parameter: Parameter) -> Schema:
    """Return the default in JSON, or nothing if it has no JSON form or must not be shown. None is a default if the
    annotation allows it, as `Optional[int] = None` does.
    """
    default = parameter.default
    if default is None:
        return {"default": None} if parameter.shape.nullable else {}
    if default is MISSING or parameter.shape.kind is Kind.SECRET:
        return {}
    if holds_files(parameter.shape):
        return _file_default(default)
    try:
        value, files = encode_output(default)
    except OutputError:
        return {}
    return {} if files else {"default": value}


def _file_default(default: Any) -> Schema:
    """Return a default that is a URL. Callers cannot send a file of the model's directory, so it is not published."""
    urls = [str(each) for each in default] if isinstance(default, list | tuple) else [str(default)]
    if not all(url.startswith(URL_PREFIXES) for url in urls):
        return {}
    return {"default": urls if isinstance(default, list | tuple) else urls[0]}


def _output(output: OutputSignature) -> Schema:
    schema = _type(output.shape)
    if output.iteration is None:
        return schema
    iterator: Schema = {"type": "array", "items": schema, "x-cog-array-type": "iterator"}
    if output.iteration == CONCATENATE:
        iterator["x-cog-array-display"] = "concatenate"
    return iterator


def _type(shape: Shape) -> Schema:
    """Return the schema of a shape, without a title."""
    schema = dict(TYPES[shape.kind]) if shape.kind in TYPES else _compound(shape)
    return {**schema, "nullable": True} if shape.nullable else schema


def _compound(shape: Shape) -> Schema:
    if shape.kind is Kind.CHOICE:
        return {"type": _value_type(shape), "enum": list(shape.values)}
    if shape.kind is Kind.LIST:
        return {"type": "array", "items": _type(shape.item) if shape.item else {}}
    if shape.kind is Kind.UNION:
        return {"anyOf": [_type(option) for option in shape.options]}
    if shape.kind is Kind.DICT and shape.item:
        return {"type": "object", "additionalProperties": _type(shape.item)}
    return _record(shape)


def _record(shape: Shape) -> Schema:
    schema: Schema = {"type": "object"}
    required = [field.name for field in shape.fields if not field.shape.nullable and not field.has_default]
    if required:
        schema["required"] = required
    if shape.fields:
        schema["properties"] = {
            field.name: {**_type(field.shape), "title": _title(field.name)} for field in shape.fields
        }
    return schema


def _value_type(choice: Shape) -> str:
    """Return the JSON type of an enumeration."""
    kinds = {type(value) for value in choice.values}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "integer"
    return "number" if kinds <= {int, float} else "string"


def _free_name(name: str, taken: set[str]) -> str:
    """Return the parameter's name, which clients look for, with underscores added if a component has it already."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _title(name: str) -> str:
    return name.title().replace("_", " ")
