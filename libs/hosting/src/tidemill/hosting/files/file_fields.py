"""Which inputs of a version are files, read once from its OpenAPI document. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

URL_SCHEMES: Final = ("http:", "https:", "data:")
DEPTH_LIMIT: Final = 8  # of references and alternatives inside one property; ours have two


class FileField(NamedTuple):
    """An input that takes a file, a list of them, or (by alternatives) both."""

    name: str
    one: bool
    many: bool
    default: Any = None  # a URL, or a list of them, for an input that is not given; None where the child has its own


class InputFile(NamedTuple):
    """One file that an input asks for. `position` is its place in a list, None where the input is the file itself."""

    name: str
    position: int | None
    url: str

    @property
    def field(self) -> str:
        return self.name if self.position is None else f"{self.name}.{self.position}"


class NotAFile(Exception):  # noqa: N818 - named after the situation
    """The value of a file input is no text, or a list where one file is meant."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def file_fields(schema: Mapping[str, Any], component: str = "Input") -> tuple[FileField, ...]:
    """Of an OpenAPI document, the properties of components.schemas.<component> that are files; empty for most."""
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
    """Return whether a default names something to fetch. Other texts are files of the model, which its child opens."""
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


def input_files(fields: tuple[FileField, ...], value: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """Return the files that an input asks for; null is an input that is not given, as for the child. Raise NotAFile."""
    given = [(field, value.get(field.name)) for field in fields]
    return tuple(wanted for field, each in given for wanted in _wanted(field, field.default if each is None else each))


def _wanted(field: FileField, value: Any) -> Iterator[InputFile]:
    if value is None:
        return
    if field.many and isinstance(value, list):
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise NotAFile(f"{field.name}.{index}")
            yield InputFile(field.name, index, item)
    elif field.one and isinstance(value, str):
        yield InputFile(field.name, None, value)
    else:
        raise NotAFile(field.name)


def with_paths(value: Mapping[str, Any], paths: Mapping[InputFile, str]) -> dict[str, Any]:
    """The input with paths in place of URLs; the given one is left as it is."""
    changed = dict(value)
    for wanted, path in paths.items():
        if wanted.position is None:
            changed[wanted.name] = path
    for name in {wanted.name for wanted in paths if wanted.position is not None}:
        items = {wanted.position: path for wanted, path in paths.items() if wanted.name == name}
        changed[name] = [items[index] for index in range(len(items))]
    return changed
