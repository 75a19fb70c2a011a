"""Reads the plain subset of YAML that a configuration needs, from untrusted bytes, as JSON-like values.

Anchors, aliases, tags, several documents and repeated keys are refused: with them a small file can expand to a large
one, or mean something else than it shows. Only texts, numbers, booleans, lists and mappings are constructed.
"""

import re
from typing import Any, Final

import yaml

SIZE_LIMIT_BYTES: Final = 1024 * 1024  # a cog.yaml is a screen or two
NODES_LIMIT: Final = 20_000  # ten thousand entries; the largest file takes less than a second
DEPTH_LIMIT: Final = 16  # cog.yaml needs 5 levels

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_TAG: Final = "tag:yaml.org,2002:"
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml


class YamlRefused(Exception):  # noqa: N818 - named after the situation
    """The text is not YAML, or uses what is not supported here."""


def read(raw: bytes) -> Any:
    """Return the document. Numbers with a point stay texts, so that `3.10` is not `3.1`. Raise YamlRefused."""
    if len(raw) > SIZE_LIMIT_BYTES:
        raise YamlRefused(f"it is larger than {SIZE_LIMIT_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise YamlRefused("it is not UTF-8") from None
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise YamlRefused(_described(error)) from None
    return None if node is None else _value(node)


def _check_events(text: str) -> None:
    """Refuse what would make the tree deep, large or shared, before it is built."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise YamlRefused(f"{_line_prefix(event)}anchors and aliases are not supported")
        if getattr(event, "tag", None) is not None:
            raise YamlRefused(f"{_line_prefix(event)}tags are not supported")
        nodes += isinstance(event, yaml.NodeEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise YamlRefused(f"it is nested more than {DEPTH_LIMIT} deep")
        if nodes > NODES_LIMIT:
            raise YamlRefused(f"it has more than {NODES_LIMIT} entries")
        if documents > 1:
            raise YamlRefused("it has more than one document")


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    return _scalar(node.tag.removeprefix(_TAG), str(node.value))


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise YamlRefused(f"line {line}: a key is not a text")
        key = key_node.value
        if key in values:
            raise YamlRefused(f"line {line}: the key {key[:80]!a} is given twice")
        values[key] = _value(value_node)
    return values


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    return text


def _described(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not YAML"
    mark = getattr(error, "problem_mark", None)
    return str(problem) if mark is None else f"line {mark.line + 1}: {problem}"


def _line_prefix(event: yaml.Event) -> str:
    return "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
