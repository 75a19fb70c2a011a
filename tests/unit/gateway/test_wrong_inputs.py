"""Errors for wrong inputs: Replicate's texts for every keyword of JSON Schema, not the library's."""

import base64
import re

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tidemill.contracts.errors import Problem
from tidemill.gateway.checks.fields import ERRORS_LIMIT, invalid_fields
from tidemill.gateway.checks.formats import is_file_url
from tidemill.gateway.predictions.validation import checker
from tidemill.hosting.files import data_uris
from tidemill.security import data_uri_syntax
from tidemill.security.data_uri_syntax import InvalidDataUri

FILE = {"type": "string", "format": "uri"}


def told(value, **properties):
    """(type, field, description) of what is wrong with an input."""
    schemas = {"Input": {"type": "object", "properties": properties}, "b": {"type": "string", "enum": ["A", "B"]}}
    problem = refusal(checker({"components": {"schemas": schemas}}), value)
    if problem is None:
        return []
    assert (problem.status, problem.title) == (422, "Input validation failed")
    fields = problem.extra["invalid_fields"]
    assert problem.detail == "".join(f"- {each['field']}: {each['description']}\n" for each in fields)
    return [(each["type"], each["field"], each["description"]) for each in fields]


def refusal(check, value):
    try:
        check(value)
    except Problem as problem:
        return problem
    return None


NUMBER = {"type": "integer", "minimum": 1, "maximum": 5}
CHOICE = {"allOf": [{"$ref": "#/components/schemas/b"}]}
NUMBERS = {"type": "array", "items": NUMBER, "minItems": 1, "maxItems": 2}
FILES = {"type": "array", "items": FILE}


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    ("schema", "value", "kind", "field", "description"),
    [
        (NUMBER, 9, "number_lte", "a", "Must be less than or equal to 5"),
        (NUMBER, 0, "number_gte", "a", "Must be greater than or equal to 1"),
        (NUMBER, "abc", "invalid_type", "a", "Invalid type. Expected: integer, given: string"),
        (NUMBER, 1.5, "invalid_type", "a", "Invalid type. Expected: integer, given: number"),
        (NUMBER, True, "invalid_type", "a", "Invalid type. Expected: integer, given: boolean"),
        (CHOICE, "z", "enum", "a", 'a must be one of the following: "A", "B"'),
        (CHOICE, 1, "invalid_type", "a", "Invalid type. Expected: string, given: integer"),
        (NUMBERS, [1, 9], "number_lte", "a.1", "Must be less than or equal to 5"),
        (NUMBERS, ["x"], "invalid_type", "a.0", "Invalid type. Expected: integer, given: string"),
        (NUMBERS, [], "array_min_items", "a", "Array must have at least 1 items"),
        (NUMBERS, [1, 2, 3], "array_max_items", "a", "Array must have at most 2 items"),
        (NUMBERS, 5, "invalid_type", "a", "Invalid type. Expected: array, given: integer"),
        (FILE, "cat.png", "format", "a", "Does not match format 'uri'"),
        (FILE, 5, "invalid_type", "a", "Invalid type. Expected: string, given: integer"),
        (FILES, ["https://x.example/a", "cat.png"], "format", "a.1", "Does not match format 'uri'"),
    ],
)
def test_an_optional_input_is_told_what_it_would_be_told_without_optional(
    schema, value, kind, field, description, optional
):
    schema = {**schema, "nullable": True} if optional else schema
    assert (kind, f"input.{field}", description) in told({"a": value}, a=schema)
    if optional:
        assert told({"a": None}, a=schema) == []


@pytest.mark.parametrize("nullable", [False, True])
def test_items_that_may_be_null_are_told_of_like_others(nullable):
    items = {**NUMBER, "nullable": True}
    wrong = told({"a": [None, 9, "x"]}, a={"type": "array", "items": items, "nullable": nullable})
    assert [(field, text) for _, field, text in wrong] == [
        ("input.a.1", "Must be less than or equal to 5"),
        ("input.a.2", "Invalid type. Expected: integer, given: string"),
    ]


EITHER = {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "array", "items": {"type": "string"}}]}


@pytest.mark.parametrize(
    ("value", "kind", "field", "description"),
    [
        (5, "invalid_type", "input.a", "Invalid type. Expected: string/array, given: integer"),
        (["x", 5], "invalid_type", "input.a.1", "Invalid type. Expected: string, given: integer"),
        ("long", "string_lte", "input.a", "String length must be less than or equal to 2"),
    ],
)
def test_of_several_types_the_one_that_was_given_is_told_of(value, kind, field, description):
    for schema in (EITHER, {**EITHER, "nullable": True}):
        assert told({"a": value}, a=schema) == [(kind, field, description)]


def test_schemas_that_could_all_be_meant_are_told_of_together():
    apart = [{"minimum": 4}, {"maximum": -4}]
    each = "Must be greater than or equal to 4; or Must be less than or equal to -4"
    assert told({"a": 0}, a={"anyOf": apart}) == [
        ("number_any_of", "input.a", f"Must validate at least one schema (anyOf): {each}")
    ]
    assert told({"a": 0}, a={"oneOf": apart}) == [
        ("number_one_of", "input.a", f"Must validate one and only one schema (oneOf): {each}")
    ]


@pytest.mark.parametrize(
    ("schema", "value", "kind", "description"),
    [
        ({"exclusiveMinimum": 1.0}, 1, "number_gt", "Must be greater than 1"),
        ({"exclusiveMaximum": 1}, 1, "number_lt", "Must be less than 1"),
        ({"multipleOf": 8}, 12, "multiple_of", "Must be a multiple of 8"),
        ({"multipleOf": 0.5}, 0.7, "multiple_of", "Must be a multiple of 0.5"),
        ({"minLength": 2}, "x", "string_gte", "String length must be greater than or equal to 2"),
        ({"pattern": "^a+$"}, "b", "pattern", "Does not match pattern '^a+$'"),
        ({"const": {"x": 1}}, 2, "const", 'a does not match: {"x":1}'),
        ({"enum": [1, "x", None]}, 2, "enum", 'a must be one of the following: 1, "x", null'),
        ({"uniqueItems": True}, [1, {"x": 1}, 2, {"x": 1}], "unique", "array items[1,3] must be unique"),
        ({"uniqueItems": True}, [1, 1.0], "unique", "array items must be unique"),
        ({"contains": {"const": 1}}, [2], "contains", "At least one of the items must match"),
        ({"minProperties": 1}, {}, "array_min_properties", "Must have at least 1 properties"),
        ({"maxProperties": 0}, {"x": 1}, "array_max_properties", "Must have at most 0 properties"),
        ({"required": ["x"]}, {}, "required", "x is required"),
        ({"propertyNames": {"const": ""}}, {"x": 1}, "invalid_property_name", 'Property name of "x" does not match'),
        ({"unevaluatedItems": False}, [1], "array_no_additional_items", "No additional items allowed on array"),
        ({"not": {"type": "integer"}}, 1, "number_not", "Must not validate the schema (not)"),
        ({"oneOf": [{}, {}]}, 1, "number_one_of", "Must validate one and only one schema (oneOf)"),
        ({"allOf": [{"minimum": 2}]}, 1, "number_gte", "Must be greater than or equal to 2"),
        ({"contentMediaType": "application/json"}, "{", "", ""),
        ({"format": "date-time"}, "soon", "format", "Does not match format 'date-time'"),
        ({"format": "ipv4"}, "1.2.3", "format", "Does not match format 'ipv4'"),
    ],
)  # fmt: skip
def test_each_keyword_has_the_words_of_gojsonschema(schema, value, kind, description):
    assert told({"a": value}, a=schema) == ([(kind, "input.a", description)] if kind else [])


def test_a_schema_that_allows_nothing_says_so():
    assert told({"a": 1}, a=False) == [("false", "input.a", "False always fails validation")]


def test_members_that_are_too_many_are_told_one_by_one():
    closed = {"type": "object", "properties": {"x": {}}, "additionalProperties": False}
    assert told({"a": {"x": 1, "y": 2, "z": 3}}, a=closed) == [
        ("additional_property_not_allowed", "input.a", f"Additional property {name} is not allowed") for name in "yz"
    ]


def test_a_schema_that_is_none_refuses_inputs_and_breaks_nothing():
    for schema in ({"pattern": "("}, {"exclusiveMinimum": True}, {"type": "text"}):
        with pytest.raises(Problem) as caught:
            checker({"components": {"schemas": {"Input": {"properties": {"a": schema}}}}})
        assert caught.value.status == 422


def test_a_value_with_thousands_of_mistakes_is_told_the_first():
    assert len(told({"a": ["x"] * 5000}, a=NUMBERS)) == ERRORS_LIMIT


@pytest.mark.parametrize(
    "text",
    ["cat.png", "file:///etc/passwd", "https://", "http:///x", "iVBORw0KGgoAAAANSUhEUg==", "https://x.example/a b",
     "data:image/png;base64,A", "data:image/png;base64,!!!!", "data:image/png", "ftp://x.example/a", "//x.example/a",
     "https://u:p@x.example/", "http://[::1", "data:a b,x", "s3://bucket/key"],
)  # fmt: skip
@pytest.mark.parametrize("optional", [False, True])
def test_a_file_that_is_no_url_is_refused_at_the_create(text, optional):
    schema = {**FILE, "nullable": optional}
    assert told({"a": text}, a=schema) == [("format", "input.a", "Does not match format 'uri'")]
    assert told({"a": [text]}, a={"type": "array", "items": schema})[0][:2] == ("format", "input.a.0")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_blank_file_as_forms_send_it_is_named_as_such(text):
    ((kind, field, description),) = told({"a": text}, a={**FILE, "nullable": True})
    assert (kind, field) == ("format", "input.a")
    assert description == "Does not match format 'uri': it is blank; an optional input is left out instead"


@pytest.mark.parametrize(
    "text",
    ["https://x.example/cat.png?size=1#top", "http://localhost:8300/v1/files/x", "HTTPS://X.example", "data:,hello",
     "data:image/png;base64,iVBORw0KGgo=", "DATA:text/plain;charset=utf-8,ü", "data:;base64,QUJD\n"],
)  # fmt: skip
def test_a_file_that_is_a_url_is_taken(text):
    assert told({"a": text}, a=FILE) == []


def decodes(text):
    try:
        data_uris.decode(text)
    except InvalidDataUri:
        return False
    return True


BODY = st.one_of(
    st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
    st.text("AZaz09+/-_= \n%2Bé!", max_size=12),
)


@given(st.sampled_from(["image/png;base64", ";base64", "a/b;x=y;BASE64", "text/plain", "", "a b", "a/b;base64x"]), BODY)
@settings(max_examples=500)
def test_a_data_uri_is_taken_if_and_only_if_it_can_be_decoded(head, body):
    text = f"data:{head},{body}"
    assert is_file_url(text) is decodes(text)
    assert data_uri_syntax.PREFIX == "data:"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab\n", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
SMALL = st.integers(0, 3)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])


def keywords(inner):
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], st.integers(-3, 3)),
            "multipleOf": st.sampled_from([2, 3, 0.5]),
            **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], SMALL),
            **dict.fromkeys(["minProperties", "maxProperties"], SMALL),
            "pattern": st.sampled_from(["^a+$", "b", "(?=a)b"]),
            "format": st.sampled_from(["uri", "date-time", "uuid", "email", "password"]),
            "enum": st.lists(JSON, min_size=1, max_size=3, unique_by=repr),
            "const": JSON,
            "uniqueItems": st.booleans(),
            **dict.fromkeys(["contains", "not", "if", "then", "else", "propertyNames"], inner),
            **dict.fromkeys(["items", "additionalProperties"], inner | st.just(False)),
            **dict.fromkeys(["unevaluatedItems", "unevaluatedProperties"], inner | st.just(False)),
            "prefixItems": several,
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "dependentRequired": st.dictionaries(st.sampled_from("abc"), st.just(["b"]), max_size=1),
            "properties": st.dictionaries(st.sampled_from("abc"), inner | st.just(False), max_size=2),
            **dict.fromkeys(["anyOf", "oneOf", "allOf"], several),
            "nullable": st.booleans(),
        },
    )


SCHEMAS = st.recursive(st.just({}) | st.fixed_dictionaries({"type": TYPES}), keywords, max_leaves=8)
WORDS = re.compile(
    r"""Must\ be\ (?:less|greater)\ than\ (?:or\ equal\ to\ )?\S+ | Must\ be\ a\ multiple\ of\ \S+
    | String\ length\ must\ be\ (?:less|greater)\ than\ or\ equal\ to\ \d+ | Does\ not\ match\ (?:pattern|format)\ '.*'
    | Does\ not\ match\ format\ 'uri':\ it\ is\ blank.* | Does\ not\ match\ the\ schema
    | Does\ not\ match\ format\ '.*':\ it\ is\ blank.*
    | Array\ must\ have\ at\ (?:least|most)\ \d+\ items | Must\ have\ at\ (?:least|most)\ \d+\ properties
    | [\w.]*\ ?must\ be\ one\ of\ the\ following:\ .* | [\w.]*\ ?does\ not\ match:\ .* | \w\ is\ required
    | array\ items(?:\[\d+,\d+\])?\ must\ be\ unique | At\ least\ one\ of\ the\ items\ must\ match
    | No\ additional\ items\ allowed\ on\ array | Additional\ property\ \w\ is\ not\ allowed
    | Property\ name\ of\ ".*"\ does\ not\ match | False\ always\ fails\ validation
    | Invalid\ type\.\ Expected:\ [a-z/]+,\ given:\ [a-z]+ | Must\ not\ validate\ the\ schema\ \(not\)
    | Must\ validate\ (?:at\ least\ one\ schema\ \(anyOf\)|one\ and\ only\ one\ schema\ \(oneOf\))(?::\ .*)?""",
    re.VERBOSE | re.DOTALL,
)


@given(SCHEMAS, JSON)
@settings(max_examples=600, suppress_health_check=list(HealthCheck))
def test_no_text_of_the_library_gets_out_for_any_schema_and_input(schema, value):
    try:
        check = checker({"components": {"schemas": {"Input": schema}}})
    except Problem:
        assume(False)
    problem = refusal(check, value)
    assume(problem is not None)
    fields = problem.extra["invalid_fields"]
    assert 1 <= len(fields) <= ERRORS_LIMIT
    for each in fields:
        assert WORDS.fullmatch(each["description"]), each
        assert each["field"] == "input" or each["field"].startswith("input.")


@given(SCHEMAS, JSON)
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_an_optional_of_any_schema_is_told_the_same(schema, value):
    plain = jsonschema_rs.validator_for({"properties": {"a": schema}})
    optional = jsonschema_rs.validator_for({"properties": {"a": {"anyOf": [schema, {"type": "null"}]}}})
    without = invalid_fields(plain.iter_errors({"a": value}), "input")
    assume(value is not None and "null" not in repr(without))  # what takes a null already says so
    assert invalid_fields(optional.iter_errors({"a": value}), "input") == without
