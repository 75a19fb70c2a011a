"""Generated from the route table: a token without the route's scope is refused with its name, whoever's role it has."""

import json
import re
from typing import NamedTuple

import pytest

from tidemill.contracts.access import ROLE_SCOPES, Scope
from tidemill.contracts.ids import new_id
from tidemill.gateway.triggers import ROUTES

SCOPED = [route for route in ROUTES if route.operation.scope is not None]
IDS = [f"{route.method} {route.path}" for route in SCOPED]


class Cast(NamedTuple):
    """Secrets of tokens."""

    lacking: dict[Scope, str]  # each has all scopes but one
    roles: dict[str, str]  # each of an organization, made by a user of that role with the scopes ["*"]


async def ask(gateway, method, path, secret, **kwargs):
    """Status and detail; of an answer that streams, its status alone."""
    headers = {"Authorization": f"Bearer {secret}"}
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=headers, **kwargs) as response:
        if response.content_type.endswith("json"):
            answer = json.loads(await response.read())
            return response.status, answer
        return response.status, None


@pytest.fixture(scope="session")
async def cast(gateway, new_account):
    people = {role: await new_account() for role in ROLE_SCOPES}
    secrets = {role: account.headers["Authorization"].removeprefix("Bearer ") for role, account in people.items()}
    organization, owner = f"org-{new_id()}", secrets["owner"]
    assert (await ask(gateway, "POST", "/organizations", owner, json={"username": organization}))[0] == 201
    for role, account in people.items():
        path = f"/organizations/{organization}/members/{account.username}"
        assert (await ask(gateway, "PUT", path, owner, json={"role": role}))[0] == 200

    async def token(secret, **body):
        status, made = await ask(gateway, "POST", "/tokens", secret, json={"name": "t", **body})
        assert status == 201, made
        return made["token"]

    return Cast(
        {scope: await token(owner, scopes=[each for each in Scope if each != scope]) for scope in Scope},
        {role: await token(secret, account=organization) for role, secret in secrets.items()},
    )


def nowhere(route):
    """The route's path with the names of things that do not exist."""
    return re.sub(r"\{[^}]+\}", lambda _: f"n-{new_id()}", route.path)


def refused(answer, scope):
    status, problem = answer
    return status == 403 and problem["detail"] == f"This token lacks the scope {scope}."


@pytest.mark.parametrize("route", SCOPED, ids=IDS)
async def test_a_token_with_all_scopes_but_the_routes_is_refused(gateway, cast, route):
    scope = route.operation.scope
    assert refused(await ask(gateway, route.method, nowhere(route), cast.lacking[scope]), scope)


@pytest.mark.parametrize("route", SCOPED, ids=IDS)
@pytest.mark.parametrize("role", list(ROLE_SCOPES))
async def test_a_role_reaches_as_far_as_its_scopes(gateway, cast, route, role):
    scope = route.operation.scope
    answer = await ask(gateway, route.method, nowhere(route), cast.roles[role])
    assert refused(answer, scope) == (scope not in ROLE_SCOPES[role]), answer
    assert answer[0] not in {401, 500}


@pytest.mark.parametrize("route", SCOPED, ids=IDS)
async def test_nobody_gets_in_without_a_token(gateway, route):
    async with gateway.http.request(route.method, f"{gateway.url}/v1{nowhere(route)}") as response:
        assert response.status == 401
        assert response.headers["Content-Type"] == "application/problem+json"


def test_reading_is_for_reading_scopes_and_writing_for_writing_ones():
    """QUERY reads; a push and its state are for whoever may push."""
    for route in SCOPED:
        if route.operation.name.startswith(("pushes.", "blobs.")):
            continue
        reads = route.method in {"GET", "QUERY"}
        assert route.operation.scope.endswith(":read" if reads else ":write"), route
