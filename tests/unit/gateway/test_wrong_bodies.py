"""Errors for wrong bodies and queries: one per field, with the same texts as for inputs."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.contracts.api.accounts import UpdateAccount
from tidemill.contracts.api.deployments import CreateDeployment, UpdateDeployment
from tidemill.contracts.api.models import UpdateModel
from tidemill.contracts.api.predictions import CreatePrediction, CreatePredictionOfVersion
from tidemill.contracts.api.pushes import CreatePush
from tidemill.contracts.api.tokens import CreateToken
from tidemill.contracts.api.trainings import CreateTraining
from tidemill.contracts.errors import Problem
from tidemill.gateway.call import Call, decode
from tidemill.gateway.listing import queries
from tidemill.gateway.triggers import ROUTES

BODIES = {
    kind.__name__: kind
    for route in ROUTES
    for declared in [route.operation.body]
    for kind in (declared if isinstance(declared, tuple) else (declared,))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
}


def refused(kind, body):
    with pytest.raises(Problem) as caught:
        decode(json.dumps(body).encode(), kind)
    assert (caught.value.status, caught.value.title) == (422, "Input validation failed")
    return caught.value


def flaws(kind, body):
    return [(each["type"], each["field"], each["description"]) for each in refused(kind, body).extra["invalid_fields"]]


@pytest.mark.parametrize(
    ("kind", "right", "misspelt", "meant"),
    [
        (CreatePrediction, {"input": {}}, "webhok", "webhook"),
        (CreatePrediction, {"input": {}}, "web_hook", "webhook"),
        (CreatePrediction, {"input": {}}, "webhook_event_filter", "webhook_events_filter"),
        (UpdateDeployment, {}, "max_instance", "max_instances"),
        (UpdateModel, {}, "desciption", "description"),
        (UpdateAccount, {}, "avatar", "avatar_url"),
        (CreateTraining, {"destination": "a/b", "input": {}}, "destinaton", "destination"),
        (CreatePrediction, {"input": {}}, "prompt", None),
    ],
)
def test_a_member_that_there_is_not_is_refused_with_the_one_that_was_meant(kind, right, misspelt, meant):
    decode(json.dumps(right).encode(), kind)
    problem = refused(kind, {**right, misspelt: 1})
    text = f"Additional property {misspelt} is not allowed"
    field = {"type": "additional_property_not_allowed", "field": "", "description": text}
    assert problem.extra["invalid_fields"] == [{**field, "suggestion": meant} if meant else field]
    assert problem.detail == (f"- {text} (did you mean {meant}?)\n" if meant else f"- {text}\n")


@pytest.mark.parametrize("kind", BODIES.values(), ids=BODIES)
def test_every_body_has_a_closed_list_of_members(kind):
    text = "Additional property nothing_like_it is not allowed"
    assert ("additional_property_not_allowed", "", text) in flaws(kind, {"nothing_like_it": 1})


def test_files_of_a_push_have_a_closed_list_too():
    file = {"path": "a", "sha256": "0" * 64, "size": 1, "exectuable": True}
    assert flaws(CreatePush, {"files": [file]}) == [
        ("additional_property_not_allowed", "files.0", "Additional property exectuable is not allowed")
    ]


@pytest.mark.parametrize(
    ("kind", "body", "kind_of_flaw", "field", "description"),
    [
        (CreatePrediction, {}, "required", "", "input is required"),
        (CreatePredictionOfVersion, {"input": {}}, "required", "", "version is required"),
        (CreatePrediction, [], "invalid_type", "", "Invalid type. Expected: object, given: array"),
        (CreatePrediction, {"input": {}, "webhook": 5}, "invalid_type", "webhook",
         "Invalid type. Expected: string, given: integer"),
        (CreatePrediction, {"input": {}, "priority": 11}, "number_lte", "priority",
         "Must be less than or equal to 10"),
        (CreatePrediction, {"input": {}, "webhook_events_filter": ["end"]}, "enum", "webhook_events_filter.0",
         'webhook_events_filter.0 must be one of the following: "completed", "logs", "output", "start"'),
        (CreateToken, {"name": "x", "scopes": []}, "array_min_items", "scopes", "Array must have at least 1 items"),
        (CreateToken, {"name": "x", "expires_at": "tomorrow"}, "format", "expires_at",
         "Does not match format 'date-time'"),
        (CreateToken, {"name": "x", "expires_at": "2027-01-01T00:00:00"}, "format", "expires_at",
         "Does not match format 'date-time'"),
    ],
)  # fmt: skip
def test_a_wrong_member_is_told_in_the_words_for_inputs(kind, body, kind_of_flaw, field, description):
    assert flaws(kind, body) == [(kind_of_flaw, field, description)]


def test_all_that_is_wrong_is_told_at_once():
    wrong = flaws(CreateDeployment, {"name": "A B", "model": "a/b", "min_instances": -1, "max_instances": "many"})
    assert sorted((kind, field) for kind, field, _ in wrong) == [
        ("invalid_type", "max_instances"),
        ("number_gte", "min_instances"),
        ("pattern", "name"),
        ("required", ""),
        ("required", ""),
    ]
    assert not any("^" in text for _, _, text in wrong), "nobody is answered a regular expression"


TEXT = st.text("abc_0", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def bodies(draw):
    kind = draw(st.sampled_from(list(BODIES.values())))
    names = st.sampled_from([field.encode_name for field in msgspec.structs.fields(kind)]) | TEXT
    return kind, draw(st.dictionaries(names, JSON, max_size=6) | JSON)


@given(bodies())
@settings(max_examples=600, suppress_health_check=list(HealthCheck))
def test_the_decoder_never_speaks(asked):
    kind, body = asked
    try:
        decode(json.dumps(body).encode(), kind)
    except Problem as problem:
        fields = problem.extra["invalid_fields"]
    else:
        return
    assert fields
    for each in fields:
        assert "`" not in each["description"].partition("Must be")[0], each
        assert not each["description"].startswith(("Expected", "Object", "Invalid enum", "Invalid value")), each


@pytest.mark.parametrize(
    ("kind", "query", "said"),
    [
        (queries.SearchQuery, {"query": "x", "limit": "many"}, "limit: Invalid type. Expected: integer, given: string"),
        (queries.SearchQuery, {"query": "x", "limit": "0"}, "limit: Must be greater than or equal to 1"),
        (queries.ModelsQuery, {"sort_by": "age"}, "sort_by: sort_by must be one of the following: "),
        (queries.PredictionsQuery, {"created_after": "soon"}, "created_after: Does not match format 'date-time'"),
        (queries.ListenQuery, {"all": "perhaps"}, "all: Invalid type. Expected: boolean, given: string"),
    ],
)
def test_a_wrong_query_is_told_in_the_same_words(kind, query, said):
    with pytest.raises(Problem) as caught:
        Call(SimpleNamespace(query=query), None, None, None).parse_query(kind)
    assert caught.value.status == 400
    assert caught.value.detail.startswith(f"The query is not as expected: {said}")
