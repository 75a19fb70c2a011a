"""The table of types: for each annotation its schema, and what a JSON value becomes."""
# ruff: noqa: E501, RUF012, UP006, UP007, UP035, UP045 - a table's rows; models of older generations spell their types so

import dataclasses
import datetime as dt
import enum
import io
import pathlib
from collections import abc
from typing import (
    Annotated,
    Any,
    AsyncIterator,
    BinaryIO,
    Dict,
    Generator,
    Iterator,
    List,
    Literal,
    Mapping,
    NewType,
    NotRequired,
    Optional,
    Sequence,
    Tuple,
    TypedDict,
    Union,
)

import pydantic
import pytest

import cog
from cog import BaseModel, Input, Opaque, Path, Secret
from cog.coder import Coder
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.schema.openapi import openapi_schema
from tidemill.model.values.coerce import InputError, build_kwargs
from tidemill.model.values.encode import OutputError, encode_output

MISSING = object()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Box(BaseModel):
    width: int
    label: Optional[str]
    tags: List[str] = ["x"]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Tree(BaseModel):
    name: str
    children: List["Tree"] = []


class Message(TypedDict):
    role: str


class Caption(Message):
    score: NotRequired[float]
    picture: Path


class Undescribed(TypedDict):
    raw: bytes


class Settings(pydantic.BaseModel):
    steps: int
    ratio: float = 0.5


Name = NewType("Name", str)


class Money:
    def __init__(self, cents):
        self.cents = cents


class MoneyCoder(Coder):
    @staticmethod
    def factory(tpe):
        return MoneyCoder() if tpe is Money else None

    def encode(self, x):
        return {"cents": x.cents}

    def decode(self, x):
        return Money(x["cents"])


@pytest.fixture(autouse=True)
def coders(monkeypatch):
    monkeypatch.setattr(Coder, "_coders", [])


def function(annotation, default=MISSING, returns=str):
    def predict(value): ...

    predict.__annotations__ = {"value": annotation, "return": returns}
    if default is not MISSING:
        predict.__defaults__ = (default,)
    return predict


def signature_of(annotation, default=MISSING):
    return inspect_callable(function(annotation, default))


def input_schema(signature):
    return openapi_schema(signature)["components"]["schemas"]


INPUTS = [
    # annotation, schema without title and x-order, JSON value, argument
    (str, {"type": "string"}, "a", "a"),
    (Name, {"type": "string"}, "a", "a"),
    (int, {"type": "integer"}, 3, 3),
    (int, {"type": "integer"}, 3.0, 3),
    (float, {"type": "number"}, 3, 3.0),
    (bool, {"type": "boolean"}, True, True),
    (Path, {"type": "string", "format": "uri"}, "/a/b.png", Path("/a/b.png")),
    (pathlib.Path, {"type": "string", "format": "uri"}, "/a/b.png", Path("/a/b.png")),
    (
        Secret,
        {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
        "s",
        Secret("s"),
    ),
    (List[int], {"type": "array", "items": {"type": "integer"}}, [1, 2], [1, 2]),
    (list[float], {"type": "array", "items": {"type": "number"}}, [1], [1.0]),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}, ["a"], ["a"]),
    (list, {"type": "array", "items": {}}, [1, "a"], [1, "a"]),
    (List, {"type": "array", "items": {}}, [1, "a"], [1, "a"]),
    (list[Any], {"type": "array", "items": {}}, [1, None], [1, None]),
    (
        list[list[int]],
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        [[1], []],
        [[1], []],
    ),
    (list[Path], {"type": "array", "items": {"type": "string", "format": "uri"}}, ["/a"], [Path("/a")]),
    (
        list[Secret],
        {
            "type": "array",
            "items": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
        },
        ["s"],
        [Secret("s")],
    ),
    (list[dict], {"type": "array", "items": {"type": "object"}}, [{"a": 1}], [{"a": 1}]),
    (Optional[int], {"type": "integer", "nullable": True}, 3, 3),
    (int | None, {"type": "integer", "nullable": True}, None, None),
    (dict, {"type": "object"}, {"a": 1}, {"a": 1}),
    (Dict[str, Any], {"type": "object"}, {"a": 1}, {"a": 1}),
    (Mapping, {"type": "object"}, {"a": 1}, {"a": 1}),
    (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1}, {"a": 1.0}),
    (Any, {"type": "object"}, {"a": 1}, {"a": 1}),
    (Any, {"type": "object"}, None, None),
    (Message, {"type": "object"}, {"role": "user"}, {"role": "user"}),
    (list[Message], {"type": "array", "items": {"type": "object"}}, [{}], [{}]),
    (Annotated[Money, Opaque], {"type": "object"}, {"a": 1}, {"a": 1}),
    (Annotated[List[Money], Opaque], {"type": "array", "items": {"type": "object"}}, [{"a": 1}], [{"a": 1}]),
    (Annotated[list, Opaque], {"type": "array", "items": {"type": "object"}}, [], []),
    (
        Annotated[Optional[list[Money]], Opaque],
        {"type": "array", "items": {"type": "object"}, "nullable": True},
        [{}],
        [{}],
    ),
    (Optional[Union[str, float]], {"anyOf": [{"type": "string"}, {"type": "number"}], "nullable": True}, 1, 1),
    (Union[str, float], {"anyOf": [{"type": "string"}, {"type": "number"}]}, 1.5, 1.5),
    (list[Annotated[Money, Opaque]], {"type": "array", "items": {"type": "object"}}, [{}], [{}]),
    (Annotated[int, "a note"], {"type": "integer"}, 1, 1),
    (Union[float, int], {"anyOf": [{"type": "integer"}, {"type": "number"}]}, 5, 5),
    (Union[str, list[str]], {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, ["a"], ["a"]),
    (
        Point,
        {
            "type": "object",
            "required": ["x"],
            "properties": {"x": {"type": "number", "title": "X"}, "y": {"type": "number", "title": "Y"}},
        },
        {"x": 1, "unknown": 2},
        Point(1.0),
    ),
    (
        Box,
        {
            "type": "object",
            "required": ["width"],
            "properties": {
                "width": {"type": "integer", "title": "Width"},
                "label": {"type": "string", "nullable": True, "title": "Label"},
                "tags": {"type": "array", "items": {"type": "string"}, "title": "Tags"},
            },
        },
        {"width": 3},
        Box(width=3),
    ),
    (
        Settings,
        {
            "type": "object",
            "required": ["steps"],
            "properties": {"steps": {"type": "integer", "title": "Steps"}, "ratio": {"type": "number", "title": "Ratio"}},
        },
        {"steps": 3},
        Settings(steps=3),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "schema", "value", "argument"), INPUTS)
def test_input_types(annotation, schema, value, argument):
    signature = signature_of(annotation)
    assert input_schema(signature)["Input"]["properties"]["value"] == {**schema, "title": "Value", "x-order": 0}
    assert build_kwargs(signature, {"value": value}) == {"value": argument}
    assert type(build_kwargs(signature, {"value": value})["value"]) is type(argument)


@pytest.mark.parametrize(
    ("annotation", "default", "values", "kind", "value", "argument"),
    [
        (Color, MISSING, ["red", "blue"], "string", "blue", Color.BLUE),
        (Level, Level.LOW, [1, 2], "integer", 2, Level.HIGH),
        (Literal["a", "b"], MISSING, ["a", "b"], "string", "b", "b"),
        (str, Input(choices=["x", "y", "x"]), ["x", "y"], "string", "y", "y"),
        (str, Input(choices={"x": 1, "y": 2}.keys()), ["x", "y"], "string", "y", "y"),
        (str, Input(choices=Color, default=Color.RED), ["red", "blue"], "string", "blue", "blue"),
        (int, Input(choices=range(64, 129, 64), default=64), [64, 128], "integer", 128, 128),
        (float, Input(choices=[0.5, 1]), [0.5, 1], "number", 1, 1),
    ],
)
def test_choices(annotation, default, values, kind, value, argument):
    signature = signature_of(annotation, default)
    found = input_schema(signature)
    assert found["value"] == {"type": kind, "title": "value", "enum": values, "description": "An enumeration."}
    assert found["Input"]["properties"]["value"]["allOf"] == [{"$ref": "#/components/schemas/value"}]
    assert "type" not in found["Input"]["properties"]["value"]
    assert build_kwargs(signature, {"value": value})["value"] == argument
    with pytest.raises(InputError, match="value: must be one of"):
        build_kwargs(signature, {"value": "neither"})


def test_default_of_an_enum_is_its_value_in_the_schema_and_a_member_for_the_function():
    signature = signature_of(Color, Color.RED)
    assert input_schema(signature)["Input"]["properties"]["value"]["default"] == "red"
    assert build_kwargs(signature, {})["value"] is Color.RED
    assert build_kwargs(signature_of(Color, Input(default="blue")), {})["value"] is Color.BLUE


def test_choices_of_list_items():
    signature = signature_of(list[str], Input(choices=["a", "b"]))
    found = input_schema(signature)
    assert found["Input"]["properties"]["value"]["items"] == {"$ref": "#/components/schemas/value"}
    assert build_kwargs(signature, {"value": ["b", "a"]})["value"] == ["b", "a"]
    with pytest.raises(InputError, match=r"value\.1: must be one of 'a', 'b'"):
        build_kwargs(signature, {"value": ["a", "c"]})


@pytest.mark.parametrize("name", ["Input", "Output", "Status", "PredictionRequest"])
def test_a_parameter_cannot_hide_a_component(name):
    predict = eval(f"lambda {name}: 0")
    predict.__annotations__ = {name: Literal["a", "b"], "return": str}
    found = openapi_schema(inspect_callable(predict))["components"]["schemas"]
    assert found["Input"]["properties"][name]["allOf"] == [{"$ref": f"#/components/schemas/{name}_"}]
    assert found[f"{name}_"]["enum"] == ["a", "b"]


OPTIONAL = [
    # declaration, required, what an omitted input becomes
    (int, Input(default=None), False, None),
    (Path, Input(default=None), False, None),
    (Secret, Input(default=None), False, None),
    (Optional[Path], Input(description="d"), False, None),
    (Optional[str], Input(default=None), False, None),
    (Optional[str], MISSING, False, None),
    (Optional[int], Input(default=4), False, 4),
    (int, 4, False, 4),
    (int, None, False, None),
    (float, Input(default=7), False, 7.0),
    (Path, Input(default="/a.png"), False, Path("/a.png")),
    (Path, Path("/a.png"), False, Path("/a.png")),
    (Secret, Input(default="s"), False, Secret("s")),
    (list[Path], Input(default=["/a.png"]), False, [Path("/a.png")]),
    (Point, Input(default={"x": 1}), False, Point(1.0)),
    (str, Input(), True, MISSING),
    (str, Input(...), True, MISSING),
    (str, MISSING, True, MISSING),
    (Any, MISSING, True, MISSING),
]


@pytest.mark.parametrize(("annotation", "default", "required", "omitted"), OPTIONAL)
def test_required_and_optional(annotation, default, required, omitted):
    signature = signature_of(annotation, default)
    assert input_schema(signature)["Input"].get("required", []) == (["value"] if required else [])
    if required:
        with pytest.raises(InputError, match="value: Field required"):
            build_kwargs(signature, {})
    else:
        assert build_kwargs(signature, {}) == build_kwargs(signature, {"value": None}) == {"value": omitted}


@pytest.mark.parametrize(
    "annotation", [Optional[int], str | None, Optional[Path], Optional[Secret], Optional[list[int]]]
)
def test_none_is_the_published_default_of_an_optional_input(annotation):
    properties = input_schema(signature_of(annotation, Input(default=None)))["Input"]["properties"]
    assert properties["value"]["default"] is None
    assert properties["value"]["nullable"] is True
    assert "default" not in input_schema(signature_of(annotation))["Input"]["properties"]["value"]


def test_none_for_a_type_that_is_not_optional_publishes_no_default():
    assert "default" not in input_schema(signature_of(int, Input(default=None)))["Input"]["properties"]["value"]


@pytest.mark.parametrize(
    ("annotation", "default", "argument"),
    [
        (Path, Path("image.png"), Path("image.png")),
        (Path, Input(default="image.png"), Path("image.png")),
        (Optional[Path], Input(default=Path("image.png")), Path("image.png")),
        (list[Path], Input(default=[Path("a.png"), "b.png"]), [Path("a.png"), Path("b.png")]),
    ],
)
def test_a_default_of_the_models_own_files_is_handed_over_and_not_published(annotation, default, argument):
    """Published, the worker would fetch it as a URL, and a form would send what every create refuses."""
    signature = signature_of(annotation, default)
    assert "default" not in input_schema(signature)["Input"]["properties"]["value"]
    assert "required" not in input_schema(signature)["Input"]
    assert build_kwargs(signature, {}) == {"value": argument}


def test_a_secret_default_is_not_published():
    assert "default" not in input_schema(signature_of(Secret, Input(default="s")))["Input"]["properties"]["value"]


def test_a_default_that_is_no_json_is_left_out_of_the_schema():
    properties = input_schema(signature_of(float, Input(default=float("inf"))))["Input"]["properties"]
    assert "default" not in properties["value"]


def test_an_authors_odd_default_is_passed_on():
    assert build_kwargs(signature_of(int, Input(default=0.5)), {}) == {"value": 0.5}


def test_a_default_url_must_have_been_fetched():
    signature = signature_of(Path, Input(default="https://host/a.png"))
    assert input_schema(signature)["Input"]["properties"]["value"]["default"] == "https://host/a.png"
    with pytest.raises(InputError, match="not fetched"):
        build_kwargs(signature, {})


def test_everything_an_input_can_say():
    field = Input(
        "abc", "What", min_length=2, max_length=5, regex="^[a-z]+$", deprecated=True, accept=["text/plain"]
    )  # fmt: skip
    assert input_schema(signature_of(str, field))["Input"]["properties"]["value"] == {
        "type": "string",
        "title": "Value",
        "minLength": 2,
        "maxLength": 5,
        "pattern": "^[a-z]+$",
        "default": "abc",
        "deprecated": True,
        "x-cog-accept": ["text/plain"],
        "x-order": 0,
        "description": "What",
    }


@pytest.mark.parametrize(
    ("annotation", "field", "value", "message"),
    [
        (int, Input(ge=1), 0, "greater than or equal to 1"),
        (float, Input(le=1), 1.5, "less than or equal to 1"),
        (str, Input(min_length=2), "a", "at least 2"),
        (str, Input(max_length=1), "ab", "at most 1"),
        (list[int], Input(max_length=1), [1, 2], "at most 1"),
        (Secret, Input(min_length=2), "a", "at least 2"),
        (str, Input(regex="^a"), "ba", "must match '\\^a'"),
        (str, MISSING, 1, "value: must be a text, not a whole number"),
        (int, MISSING, "1", "must be a whole number, not a text"),
        (int, MISSING, True, "must be a whole number, not true or false"),
        (int, MISSING, 1.5, "must be a whole number, not a fractional number"),
        (float, MISSING, 10**400, "too large"),
        (bool, MISSING, 1, "must be true or false, not a whole number"),
        (list[int], MISSING, ["a"], r"value\.0: must be a whole number, not a text"),
        (dict[str, int], MISSING, {"a": "b"}, r"value\.a: must be a whole number, not a text"),
        (dict, MISSING, [], "must be an object, not a list"),
        (Path, MISSING, 3, "must be a file, not a whole number"),
        (Path, MISSING, "https://host/a", "not fetched"),
        (cog.File, MISSING, "/nowhere/at/all", "cannot be opened"),
        (str | int, MISSING, 1.5, r"must be a text or a whole number, not a fractional number"),
        (Point, MISSING, {}, r"value\.x: Field required"),
        (
            Settings,
            MISSING,
            {"steps": "many"},
            r"^value\.steps: Input should be a valid integer, unable to parse [a-z ]+$",
        ),
        (int | None, MISSING, "x", "must be a whole number or null, not a text"),
        (list[int], MISSING, 3, "must be a list, each item a whole number, not a whole number"),
        (dict[str, float], MISSING, 3, "must be an object, each value a number, not a whole number"),
        (Point, MISSING, 3, "must be an object, not a whole number"),
        (Level, MISSING, True, "must be one of 1, 2"),
    ],
)
def test_values_that_do_not_fit(annotation, field, value, message):
    with pytest.raises(InputError, match=message):
        build_kwargs(signature_of(annotation, field), {"value": value})


def test_a_secret_is_not_shown_in_an_error():
    with pytest.raises(InputError) as raised:
        build_kwargs(signature_of(Secret), {"value": ["hunter2"]})
    assert "hunter2" not in str(raised.value)


def test_file_inputs_are_open_binary_files(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\0\1")
    for annotation in (cog.File, BinaryIO, io.BytesIO):
        with build_kwargs(signature_of(annotation), {"value": str(path)})["value"] as file:
            assert file.read() == b"\0\1"


def test_a_registered_coder_takes_its_type_both_ways():
    Coder.register(MoneyCoder)
    signature = inspect_callable(function(Money, returns=Money))
    found = input_schema(signature)
    assert found["Input"]["properties"]["value"]["type"] == found["Output"]["type"] == "object"
    assert build_kwargs(signature, {"value": {"cents": 5}})["value"].cents == 5
    assert encode_output([Money(5)]) == ([{"cents": 5}], [])
    with pytest.raises(InputError, match="cannot be decoded"):
        build_kwargs(signature, {"value": {}})


STRING, URI = {"type": "string"}, {"type": "string", "format": "uri"}
ITERATOR = {"x-cog-array-type": "iterator"}
CONCATENATE = {**ITERATOR, "x-cog-array-display": "concatenate"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, STRING),
        (Path, URI),
        (cog.File, URI),
        (int, {"type": "integer"}),
        (Any, {}),
        (object, {}),
        (dict, {"type": "object"}),
        (list, {"type": "array", "items": {}}),
        (Tuple[str, int], {"type": "array", "items": {}}),
        (tuple[str, ...], {"type": "array", "items": STRING}),
        (set[str], {"type": "array", "items": STRING}),
        (Dict[str, Dict[str, str]], {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": STRING}}),
        (dict[str, Path], {"type": "object", "additionalProperties": URI}),
        (Optional[str], {**STRING, "nullable": True}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (List[Path], {"type": "array", "items": URI}),
        (Iterator[Path], {"type": "array", "items": URI, **ITERATOR}),
        (abc.Iterator[Path], {"type": "array", "items": URI, **ITERATOR}),
        (abc.AsyncGenerator[Path, None], {"type": "array", "items": URI, **ITERATOR}),
        (Iterator, {"type": "array", "items": {}, **ITERATOR}),
        (Iterator[list[str]], {"type": "array", "items": {"type": "array", "items": STRING}, **ITERATOR}),
        (Generator[str, None, None], {"type": "array", "items": STRING, **ITERATOR}),
        (AsyncIterator[Any], {"type": "array", "items": {}, **ITERATOR}),
        (cog.ConcatenateIterator[str], {"type": "array", "items": STRING, **CONCATENATE}),
        (cog.ConcatenateIterator, {"type": "array", "items": STRING, **CONCATENATE}),
        (cog.AsyncConcatenateIterator[str], {"type": "array", "items": STRING, **CONCATENATE}),
        (
            Box,
            {
                "type": "object",
                "required": ["width", "tags"],
                "properties": {
                    "width": {"type": "integer", "title": "Width"},
                    "label": {**STRING, "nullable": True, "title": "Label"},
                    "tags": {"type": "array", "items": STRING, "title": "Tags"},
                },
            },
        ),
        (
            Caption,
            {
                "type": "object",
                "required": ["role", "picture"],
                "properties": {
                    "role": {**STRING, "title": "Role"},
                    "score": {"type": "number", "title": "Score"},
                    "picture": {**URI, "title": "Picture"},
                },
            },
        ),
        (List[Message], {"type": "array", "items": {"type": "object", "required": ["role"], "properties": {"role": {**STRING, "title": "Role"}}}}),
        (Undescribed, {"type": "object"}),
        (
            Tree,
            {
                "type": "object",
                "required": ["name", "children"],
                "properties": {
                    "name": {**STRING, "title": "Name"},
                    "children": {"type": "array", "items": {"type": "object"}, "title": "Children"},
                },
            },
        ),
    ],
)  # fmt: skip
def test_output_types(annotation, schema):
    signature = inspect_callable(function(str, returns=annotation))
    assert input_schema(signature)["Output"] == {"title": "Output", **schema}


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (bytes, "bytes is not a type"),
        (dt.datetime, "datetime is not a type"),
        (tuple[int, int], "is not a type"),
        (set[int], "is not a type"),
        (Union[str, Path], "leaves open what a text means"),
        (Optional[Secret | str], "leaves open"),
        (dict[str, Path], "not fetched"),
        (list[list[Path]], "not fetched"),
        (None, "None alone says nothing"),
        (Literal["a", 1], "all texts or all numbers, not int, str"),
        (Money, "Money is not a type"),
        ("Nowhere", "cannot be resolved: name 'Nowhere'"),
    ],
)
def test_input_types_that_have_no_meaning(annotation, message):
    with pytest.raises(ContractError, match=message):
        signature_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "field", "message"),
    [
        (bool, Input(choices=[True, False]), "choices are for"),
        (str, Input(choices=[1, 2]), "choice 1 is not of type str"),
        (str, Input(choices=[]), "nothing to choose"),
        (str, Input(ge=1), "ge is for int and float, not str"),
        (int, Input(ge=float("nan")), "finite"),
        (int, Input(max_length=1), "for str and lists"),
        (int, Input(regex="a"), "regex is for str"),
        (str, Input(regex="("), "not a regular expression"),
    ],
)
def test_inputs_that_contradict_their_type(annotation, field, message):
    with pytest.raises(ContractError, match=rf"predict\(\): parameter 'value': .*{message}"):
        signature_of(annotation, field)


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        (str, None, "the output is declared as str, but it is None"),
        (str, 3, "declared as str, but it is int"),
        (int, 1.5, "declared as int"),
        (list[str], ["a", None], "output at /1 is declared as str, but it is None"),
        (Path, "out.png", "wrap the name of a file in cog.Path"),
        (Box, {"width": "wide", "tags": []}, "output at /width is declared as int"),
        (Box, Box(width=1, tags=None), "output at /tags"),
        (Message, {"name": "a"}, "output at /role is declared as str, but it is None"),
        (
            Caption,
            {"role": "a", "score": "high", "picture": "https://host/a.png"},
            "output at /score is declared as float",
        ),
        (dict, [], "declared as dict"),
        (dict[str, int], {"a/b": "c"}, "output at /a~1b"),
        (Union[int, str], 1.5, r"declared as int \| str"),
        (Literal["a"], "b", "declared as one of 'a'"),
        (list[int], Path("/etc/hostname"), "declared as list\\[int\\], but it is a file"),
    ],
)
def test_outputs_that_break_their_declaration(declared, value, message):
    shape = inspect_callable(function(str, returns=declared)).output.shape
    with pytest.raises(OutputError, match=message):
        encode_output(value, shape)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Any, None),
        (str, "a"),
        (Optional[str], None),
        (int, 2.0),
        (float, 2),
        (Path, "https://host/a.png"),
        (Union[str, Path], "a"),
        (Box, {"width": 1, "tags": [], "more": 1}),
        (tuple[int, ...], (1, 2)),
        (Settings, Settings(steps=1)),
        (Message, {"role": "a"}),
        (Caption, {"role": "a", "picture": "https://host/a.png"}),
        (Undescribed, {"raw": "text"}),
        (dict[str, Any], {"a": None}),
        (Color, Color.RED),
    ],
)
def test_outputs_that_keep_it(declared, value):
    shape = inspect_callable(function(str, returns=declared)).output.shape
    encode_output(value, shape)


@pytest.mark.parametrize("declared", [Path, str, Any, Optional[Path], Union[str, Path], list[Path]])
def test_a_file_fits_where_a_url_does(declared, tmp_path):
    path = Path(tmp_path / "a.txt")
    path.write_text("a")
    shape = inspect_callable(function(str, returns=declared)).output.shape
    value, files = encode_output([path] if declared == list[Path] else path, shape)
    assert value in (None, [None])
    assert files[0].name == "a.txt"
