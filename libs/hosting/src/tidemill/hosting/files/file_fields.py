"""Finds the inputs of a version that are files, by its OpenAPI document. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

URL_SCHEMES: Final = ("http:", "https:", "data:")
DEPTH_LIMIT: Final = 8  # of references and alternatives inside one property; our schemas have two levels


class FileField(NamedTuple):
    """An input that takes a file (`one`), a list of files (`many`), or either."""

    name: str
    one: bool
    many: bool
    default: Any = None  # URL or list of URLs for an input that is not given; None: the child's default


class InputFileUrl(NamedTuple):
    """A file that an input names. `position` is its index in a list; None if the input is a single file."""

    name: str
    position: int | None
    url: str

    @property
    def field(self) -> str:
        return self.name if self.position is None else f"{self.name}.{self.position}"


class NotAFile(Exception):  # noqa: N818 - named after the situation
    """The value of a file input is not a text, or is a list where a single file is expected."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def file_fields(schema: Mapping[str, Any], component: str = "Input") -> tuple[FileField, ...]:
    """Return the properties of components.schemas.<component> that are files; empty for most documents."""
    components = _mapping(_mapping(schema.get("components")).get("schemas"))
    properties = _mapping(_mapping(components.get(component)).get("properties"))
    fields = []
    for name, definition in properties.items():
        kinds = set(_kinds(_mapping(definition), components, DEPTH_LIMIT))
        if kinds:
            default = _mapping(definition).get("default")
            fields.append(FileField(name, "one" in kinds, "many" in kinds, default if _is_fetched(default) else None))
    return tuple(fields)


def _is_fetched(default: Any) -> bool:
    """Return whether a default is a URL to fetch. Other texts name files of the model, which its child opens."""
    items = default if isinstance(default, list) else [default]
    return any(isinstance(item, str) and item.lower().startswith(URL_SCHEMES) for item in items)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _kinds(definition: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> Iterator[str]:
    if depth == 0:
        return
    if definition.get("format") == "uri":
        yield "one"
    if "one" in _kinds(_mapping(definition.get("items")), components, depth - 1):
        yield "many"
    for way in ("anyOf", "allOf", "oneOf"):
        alternatives = definition.get(way)
        for alternative in alternatives if isinstance(alternatives, list) else ():
            yield from _kinds(_mapping(alternative), components, depth - 1)
    name = str(definition.get("$ref", "")).removeprefix("#/components/schemas/")
    if name:
        yield from _kinds(_mapping(components.get(name)), components, depth - 1)


def input_files(fields: tuple[FileField, ...], value: Mapping[str, Any]) -> tuple[InputFileUrl, ...]:
    """Return the files that an input names. A null counts as not given, as in the child. Raise NotAFile."""
    given = [(field, value.get(field.name)) for field in fields]
    return tuple(file for field, each in given for file in _files_of(field, field.default if each is None else each))


def _files_of(field: FileField, value: Any) -> Iterator[InputFileUrl]:
    if value is None:
        return
    if field.many and isinstance(value, list):
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise NotAFile(f"{field.name}.{index}")
            yield InputFileUrl(field.name, index, item)
    elif field.one and isinstance(value, str):
        yield InputFileUrl(field.name, None, value)
    else:
        raise NotAFile(field.name)


def with_paths(value: Mapping[str, Any], paths: Mapping[InputFileUrl, str]) -> dict[str, Any]:
    """Return the input with paths instead of URLs. `value` is not changed."""
    changed = dict(value)
    for file, path in paths.items():
        if file.position is None:
            changed[file.name] = path
    for name in {file.name for file in paths if file.position is not None}:
        items = {file.position: path for file, path in paths.items() if file.name == name}
        changed[name] = [items[index] for index in range(len(items))]
    return changed
