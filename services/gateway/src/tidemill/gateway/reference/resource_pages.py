"""The reference: one Markdown page for each resource, generated from the OpenAPI document alone. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
NOT_FOR_HEADINGS: Final = re.compile(r"[^\w\- ]")
NOTE: Final = "<!-- Made of the route table by `./just docs`; changes here are lost. -->"


def pages(document: Json) -> dict[str, str]:
    """Return Markdown pages by resource, such as `predictions`."""
    return {tag["name"]: _page(document, tag["name"]) for tag in document["tags"]}


def title(resource: str) -> str:
    return f"Reference: {resource}"


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub generates it."""
    return NOT_FOR_HEADINGS.sub("", heading).strip().lower().replace(" ", "-")


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield (method, path, operation) in the order of the route table."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.removeprefix("x-").upper(), path, operation


def _page(document: Json, tag: str) -> str:
    own = [each for each in operations(document) if tag in each[2]["tags"]]
    lines = [NOTE, "", f"# {title(tag)}", ""]
    lines += [f"- [{operation['summary']}](#{slug(operation['summary'])})" for _, _, operation in own]
    for method, path, operation in own:
        lines += ["", *_operation(method, path, operation)]
    schemas = document["components"]["schemas"]
    names = sorted(_reachable(schemas, [operation for _, _, operation in own]))
    if names:
        lines += ["", "## Objects"]
    for name in names:
        lines += ["", *_object(name, schemas[name])]
    return "\n".join(lines) + "\n"


def _operation(method: str, path: str, operation: Json) -> list[str]:
    lines = [f"## {operation['summary']}", "", f"`{method} /v1{path}`", ""]
    lines += [_access(operation)]
    if "description" in operation:
        lines += ["", operation["description"]]
    if operation.get("parameters"):
        lines += ["", "| parameter | in | type | |", "|---|---|---|---|", *map(_parameter, operation["parameters"])]
    if "requestBody" in operation:
        lines += ["", f"Body: {_content(operation['requestBody']['content'])}."]
    return [*lines, "", _answers(operation)]


def _answers(operation: Json) -> str:
    """Return the statuses in one line. What each status means is explained once, in the page on the API."""
    successes = [
        f"`{status}`" + (f" with {_content(response['content'])}" if "content" in response else "")
        for status, response in operation["responses"].items()
        if "$ref" not in response
    ]
    errors = [f"`{status}`" for status, response in operation["responses"].items() if "$ref" in response]
    return f"Answers {', '.join(successes)}; or [a problem](../api.md#problems) with {', '.join(errors)}."


def _access(operation: Json) -> str:
    scope = operation.get("x-required-scope")
    need = f"Needs a token with the scope `{scope}`." if scope else "Needs no token."
    if scope and {} in operation.get("security", ()):
        need = f"{need[:-1]}; answers without a token what everybody may see."
    return f"{need} An extension: Replicate has no such operation." if "x-tidemill-extension" in operation else need


def _parameter(parameter: Json) -> str:
    name = f"`{parameter['name']}`" + (" (required)" if parameter.get("required") else "")
    return f"| {name} | {parameter['in']} | {_cell(type_of(parameter['schema']))} | {_text(parameter)} |"


def _object(name: str, schema: Json) -> list[str]:
    lines = [f"### {name}", ""]
    if "description" in schema:
        lines += [schema["description"], ""]
    if "properties" not in schema:
        return [*lines, _cell(type_of(schema))]
    required = frozenset(schema.get("required", ()))
    lines += ["| member | type | |", "|---|---|---|"]
    for member, its in schema["properties"].items():
        shown = f"`{member}`" + ("" if member in required else " (may be missing)")
        lines.append(f"| {shown} | {_cell(type_of(its))} | {_text(its)} |")
    return lines


def _content(content: Json) -> str:
    return " or ".join(
        type_of(each["schema"]) if media_type == "application/json" and each.get("schema") else f"`{media_type}`"
        for media_type, each in content.items()
    )


def type_of(schema: Json) -> str:
    """Return a schema in a few words. A component is a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{slug(name)})"
    if "anyOf" in schema:
        return " or ".join(type_of(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind is None:
        return "any JSON"
    return f"{kind}{_limits(schema)}"


def _limits(schema: Json) -> str:
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("format", "as"),
            ("minimum", "from"),
            ("maximum", "to"),
            ("minLength", "at least"),
            ("maxLength", "at most"),
            ("default", "else"),
        )
        if key in schema
    ]
    return f" ({', '.join(limits)})" if limits else ""


def _text(node: Json) -> str:
    own = node.get("description") or ""
    nested = [option.get("description") for option in node.get("anyOf", ()) if option.get("description")]
    return _cell(" ".join([own, *nested]).strip())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _reachable(schemas: Json, nodes: Iterable[Any]) -> set[str]:
    """Return the names of the components that the nodes refer to, directly or through other components."""
    found: set[str] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if isinstance(node, Mapping):
            left += node.values()
            name = str(node.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in schemas and name not in found:
                found.add(name)
                left.append(schemas[name])
        elif isinstance(node, list):
            left += node
    return found
