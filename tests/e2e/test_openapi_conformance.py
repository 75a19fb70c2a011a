"""Every operation of the OpenAPI document against the whole running system: no 5xx, and answers as the document says.

Requests are made from the document by schemathesis, valid and invalid ones; parameters of paths name things that exist
wherever schemathesis means them to be valid. `./just conformance` asks for more of them.
"""

import os
import re

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode, checks
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as conformance

from tidemill.gateway.reference import openapi
from tidemill.gateway.triggers import EXTENSIONS, REPLICATE, ROUTES
from tidemill.testing.world import parameters

LONGER = os.environ.get("CONFORMANCE_EXAMPLES")
EXAMPLES = int(LONGER or 25)
# The tests send the same requests every time; whoever looks for more gets others each time.
SEED = None if LONGER else 1
ANSWER_WITHIN_S = 90
SIGNED = "/files/{id}/download"  # its signatures are made by those who know the secret: tested elsewhere
PATTERN = re.compile(r":[^}]*}")
ENDLESS = "/webhooks/listen"  # a stream that ends when its client does
CHECKS = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
]


def document():
    """The document as a reader of OpenAPI 3.2 would have it, which knows the method QUERY."""
    whole = openapi.document(REPLICATE, EXTENSIONS, "http://127.0.0.1/v1")
    whole["openapi"] = "3.2.0"
    for item in whole["paths"].values():
        if "x-query" in item:
            item["query"] = item.pop("x-query")
    return whole


WHOLE = schemathesis.openapi.from_dict(document(), config=schemathesis.Config(seed=SEED))
SCHEMA = WHOLE.exclude(path=ENDLESS)
SCHEMA.config.generation.modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest.fixture(scope="session")
def session():
    with requests.Session() as http:
        yield http


def sent(case, everything, session):
    return case.call(
        base_url=f"{everything.base_url}/v1",
        headers={"Authorization": f"Bearer {everything.token}"},
        session=session,
        timeout=ANSWER_WITHIN_S,
    )


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.path not in {ENDLESS, SIGNED}], ids=lambda route: route.operation.name
)
def test_a_plain_request_succeeds(route, everything, session):
    """The one request that a user would begin with: without it the others might all be refused."""
    operation = WHOLE[PATTERN.sub("}", route.path)][route.method.lower()]
    body = everything.bodies.get(f"{route.method} {route.path}", NOT_SET)
    if isinstance(body, dict):  # other tests of the session may have made things of these names
        body = {name: f"plain-{value}" if name in {"name", "username"} else value for name, value in body.items()}
    case = operation.Case(
        path_parameters=everything.values(route.method, route.path),
        query=dict(everything.queries.get(route.path, {})),
        body=body,
        media_type=None if body is NOT_SET else next(iter(operation.definition.raw["requestBody"]["content"])),
    )
    response = sent(case, everything, session)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 400, response.text


def placed(case, everything):
    """With real values in the path, unless it was made wrong on purpose."""
    component = case.meta.components.get(ParameterLocation.PATH) if case.meta else None
    if component is None or component.mode == GenerationMode.POSITIVE:
        case.path_parameters = everything.values(case.method.upper(), case.path)
    known = everything.queries.get(case.path, {})
    case.query = {**case.query, **{name: value for name, value in known.items() if name in case.query}}


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_answers_are_what_the_document_says(case, everything, session):
    placed(case, everything)
    case.validate_response(sent(case, everything, session), checks=CHECKS)


def test_the_endless_stream_begins_as_the_document_says(everything):
    headers = {"Authorization": f"Bearer {everything.token}"}
    url = f"{everything.base_url}/v1{ENDLESS}"
    with requests.get(url, headers=headers, stream=True, timeout=ANSWER_WITHIN_S) as response:
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream")
    refused = requests.get(f"{url}?all=perhaps", headers=headers, timeout=ANSWER_WITHIN_S)
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.name)
def test_every_route_has_a_thing_to_ask_for(route, everything):
    """What the requests above would otherwise miss: a new kind of thing, or a pattern that real values do not match."""
    missing = [kind for kind, name in parameters(route.path) if name not in everything.things.get(kind, {})]
    assert not missing, "tidemill.testing.world does not make one"
    declared = document()["paths"][PATTERN.sub("}", route.path)][route.method.lower()]
    schemas = {each["name"]: each["schema"] for each in declared.get("parameters", ()) if each["in"] == "path"}
    for name, value in everything.values(route.method, route.path).items():
        assert jsonschema_rs.is_valid(schemas[name], value), f"{name}={value} is not {schemas[name]}"
