"""Generated from the route table: what is somebody else's answers exactly what a missing thing answers.

A new route makes a test here fail until it has its entry:

- its path names an object (`/things/{id}`): OBJECTS gets a maker, which makes one of an account's and returns the
  values of the path's parameters; or SHARED gets the reason why it belongs to nobody;
- it takes a JSON body: BODIES gets a plausible one, and REFERENCES the bodies that name other objects, or
  NO_REFERENCES its name;
- it asks for no token: PUBLIC gets the reason, or ANONYMOUS when it takes one.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import pytest

from tidemill.contracts.ids import is_id, new_id
from tidemill.gateway.call import EVENTS, FORM
from tidemill.gateway.triggers import ROUTES
from tidemill.testing import rows

PARAMETER = re.compile(r"\{[^}]*\}")
# Of an answer's headers, those that tell of the moment and not of the object.
PASSING = re.compile(r"date|content-length|ratelimit-.*|server|connection", re.IGNORECASE)
IDS = {route: f"{route.method} {route.path}" for route in ROUTES}
SECRETS_IN = rows.schema(Input={"type": "object", "properties": {"text": {"type": "string"}}})


class Account(NamedTuple):
    """As those of the fixtures."""

    id: str
    username: str
    headers: dict[str, str]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


async def ask(gateway, account, method, path, **kwargs):
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=account.headers, **kwargs) as response:
        headers = {name: value for name, value in response.headers.items() if not PASSING.fullmatch(name)}
        return Answer(response.status, headers, await response.text())


async def made(gateway, account, path, **kwargs):
    """The JSON of what was created."""
    answer = await ask(gateway, account, "POST", path, **kwargs)
    assert answer.status in {200, 201}, answer
    return json.loads(answer.body)


def name():
    return f"n-{new_id()}"


# --- one object of each kind: (gateway, account) -> the values of its path's parameters ---


async def model(gateway, account):
    """Private, with a version."""
    owner, own, _ = await version(gateway, account)
    return owner, own


async def version(gateway, account, visibility="private"):
    database, own, queue = gateway.parts.database, name(), new_id()
    columns = {"name": own, "visibility": visibility, "latest_queue": queue, "readme": "# Read me"}
    identifier = await rows.model(database, account.id, owner=account.username, **columns)
    await rows.version(database, identifier, queue=queue, openapi_schema=SECRETS_IN)
    return account.username, own, rows.version_id(queue)


async def prediction(gateway, account, model_name="a/b", version_id="v", kind="prediction"):
    at = datetime.now(UTC)
    identifier = await rows.prediction(
        gateway.parts.database,
        account_id=account.id,
        model=model_name,
        version=version_id,
        output="1",
        started_at=at,
        completed_at=at,
        status="succeeded",
        kind=kind,
    )
    return (identifier,)


async def training(gateway, account):
    return await prediction(gateway, account, kind="training")


async def example(gateway, account):
    owner, own, digest = await version(gateway, account)
    (identifier,) = await prediction(gateway, account, f"{owner}/{own}", digest)
    await made(gateway, account, f"/models/{owner}/{own}/examples", json={"prediction": identifier})
    return owner, own, identifier


async def deployment(gateway, account):
    owner, own, digest = await version(gateway, account)
    body = {"name": name(), "model": f"{owner}/{own}", "version": digest, "hardware": "cpu"}
    await made(gateway, account, "/deployments", json={**body, "min_instances": 0, "max_instances": 1})
    return owner, body["name"]


async def file(gateway, account):
    form = aiohttp.FormData()
    form.add_field("content", b"bytes", filename="a.txt")
    return ((await made(gateway, account, "/files", data=form))["id"],)


async def push(gateway, account):
    owner, own = await model(gateway, account)
    manifest = {"files": [{"path": "cog.yaml", "sha256": hashlib.sha256(new_id().encode()).hexdigest(), "size": 26}]}
    return ((await made(gateway, account, f"/models/{owner}/{own}/pushes", json=manifest))["id"],)


async def token(gateway, account):
    return ((await made(gateway, account, "/tokens", json={"name": "t"}))["id"],)


async def organization(gateway, account):
    return ((await made(gateway, account, "/organizations", json={"username": name()}))["username"],)


async def member(gateway, account):
    return *(await organization(gateway, account)), account.username


async def secret(gateway, account):
    owner, own = await model(gateway, account)
    path = f"/models/{owner}/{own}/secrets/A_KEY"
    assert (await ask(gateway, account, "PUT", path, json={"value": "very secret"})).status == 200
    return owner, own, "A_KEY"


async def event_consumer(gateway, account):
    return ((await made(gateway, account, "/event-consumers", json={"name": name()}))["id"],)


async def delivery(gateway, account):
    (prediction_id,) = await prediction(gateway, account)
    return (await rows.delivery(gateway.parts.database, account.id, prediction_id, status="delivered"),)


async def endpoint(gateway, account):
    disabled = {"disabled_at": datetime.now(UTC), "disabled_reason": "gone"}
    return (await rows.endpoint(gateway.parts.database, account.id, **disabled),)


# By the part of a route's path that names the object, its parameters' names left out.
OBJECTS = {
    "/deployments/{}/{}": deployment,
    "/event-consumers/{}": event_consumer,
    "/files/{}": file,
    "/models/{}/{}": model,
    "/models/{}/{}/examples/{}": example,
    "/models/{}/{}/secrets/{}": secret,
    "/models/{}/{}/versions/{}": version,
    "/organizations/{}": organization,
    "/organizations/{}/members/{}": member,
    "/p/{}": prediction,
    "/predictions/{}": prediction,
    "/pushes/{}": push,
    "/tokens/{}": token,
    "/trainings/{}": training,
    "/webhooks/deliveries/{}": delivery,
    "/webhooks/endpoints/{}": endpoint,
}
# Paths with parameters that name nobody's object.
SHARED = {
    "/blobs/{}": "the digest of the bytes that the request brings; the answer never tells whether others have them",
    "/collections/{}": "the operator's, for everybody; the models in them are filtered",
}
# Operations that ask for no token.
PUBLIC = {
    "delivery.get": "the path is a signed capability",
    "docs.asyncapi": "documentation",
    "docs.index": "documentation",
    "docs.openapi": "documentation",
    "docs.page": "documentation",
    "docs.reference.page": "documentation",
    "files.download": "the query is a signed capability",
    "streams.get": "the path is a signed capability",
    "streams.get_files": "the path is a signed capability",
}
# Operations that answer without a token too, and what.
ANONYMOUS = {
    "pages.prediction": "what its account has shared, as a page",
    "predictions.get": "what its account has shared",
}
# Operations with a path parameter and a body: a body that would do, were the object one's own.
BODIES = {
    "deployments.predictions.create": {"json": {"input": {}}},
    "deployments.update": {"json": {"max_instances": 2}},
    "models.examples.create": {"json": {"prediction": new_id()}},
    "models.predictions.create": {"json": {"input": {}}},
    "models.secrets.set": {"json": {"value": "very secret"}},
    "models.update": {"json": {"description": "New"}},
    "organizations.members.set": {"json": {"role": "owner"}},
    "organizations.update": {"json": {"name": "New"}},
    "pushes.create": {"json": {"files": [{"path": "cog.yaml", "sha256": "0" * 64, "size": 1}]}},
    "trainings.create": {"json": {"destination": "a/b", "input": {}}},
}
# Those whose control, the owner's own request with that body, finds the object and then something else missing.
MISSES_MORE = {"models.examples.create", "trainings.create"}


# --- bodies that name objects: (gateway, account) -> bodies, of which each names one of the account's ---


async def versions_named(gateway, account):
    owner, own, digest = await version(gateway, account)
    return [{"version": ref, "input": {}} for ref in (digest, f"{owner}/{own}", f"{owner}/{own}:{digest}")]


async def deployed(gateway, account):
    owner, own, digest = await version(gateway, account)
    body = {"name": name(), "model": f"{owner}/{own}", "version": digest, "hardware": "cpu"}
    return [{**body, "min_instances": 0, "max_instances": 1}]


async def acted_for(gateway, account):
    return [
        {"name": "t", "account": (await organization(gateway, account))[0]},
        {"name": "t", "account": account.username},
    ]


async def owned(gateway, account):
    return [{"owner": account.username, "name": name(), "visibility": "private", "hardware": "cpu"}]


async def predicted(gateway, account):
    return [{"prediction": (await prediction(gateway, account))[0]}]


async def default_example(gateway, account):
    return [{"default_example": (await example(gateway, account))[2]}]


async def version_deployed(gateway, account):
    return [{"version": (await version(gateway, account))[2]}]


async def destination(gateway, account):
    return [{"destination": "/".join(await model(gateway, account)), "input": {}}]


async def batch(gateway, account):
    return [{"predictions": [each]} for each in await versions_named(gateway, account)]


REFERENCES = {
    "deployments.create": deployed,
    "deployments.update": version_deployed,
    "models.create": owned,
    "models.examples.create": predicted,
    "models.update": default_example,
    "predictions.batch.create": batch,
    "predictions.create": versions_named,
    "tokens.create": acted_for,
    "trainings.create": destination,
}
NO_REFERENCES = {
    "account.update",
    "deployments.predictions.create",
    "event-consumers.create",
    "models.predictions.create",
    "models.secrets.set",
    "organizations.create",
    "organizations.members.set",
    "organizations.update",
    "pushes.create",
}


# --- what the tables are for ---


def object_of(path):
    """The part of a path that names the object, and None when it names none."""
    end = path.rfind("}")
    return None if end < 0 else PARAMETER.sub("{}", path[: end + 1])


def filled(path, values):
    rest = iter(values)
    return PARAMETER.sub(lambda _: next(rest), path)


def missing(value):
    """What nobody has, of the same shape."""
    if re.fullmatch("[0-9a-f]{64}", value):
        return hashlib.sha256(new_id().encode()).hexdigest()
    prefix, identifier = value[:-26], value[-26:]
    return f"{prefix}{new_id()}" if is_id(identifier) and prefix in {"", "msg_"} else name()


def nameless(answer, *names):
    """The answer without what it was asked for."""
    text = answer.body
    for each in sorted(set(names), key=len, reverse=True):
        text = text.replace(each, "…")
    return Answer(answer.status, answer.headers, text)


def strings(value):
    if isinstance(value, str):
        return [value, *value.replace(":", "/").split("/")]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for part in parts for each in strings(part)]


def with_missing(body, account):
    """A body that names nothing of the account's: ids, digests and names replaced by others of their shape."""
    if isinstance(body, dict):
        return {key: with_missing(value, account) for key, value in body.items()}
    if isinstance(body, list):
        return [with_missing(each, account) for each in body]
    if not isinstance(body, str):
        return body
    pattern = rf"{re.escape(account.username)}|n-[0-9a-z]{{26}}|[0-9a-f]{{64}}|\b[0-9a-hjkmnp-tv-z]{{26}}\b"
    return re.sub(pattern, lambda match: missing(match[0]), body)


SCOPED = [route for route in ROUTES if route.operation.scope is not None]
NAMING = [route for route in SCOPED if object_of(route.path) not in {None, *SHARED}]
REFERRING = [route for route in SCOPED if route.operation.name in REFERENCES]


def is_json(body):
    return isinstance(body, type) and issubclass(body, msgspec.Struct)


@pytest.mark.parametrize("route", ROUTES, ids=IDS.values())
def test_a_route_has_its_entries(route):
    operation, named = route.operation, object_of(route.path)
    if operation.scope is None:
        assert operation.name in PUBLIC, f"{operation.name} asks for no token: say in PUBLIC why anybody may call it"
        return
    assert not operation.anonymous or operation.name in ANONYMOUS, f"{operation.name}: say in ANONYMOUS what it shows"
    if named is not None and named not in SHARED:
        assert named in OBJECTS, f"{IDS[route]}: add a maker of `{named}` to OBJECTS, or say in SHARED whose it is"
        if operation.body is not None:
            assert operation.name in BODIES, f"{operation.name}: add a plausible body to BODIES"
    if is_json(operation.body):
        assert operation.name in {*REFERENCES, *NO_REFERENCES}, (
            f"{operation.name} takes a body: REFERENCES gets those that name others' objects, or NO_REFERENCES its name"
        )


def test_the_tables_name_what_there_is():
    names = {route.operation.name for route in ROUTES}
    named = {*PUBLIC, *ANONYMOUS, *BODIES, *REFERENCES, *NO_REFERENCES, *MISSES_MORE}
    assert sorted(named - names) == []
    assert sorted({*OBJECTS, *SHARED} - {object_of(route.path) for route in ROUTES}) == []


@pytest.mark.parametrize("route", NAMING, ids=[IDS[route] for route in NAMING])
async def test_what_is_somebody_elses_is_as_good_as_missing(gateway, alice, mallory, route):
    make, body = OBJECTS[object_of(route.path)], BODIES.get(route.operation.name, {})
    values = await make(gateway, alice)
    asked = nameless(await ask(gateway, mallory, route.method, filled(route.path, values), **body), *values)
    assert asked.status == 404, asked
    for changed in (tuple(map(missing, values)), (*values[:-1], missing(values[-1]))):
        absent = await ask(gateway, mallory, route.method, filled(route.path, changed), **body)
        assert asked == nameless(absent, *values, *changed)
    own = await ask(gateway, alice, route.method, filled(route.path, values), **body)
    assert own.status < 500
    assert own.status != 404 or route.operation.name in MISSES_MORE, "the owner finds it, afterwards still"


OPEN = [route for route in NAMING if route.operation.anonymous]


@pytest.mark.parametrize("route", OPEN, ids=[IDS[route] for route in OPEN])
async def test_without_a_token_what_is_somebodys_is_as_good_as_missing(gateway, alice, route):
    values, nobody = await OBJECTS[object_of(route.path)](gateway, alice), Account("", "", {})
    changed = tuple(map(missing, values))
    asked = await ask(gateway, nobody, route.method, filled(route.path, values))
    absent = await ask(gateway, nobody, route.method, filled(route.path, changed))
    assert asked.status in {401, 404}
    assert nameless(asked, *values) == nameless(absent, *changed)


# Objects that their account can show to everybody, by the request that does.
SHARING = {"/predictions/{}": ("POST", "/predictions/{}/share")}
SHARED_WRITES = [route for route in NAMING if object_of(route.path) in SHARING and not route.operation.anonymous]


@pytest.mark.parametrize("route", SHARED_WRITES, ids=[IDS[route] for route in SHARED_WRITES])
async def test_what_is_shared_can_be_looked_at_and_no_more(gateway, alice, mallory, route):
    named = object_of(route.path)
    values, body = await OBJECTS[named](gateway, alice), BODIES.get(route.operation.name, {})
    method, share = SHARING[named]
    assert (await ask(gateway, alice, method, filled(share, values))).status < 300
    for who in (mallory, Account("", "", {})):
        assert (await ask(gateway, who, "GET", filled(named, values))).status == 200
        asked = nameless(await ask(gateway, who, route.method, filled(route.path, values), **body), *values)
        changed = tuple(map(missing, values))
        absent = await ask(gateway, who, route.method, filled(route.path, changed), **body)
        assert asked.status in {401, 404}
        assert asked == nameless(absent, *changed)
        assert (await ask(gateway, who, "GET", filled(named, values))).status == 200


NESTED = [route for route in NAMING if re.search(r"\}/[a-z-]+/\{[a-z_]*id\}", route.path)]


@pytest.mark.parametrize("route", NESTED, ids=[IDS[route] for route in NESTED])
async def test_somebody_elses_part_of_ones_own_object_is_as_good_as_missing(gateway, alice, mallory, route):
    make, body = OBJECTS[object_of(route.path)], BODIES.get(route.operation.name, {})
    theirs, own = await make(gateway, alice), await make(gateway, mallory)
    answers = [
        nameless(await ask(gateway, mallory, route.method, filled(route.path, (*own[:-1], last)), **body), last)
        for last in (theirs[-1], missing(theirs[-1]))
    ]
    assert answers[0].status == 404
    assert answers[0] == answers[1]


@pytest.mark.parametrize("route", REFERRING, ids=[IDS[route] for route in REFERRING])
async def test_a_body_that_names_somebody_elses_is_answered_as_one_that_names_nothing(gateway, alice, mallory, route):
    named = object_of(route.path)
    values = () if named is None else await OBJECTS[named](gateway, mallory)
    path = filled(route.path, values)
    for body in await REFERENCES[route.operation.name](gateway, alice):
        absent = with_missing(body, alice)
        assert absent != body
        answers = [
            nameless(await ask(gateway, mallory, route.method, path, json=each), *strings(each))
            for each in (body, absent)
        ]
        assert answers[0] == answers[1]
        assert answers[0].status >= 400 or route.operation.name == "predictions.batch.create", answers


LISTS = [
    route
    for route in SCOPED
    if route.method == "GET" and object_of(route.path) is None and route.operation.response not in {EVENTS, FORM}
]


@pytest.mark.parametrize("route", LISTS, ids=[IDS[route] for route in LISTS])
async def test_lists_show_nothing_of_somebody_elses_whatever_they_are_asked_for(gateway, alice, mallory, route):
    values = {alice.id, alice.username}
    wanted = set()
    for make in OBJECTS.values():
        each = await make(gateway, alice)
        values.update(each)
        wanted.update({*each, "/".join(each[:2])})
    plain = await ask(gateway, mallory, "GET", route.path)
    assert plain.status == 200 or route.operation.query is not None, plain
    assert not [value for value in values if value in plain.body]
    for field in texts(route.operation.query):
        for value in wanted | {alice.username}:
            answer = await ask(gateway, mallory, "GET", f"{route.path}?{urlencode({field: value})}")
            assert answer.status < 500, answer
            body = answer.body.replace(value, "…").replace(quote(value, safe=""), "…")
            assert not [other for other in values if other in body and other not in value], (field, value, answer)


def texts(query):
    """The names of the query parameters that take some text."""
    samples = (name(), f"{name()}/{name()}", new_id(), "0" * 64, f"msg_{new_id()}")
    fields = () if query is None else msgspec.structs.fields(query)
    return [field.encode_name for field in fields if any(takes(field.type, sample) for sample in samples)]


def takes(kind, text):
    try:
        msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True


WRITES_UNDER_MODELS = [
    route for route in NAMING if route.method not in {"GET", "QUERY"} and route.path.startswith("/models/{")
]
FOR_EVERYBODY = {"models.predictions.create", "trainings.create"}  # running a public model


@pytest.mark.parametrize("route", WRITES_UNDER_MODELS, ids=[IDS[route] for route in WRITES_UNDER_MODELS])
async def test_a_public_model_is_somebody_elses_still(gateway, alice, mallory, route):
    if route.operation.name in FOR_EVERYBODY:
        return
    owner, own, digest = await version(gateway, alice, "public")
    path = filled(route.path, (owner, own, digest if "versions" in route.path else new_id()))
    refused = await ask(gateway, mallory, route.method, path, **BODIES.get(route.operation.name, {}))
    assert refused.status in {403, 404}
    assert (await ask(gateway, alice, "GET", f"/models/{owner}/{own}/versions/{digest}")).status == 200
