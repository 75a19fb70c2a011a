"""`-i name=value` options are parsed by the model's schema."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.errors import CommandError
from tidemill.cli.input_values import parse_values


def schema(**properties):
    return {"components": {"schemas": {"Input": {"properties": properties}, "size": {"type": "string"}}}}


TEXT, NUMBER, TEXTS = {"type": "string"}, {"type": "number"}, {"type": "array", "items": {"type": "string"}}
CHOICE = {"allOf": [{"$ref": "#/components/schemas/size"}]}
EITHER = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
LOOPING = {"allOf": [{"$ref": "#/components/schemas/Looping"}]}


@given(st.text().filter(lambda text: not text.startswith("@")))
def test_texts_are_not_parsed(text):
    assert parse_values([f"a={text}"], schema(a=TEXT)) == {"a": text}
    assert parse_values([f"a={text}"], schema(a=CHOICE)) == {"a": text}


@pytest.mark.parametrize(
    ("given", "definition", "value"),
    [
        ("1.5", NUMBER, 1.5),
        ("1", EITHER, 1),
        ("one", EITHER, "one"),
        ("one", NUMBER, "one"),  # the model says what is wrong with it
        ("NaN", NUMBER, "NaN"),
        ("-1e400", NUMBER, "-1e400"),
        ("true", {"type": "boolean"}, True),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("a=b", TEXT, "a=b"),
        ("", TEXT, ""),
        ("one", TEXTS, ["one"]),
        ('["one", "two"]', TEXTS, ["one", "two"]),
    ],
)
def test_other_values_are_json_where_they_can_be(given, definition, value):
    assert parse_values([f"a={given}"], schema(a=definition)) == {"a": value}


def test_a_list_grows_and_another_value_is_replaced():
    assert parse_values(["a=x", "a=y", "b=x", "b=y"], schema(a=TEXTS, b=TEXT)) == {"a": ["x", "y"], "b": "y"}


def test_a_schema_that_refers_to_itself_ends():
    document = schema(a=LOOPING)
    document["components"]["schemas"]["Looping"] = LOOPING
    assert parse_values(["a=1"], document) == {"a": 1}


def test_a_file_becomes_its_url(tmp_path):
    file = tmp_path / "a b.txt"
    file.write_text("x")
    assert parse_values([f"a=@{file}"], schema(a=TEXT)) == {"a": file.as_uri()}
    assert parse_values([f"a=@{file}"], schema(a=TEXT), send=lambda path: f"sent {path.name}") == {"a": "sent a b.txt"}
    with pytest.raises(CommandError, match="there is no file"):
        parse_values([f"a=@{tmp_path}/none"], schema(a=TEXT))


@pytest.mark.parametrize(("item", "reason"), [("a", "name=value"), ("b=1", "no input 'b'; it has a")])
def test_malformed_inputs_are_refused(item, reason):
    with pytest.raises(CommandError, match=reason):
        parse_values([item], schema(a=TEXT))


def test_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(CommandError, match="not UTF-8"):
        parse_values([b"a=\xff".decode(errors="surrogateescape")], schema(a=TEXT))
