import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.gateway.responses.redaction import redacted
from tidemill.runtime.serializers import REDACTED as MARK

SECRET = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=5)


def seen(given, properties):
    return json.loads(bytes(redacted(msgspec.Raw(json.dumps(given).encode()), properties)))


@pytest.mark.parametrize(
    "schema",
    [
        SECRET,
        {"x-cog-secret": True},
        {"format": "password"},
        {"type": "array", "items": SECRET},
        {"anyOf": [{"type": "null"}, SECRET]},
        {"allOf": [SECRET], "nullable": True},
    ],
)
def test_secrets_in_any_form_are_taken_out(schema):
    properties = json.dumps({"text": {"type": "string"}, "key": schema})
    assert seen({"text": "a", "key": "hunter2"}, properties) == {"text": "a", "key": MARK}
    assert seen({"text": "a"}, properties) == {"text": "a"}


@pytest.mark.parametrize("properties", [None, "null", "[]", "7"])
def test_without_a_schema_nothing_is_shown(properties):
    assert seen({"text": "a"}, properties) == {}


def test_an_input_that_is_no_object_is_not_shown():
    assert seen(["hunter2"], "{}") == {}


@given(st.dictionaries(st.text(max_size=5), VALUES), st.sets(st.text(max_size=5)))
def test_whatever_is_given_no_secret_stays(values, secret):
    properties = {name: SECRET if name in secret else {"type": "string"} for name in {*values, *secret}}
    shown = seen(values, json.dumps(properties))
    assert shown.keys() == values.keys()
    assert all(shown[name] == (MARK if name in secret else values[name]) for name in values)
