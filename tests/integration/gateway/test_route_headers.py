"""Headers that clients go by, held against the whole route table."""

import re

import aiohttp
import pytest

from tidemill.contracts.errors import Problem, throttled, unavailable
from tidemill.contracts.ids import new_id
from tidemill.gateway.http import problem_response
from tidemill.gateway.triggers import ROUTES

POLLED = [route for route in ROUTES if route.method == "GET" and route.operation.scope is not None]
CREATING = {route.operation.name for route in ROUTES if route.operation.status == 201}
PLAIN = {"visibility": "private", "hardware": "cpu"}
# What makes each thing: (method, path, JSON body). Who adds an operation that answers 201 adds how to try it here.
MADE = {
    "predictions.create": ("POST", "/predictions", {"version": "{echo}", "input": {"text": "x"}}),
    "models.predictions.create": ("POST", "/models/{echo}/predictions", {"input": {"text": "x"}}),
    "models.create": ("POST", "/models", {"owner": "{owner}", "name": "n{id}", **PLAIN}),
    "tokens.create": ("POST", "/tokens", {"name": "another"}),
    "organizations.create": ("POST", "/organizations", {"username": "o{id}"}),
    "event-consumers.create": ("POST", "/event-consumers", {"name": "c{id}"}),
}  # fmt: skip
# Tried in the tests named, or without one place where to find what was made.
ELSEWHERE = {
    "files.create": "here, with a form",
    "blobs.put": "test_models_and_pushes_api",
    "predictions.batch.create": "many things",
    "deployments.predictions.create": "test_deployments_api: the same code as predictions.create",
    "trainings.create": "test_trainings_api: the same code as predictions.create",
    "models.examples.create": "test_models_discovery",
    "pushes.create": "test_models_and_pushes_api",
}


@pytest.mark.parametrize("route", POLLED, ids=lambda route: route.path)
async def test_no_cache_keeps_what_needs_a_token(gateway, alice, route):
    path = re.sub(r"\{[^}]*\}", "x", route.path)
    for headers in (alice.headers, {"Authorization": "Bearer nobody"}):
        async with gateway.http.get(f"{gateway.url}/v1{path}", headers=headers) as response:
            assert response.headers["Cache-Control"] == "no-store"


def filled(value, words):
    if isinstance(value, dict):
        return {key: filled(each, words) for key, each in value.items()}
    return re.sub(r"\{(\w+)\}", lambda match: words[match[1]], value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", MADE)
@pytest.mark.usefixtures("events")
async def test_what_was_made_is_where_the_answer_says(gateway, alice, echo, name):
    method, path, body = filled_all(MADE[name], {"echo": echo, "owner": alice.username, "id": new_id()})
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", json=body, headers=alice.headers) as response:
        assert response.status == 201, await response.text()
        location, made = response.headers["Location"], await response.json()
    assert await found(gateway, alice, location) == made.get("id", made.get("name"))


def filled_all(request, words):
    method, path, body = request
    return method, filled(path, words), filled(body, words)


async def found(gateway, account, location):
    """The id or the name of what is there."""
    assert location.startswith(f"{gateway.url}/v1/")
    async with gateway.http.get(location, headers=account.headers) as response:
        assert response.status == 200, location
        there = await response.json()
        return there.get("id", there.get("name"))


async def test_an_uploaded_file_is_where_the_answer_says(gateway, alice):
    form = aiohttp.FormData()
    form.add_field("content", b"hello", filename="a.txt")
    async with gateway.http.post(f"{gateway.url}/v1/files", data=form, headers=alice.headers) as response:
        assert await found(gateway, alice, response.headers["Location"]) == (await response.json())["id"]


def test_every_operation_that_makes_something_is_tried():
    assert {*MADE, *ELSEWHERE} == CREATING
    assert not {*MADE} & {*ELSEWHERE}


@pytest.mark.parametrize("problem", [throttled(7), unavailable("away", 3), Problem(429, "x"), Problem(503, "x")])
def test_who_is_sent_away_is_told_when_to_come_again(problem):
    assert int(problem_response(problem).headers["Retry-After"]) >= 1
