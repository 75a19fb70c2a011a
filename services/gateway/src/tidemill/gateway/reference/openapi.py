"""Generates the OpenAPI 3.1 document from the route table, for client generators and for the reference.

Pure: routes in, document out. All of it is declared by the operations, apart from the descriptions of parameters and
headers that many operations share (`texts`).
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tidemill.contracts import patterns
from tidemill.contracts.limits import NAME_LIMIT_CHARS
from tidemill.gateway.call import BYTES, EVENTS, FORM, Operation, Route
from tidemill.gateway.reference import texts

Json = dict[str, Any]
REF: Final = "#/components/schemas/{name}"
BINARY: Final = {"type": "string", "format": "binary"}
# OpenAPI has no QUERY before 3.2; readers of 3.1 skip keys that begin with x-.
METHOD_KEYS: Final = {"QUERY": "x-query"}
ANY_OPERATION: Final = (400, 429, 500, 503)  # statuses of every operation
WITH_TOKEN: Final = (401, 403)
WITH_BODY: Final = (408, 413, 415, 422)
VERB: Final = re.compile(r"^(?:GET|HEAD|POST|PUT|PATCH|DELETE|QUERY) \S+: ")
PAGE: Final = re.compile(r"\bPage(?:\[(\w+)\]|_(\w+)_(?!\w))")
PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")
MESSAGE_PATTERN: Final = "^msg_[0-9a-hjkmnp-tv-z]{26}$"  # as receivers see it in `webhook-id`


def document(replicate: Iterable[Route[Any]], extensions: Iterable[Route[Any]], server_url: str) -> Json:
    """Return the whole document: the operations of Replicate's API, and our extensions."""
    routes = [(route, False) for route in replicate] + [(route, True) for route in extensions]
    schemas = _Schemas([route.operation for route, _ in routes])
    paths: dict[str, Json] = {}
    for route, extension in routes:
        key = METHOD_KEYS.get(route.method, route.method.lower())
        path = PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[key] = _operation(route, schemas, extension=extension)
    tags = sorted({_tag(route.operation) for route, _ in routes})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemill HTTP API", "version": "1.0.0", "description": texts.ABOUT},
        "servers": [{"url": server_url}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": texts.BEARER}},
            "headers": texts.RESPONSE_HEADERS,
            "responses": {f"Problem{status}": _problem(status) for status in sorted(texts.STATUSES) if status >= 400},
            "schemas": schemas.components,
        },
    }


class _Schemas:
    """The JSON Schemas of all structs that the operations use, with one name for each component."""

    def __init__(self, operations: Sequence[Operation[Any]]) -> None:
        asked = [kind for operation in operations for kind in (*_kinds(operation.body), *_kinds(operation.response))]
        kinds = [kind for kind in asked if not isinstance(kind, str)]
        made, components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._made = list(zip(kinds, _tidy(list(made)), strict=True))
        self.components = {"Problem": texts.PROBLEM, **_tidy(components)}

    def content(self, declared: Any) -> Json:
        """Return the `content` of a body. `declared`: a struct, a media type, or several of them."""
        content: Json = {}
        for kind in _kinds(declared):
            if kind == EVENTS:
                content[kind] = {}  # a schema would describe the stream as a whole, which has none
            elif isinstance(kind, str):
                content[kind] = {"schema": _schema_of_media_type(kind)}
            else:
                content["application/json"] = {"schema": next(made for each, made in self._made if each == kind)}
        return content


def _kinds(declared: Any) -> tuple[Any, ...]:
    if declared is None:
        return ()
    return declared if isinstance(declared, tuple) else (declared,)


def _schema_of_media_type(media_type: str) -> Json:
    if media_type == FORM:
        return texts.UPLOAD_FORM
    if media_type == "application/json":
        return {}
    return BINARY if media_type == BYTES else {"type": "string"}


def _tidy(node: Any) -> Any:
    """Remove `default: null`, which only says that a member is optional; rename components of pages; add the
    descriptions of patterns.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if isinstance(node, str):
        # Python's $ also matches before a final line break; in other languages the lookahead is not needed.
        return PAGE.sub(lambda found: f"{found[1] or found[2]}Page", node).replace(r"$(?!\n)", "$")
    if not isinstance(node, dict):
        return node
    tidy = {_tidy(key): _tidy(value) for key, value in node.items() if not (key == "default" and value is None)}
    if isinstance(node.get("pattern"), str):
        tidy["description"] = _with_description(node.get("description", ""), node["pattern"])
    return tidy


def _with_description(description: str, pattern: str) -> str:
    expected = patterns.DESCRIPTIONS[pattern]
    return f"{description} {expected[0].upper()}{expected[1:]}.".lstrip()


def _tag(operation: Operation[Any]) -> str:
    return operation.name.partition(".")[0]


def _operation(route: Route[Any], schemas: _Schemas, *, extension: bool) -> Json:
    operation = route.operation
    summary, description = summary_and_description(operation)
    out: Json = {"operationId": operation.name, "tags": [_tag(operation)], "summary": summary}
    if description:
        out["description"] = description
    parameters = [*_path_parameters(route.path), *_query_parameters(operation.query), *_header_parameters(operation)]
    if parameters:
        out["parameters"] = parameters
    if operation.body is not None:
        required = not isinstance(operation.body, tuple)
        out["requestBody"] = {"required": required, "content": schemas.content(operation.body)}
    out["responses"] = _responses(route, schemas)
    out["security"] = [] if operation.scope is None else [{"bearer": []}, *([{}] if operation.anonymous else [])]
    if operation.scope is not None:
        out["x-required-scope"] = str(operation.scope)
    if extension:
        out["x-tidemill-extension"] = True
    return out


def summary_and_description(operation: Operation[Any]) -> tuple[str, str]:
    """Return (summary, description) of an operation, from its handler's docstring."""
    text = VERB.sub("", inspect.cleandoc(operation.handler.__doc__ or operation.name))
    first, _, rest = text.partition("\n\n")
    sentence, dot, more = " ".join(first.split()).partition(". ")
    summary = (sentence[:1].upper() + sentence[1:]).rstrip(".")
    paragraphs = [more if dot else "", rest]
    return summary, "\n\n".join(paragraph.strip() for paragraph in paragraphs if paragraph.strip())


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": texts.PATH.get(name, f"The {name}."),
            "schema": _path_schema(path, name),
        }
        for name in PARAMETER.findall(path)
    ]


def _path_schema(path: str, name: str) -> Json:
    if name in {"owner", "username"} or (name == "name" and not path.startswith("/delivery/")):
        return {"type": "string", "pattern": _tidy(patterns.NAME), "maxLength": NAME_LIMIT_CHARS}
    if name == "sha256" or "/versions/{id}" in path:
        return {"type": "string", "pattern": _tidy(patterns.SHA256)}
    if path.startswith("/webhooks/deliveries/"):
        return {"type": "string", "pattern": MESSAGE_PATTERN}
    if name == "id" or name.endswith("_id"):
        return {"type": "string", "pattern": _tidy(patterns.ID)}
    return {"type": "string", "minLength": 1}


def _query_parameters(struct: Any) -> list[Json]:
    if struct is None:
        return []
    components = _tidy(msgspec.json.schema_components([struct], ref_template=REF)[1])
    schema = components[struct.__name__]
    required = frozenset(schema["required"])
    return [
        _query_parameter(name, _resolved(member, components), required=name in required)
        for name, member in schema["properties"].items()
    ]


def _resolved(member: Json, components: Mapping[str, Any]) -> Json:
    """Return a parameter's schema without null, which a query cannot contain, and without references."""
    if "$ref" in member:
        return dict(components[member["$ref"].rpartition("/")[2]])
    options = [option for option in member.get("anyOf", ()) if option != {"type": "null"}]
    if not options:
        return dict(member)
    rest = {key: value for key, value in member.items() if key != "anyOf" and not (key == "default" and value is None)}
    only = _resolved(options[0], components) if len(options) == 1 else {"anyOf": options}
    return {**only, **rest}


def _query_parameter(name: str, schema: Json, *, required: bool) -> Json:
    description = schema.pop("description", None) or texts.QUERY.get(name)
    out: Json = {"name": name, "in": "query", "schema": schema}
    if required:
        out["required"] = True
    if description:
        out["description"] = description
    return out


def _header_parameters(operation: Operation[Any]) -> list[Json]:
    return [{"name": name, "in": "header", **texts.HEADERS[name]} for name in operation.headers]


def _responses(route: Route[Any], schemas: _Schemas) -> Json:
    operation = route.operation
    errors = {*ANY_OPERATION, *operation.errors}
    if operation.scope is not None:
        errors |= {*WITH_TOKEN}
    if "{" in route.path:
        errors.add(404)
    if "{" in route.path or operation.query is not None:
        errors.add(422)  # text that the database cannot store
    if operation.body is not None:
        errors |= {*WITH_BODY}
    if BYTES in _kinds(operation.response):
        errors |= {412, 416}
    successes = {str(status): _success(operation, status, schemas) for status in _successes(operation)}
    return successes | {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(errors)}


def _problem(status: int) -> Json:
    content = {"application/problem+json": {"schema": {"$ref": REF.format(name="Problem")}}}
    return {"description": texts.STATUSES[status], "headers": _headers(texts.headers_of(status)), "content": content}


def _successes(operation: Operation[Any]) -> tuple[int, ...]:
    """Return the statuses without errors: the declared ones, and those of ranges, conditional requests and streams."""
    kinds = _kinds(operation.response)
    by_kind = (206, 304) if BYTES in kinds else (204,) if EVENTS in kinds else ()
    return (operation.status, *operation.also_statuses, *by_kind)


def _success(operation: Operation[Any], status: int, schemas: _Schemas) -> Json:
    names = texts.headers_of(status) if operation.scope is not None else ()
    if "Prefer" in operation.headers:
        names = (*names, "Preference-Applied")
    out: Json = {"description": texts.STATUSES.get(status, "Done.")}
    if names:
        out["headers"] = _headers(names)
    if status not in {204, 304} and operation.response is not None:
        out["content"] = schemas.content(operation.response)
    return out


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
