import dataclasses
import datetime as dt
import enum
import io
import json
import os
import pathlib
import tempfile
import types
from collections import OrderedDict, deque, namedtuple

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cog
from tidemill.model.errors.contract import OutputError
from tidemill.model.values.encode import OutputFile, encode_output

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_plain_json_passes_unchanged(value):
    assert encode_output(value) == (value, [])


@given(st.recursive(st.text(st.characters()) | st.integers(), st.lists, max_leaves=5))
def test_whatever_comes_out_is_strict_utf8_json(value):
    encoded, _ = encode_output(value)
    json.dumps(encoded, allow_nan=False, ensure_ascii=False).encode("utf-8")


@given(st.text(st.characters(categories=["Cs", "L"]), min_size=1))
def test_lone_surrogates_are_replaced(text):
    encoded, _ = encode_output({text: text})
    ((key, value),) = encoded.items()
    assert key == value
    assert len(value) == len(text)
    value.encode()


@given(st.lists(st.sampled_from(["a.png", "b.png", "noext", "a-1.png"]), max_size=8))
def test_files_keep_apart_names_and_their_places(names):
    with tempfile.TemporaryDirectory() as root:
        paths = []
        for index, name in enumerate(names):
            path = pathlib.Path(root, str(index), name)
            path.parent.mkdir()
            path.write_text(str(index))
            paths.append(path)
        encoded, files = encode_output({"x/y~": paths})
        assert encoded == {"x/y~": [None] * len(names)}
        assert [file.pointer for file in files] == [f"/x~1y~0/{index}" for index in range(len(names))]
        assert [pathlib.Path(file.path).read_text() for file in files] == [str(index) for index in range(len(names))]
        assert len({file.name for file in files}) == len(names)
        assert [pathlib.Path(file.name).suffix for file in files] == [path.suffix for path in paths]


class Color(enum.Enum):
    RED = "red"


class Tone(str, enum.Enum):  # noqa: UP042 - as models write it
    DARK = "dark"


class Level(enum.IntEnum):
    HIGH = 2


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int
    inner: object = None


class Box(cog.BaseModel):
    width: int
    dict: str = "a field may have any name"


class Settings(pydantic.BaseModel):
    steps: int
    when: dt.date = dt.date(2024, 2, 3)


class Legacy:
    def dict(self):
        return {"legacy": Color.RED}


class Root(pydantic.RootModel[list[int]]):
    pass


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - as models write it


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, "red"),
        (Tone.DARK, "dark"),
        (Level.HIGH, 2),
        (Text("t"), "t"),
        (True, True),
        (dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2024-01-02T03:04:05+00:00"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(1, 2), "01:02:00"),
        (Point(1, Point(2)), {"x": 1, "inner": {"x": 2, "inner": None}}),
        (Box(width=1), {"width": 1, "dict": "a field may have any name"}),
        (Settings(steps=1), {"steps": 1, "when": "2024-02-03"}),
        (Root([1, 2]), [1, 2]),
        (Legacy(), {"legacy": "red"}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ((1, "a"), [1, "a"]),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (Pair(1, 2), [1, 2]),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        (map(str, [1]), ["1"]),
        ((number for number in [1, 2]), [1, 2]),
        ({1: "a", None: "b", True + 1: "c", False: "d", 0.5: "e", Color.RED: "f"}, None),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(1), True),
        (np.str_("a"), "a"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({np.int64(1): np.zeros(2)}, {"1": [0.0, 0.0]}),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (cog.URLPath(source="https://h/a.png", filename="a.png", fileobj=None), "https://h/a.png"),
    ],
)
def test_normalisation(value, expected):
    encoded, files = encode_output(value)
    if expected is None:
        expected = {"1": "a", "null": "b", "2": "c", "false": "d", "0.5": "e", "red": "f"}
    assert encoded == expected
    assert type(encoded) is type(expected)
    assert files == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "the output is nan, and JSON has no NaN"),
        ({"a": [np.float32("inf")]}, "the output at /a/0 is inf"),
        (np.array([1.0, np.nan]), "the output at /1 is nan"),
        (torch.tensor(1.0), r"is a torch Tensor; return \.item\(\)"),
        ([torch.float16], "the output at /0 is a torch dtype"),
        (b"bytes", "is bytes; write them to a file"),
        (bytearray(b"b"), "is bytes"),
        (object(), "is of type object, which JSON has no form for"),
        (Point, "is of type type"),
        (cog.Secret("hunter2"), "is of type Secret"),
        ({(1, 2): 3}, "has a key of type tuple"),
        ({1: "a", "1": "b"}, "two keys that are '1'"),
        (pathlib.Path("/nowhere/out.png"), "names the file '/nowhere/out.png', which cannot be read: No such file"),
        (pathlib.Path("/tmp"), "not a regular file"),
        (pathlib.Path("/dev/null"), "not a regular file"),
        (pathlib.Path("a\0b"), "cannot be read"),
        ({"a": complex(1)}, "the output at /a is of type complex"),
    ],
)
def test_what_is_refused(value, message):
    with pytest.raises(OutputError, match=message):
        encode_output(value)


def test_an_async_generator_inside_is_refused():
    async def generate():
        yield 1

    with pytest.raises(OutputError, match="async async_generator"):
        encode_output([generate()])


def test_a_value_that_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(OutputError, match="contains itself"):
        encode_output(value)


def test_texts_are_never_paths(tmp_path):
    path = tmp_path / "real.txt"
    path.write_text("secret")
    assert encode_output([str(path), f"file://{path}"]) == ([str(path), f"file://{path}"], [])


def test_files_inside_records_keep_their_place(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x")
    encoded, files = encode_output(Point(1, {"deep": (cog.Path(path), "t")}))
    assert encoded == {"x": 1, "inner": {"deep": [None, "t"]}}
    assert files == [OutputFile("/inner/deep/0", "a.txt", str(path))]
    assert encode_output(path)[1][0].pointer == ""


def test_the_same_file_twice_is_two_files(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_text("x")
    _, files = encode_output([path, path])
    assert [file.name for file in files] == ["a.tar.gz", "a.tar-1.gz"]


def test_file_names_are_valid_text(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.png")
    path.touch()
    _, files = encode_output(path)
    files[0].name.encode("utf-8")
    assert files[0].name.endswith(".png")
    assert pathlib.Path(files[0].path).exists()


@pytest.fixture
def spill(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def content(ref):
    return pathlib.Path(ref.path).read_bytes()


def test_an_open_file_is_taken_where_it_lies(tmp_path):
    path = tmp_path / "out.txt"
    with path.open("w") as file:
        file.write("not flushed yet")
        encoded, (ref,) = encode_output({"f": file})
        assert encoded == {"f": None}
        assert (ref.name, ref.path) == ("out.txt", str(path))
        assert content(ref) == b"not flushed yet"


def test_a_closed_file_is_taken_where_it_lies(tmp_path):
    with (tmp_path / "out.txt").open("w") as file:
        file.write("x")
    assert encode_output(file)[1][0].path == str(tmp_path / "out.txt")


def test_a_temporary_file_lives_as_long_as_its_reference(spill):
    def predict():
        file = tempfile.NamedTemporaryFile(suffix=".txt")  # noqa: SIM115 - as models return it
        file.write(b"x")
        return file

    _, (ref,) = encode_output(predict())
    assert content(ref) == b"x"
    ref.source.close()


@pytest.mark.parametrize("text", [False, True])
def test_memory_is_spilled_from_its_start(spill, text):
    file = io.StringIO() if text else io.BytesIO()
    file.write("grün" if text else b"\0\1")
    _, (ref,) = encode_output([file])
    assert ref.name == "file"
    assert content(ref) == ("grün".encode() if text else b"\0\1")
    assert pathlib.Path(ref.path).parent == spill


def test_memory_with_a_name_keeps_its_base_name(spill):
    file = io.BytesIO(b"x")
    file.name = "../../etc/cover.png"
    assert encode_output(file)[1][0].name == "cover.png"


def test_an_unlinked_file_is_read(spill):
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        assert content(encode_output(file)[1][0]) == b"x"
    path = spill / "gone.txt"
    with path.open("w+") as file:
        file.write("x")
        path.unlink()
        _, (ref,) = encode_output(file)
        assert (ref.name, content(ref)) == ("gone.txt", b"x")


def test_closed_memory_is_refused():
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(OutputError, match="closed file"):
        encode_output(file)


def test_a_file_that_cannot_be_read_is_refused():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as file, pytest.raises(OutputError, match="cannot be read"):
        encode_output(file)
