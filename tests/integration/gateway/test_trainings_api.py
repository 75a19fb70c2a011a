"""Trainings over HTTP: what they answer and refuse, and that they and predictions do not meet."""

import json

import nats
import pytest

from tidemill.contracts import subjects
from tidemill.contracts.ids import new_id
from tidemill.testing import rows

INPUT = {"type": "object", "properties": {"steps": {"type": "integer", "minimum": 1}}, "required": ["steps"]}
SCHEMAS = {"Input": {"type": "object", "properties": {}}, "TrainingInput": INPUT}


@pytest.fixture
def make_model(gateway):
    """Makes a model with one version; (owner/name, version id)."""

    async def make(account, visibility="private", schemas=SCHEMAS):
        database = gateway.parts.database
        model = await rows.model(database, account.id, owner=account.username, visibility=visibility)
        queue = await rows.version(database, model, openapi_schema=rows.schema(**schemas), streams=True)
        return f"{account.username}/{model}", rows.version_id(queue)

    return make


@pytest.fixture
async def trainable(make_model, alice):
    """(path of its trainings, the model's name, its version)."""
    model, version = await make_model(alice)
    return f"/models/{model}/versions/{version}/trainings", model, version


def body(destination, steps=3, **rest):
    return {"destination": destination, "input": {"steps": steps}, **rest}


async def test_create_get_list_and_cancel(gateway, ask, trainable, make_model, alice):
    path, model, version = trainable
    destination, _ = await make_model(alice)
    status, made = await ask("POST", path, body(destination))
    assert (status, made["status"], made["model"], made["version"]) == (201, "starting", model, version)
    assert made["destination"] == destination
    assert made["urls"]["get"].endswith(f"/v1/trainings/{made['id']}")
    assert "stream" not in made["urls"]
    assert (await ask("GET", f"/trainings/{made['id']}"))[1]["input"] == {"steps": 3}
    assert [each["id"] for each in (await ask("GET", "/trainings"))[1]["results"]] == [made["id"]]
    status, canceled = await ask("POST", f"/trainings/{made['id']}/cancel")
    assert (status, canceled["status"]) == (200, "canceled")
    assert await ask("POST", f"/trainings/{made['id']}/cancel") == (200, canceled)


async def test_trainings_of_a_version_share_a_queue_that_is_not_its_own(gateway, ask, trainable):
    path, model, version = trainable
    first = (await ask("POST", path, body(model)))[1]
    second = (await ask("POST", path, body(model)))[1]
    prediction = (await ask("POST", "/predictions", {"version": version, "input": {}}))[1]
    queues = await gateway.parts.database.fetch(
        "SELECT DISTINCT p.queue, v.kind, v.version_queue FROM prediction p JOIN queue_version v ON v.queue = p.queue "
        "WHERE p.id = ANY ($1) ORDER BY v.kind",
        [first["id"], second["id"], prediction["id"]],
    )
    assert [row["kind"] for row in queues] == ["prediction", "training"]
    assert len({row["version_queue"] for row in queues}) == 1


async def test_trainings_and_predictions_do_not_meet(ask, trainable):
    path, model, version = trainable
    training = (await ask("POST", path, body(model)))[1]["id"]
    prediction = (await ask("POST", "/predictions", {"version": version, "input": {}}))[1]["id"]
    assert (await ask("GET", f"/predictions/{training}"))[0] == 404
    assert (await ask("POST", f"/predictions/{training}/cancel"))[0] == 404
    assert (await ask("GET", f"/trainings/{prediction}"))[0] == 404
    assert (await ask("POST", f"/trainings/{prediction}/cancel"))[0] == 404
    assert [each["id"] for each in (await ask("GET", "/predictions"))[1]["results"]] == [prediction]
    assert [each["id"] for each in (await ask("GET", "/trainings"))[1]["results"]] == [training]


async def test_the_destination_must_be_ones_own(ask, trainable, make_model, mallory):
    path, _, _ = trainable
    foreign, _ = await make_model(mallory, "public")
    for destination in (foreign, "nobody/nothing", "nonsense", "", "a/b/c"):
        status, problem = await ask("POST", path, body(destination))
        assert (status, problem["detail"]) == (404, "The specified training destination does not exist")


async def test_bad_bodies_are_refused(ask, trainable):
    path, model, _ = trainable
    status, problem = await ask("POST", path, body(model, steps=0))
    assert (status, problem["invalid_fields"][0]["field"]) == (422, "input.steps")
    assert (await ask("POST", path, {"destination": model}))[0] == 422
    assert (await ask("POST", path, {"input": {"steps": 1}}))[0] == 422
    assert (await ask("POST", path, body("x" * 200)))[0] == 422
    assert (await ask("POST", path, body(model, webhook="ftp://x")))[0] == 422


async def test_a_version_without_train_says_so(ask, make_model, alice):
    model, version = await make_model(alice, schemas={"Input": SCHEMAS["Input"]})
    status, problem = await ask("POST", f"/models/{model}/versions/{version}/trainings", body(model))
    assert (status, problem["title"]) == (422, "Not trainable")


async def test_what_is_somebody_elses_is_missing(ask, trainable, make_model, mallory):
    path, model, _ = trainable
    own, _ = await make_model(mallory)
    assert (await ask("POST", path, body(own), account=mallory))[0] == 404
    assert (await ask("POST", f"/models/{model}/versions/{'0' * 64}/trainings", body(model)))[0] == 404
    training = (await ask("POST", path, body(model)))[1]["id"]
    missing = await ask("GET", f"/trainings/{new_id()}", account=mallory)
    assert await ask("GET", f"/trainings/{training}", account=mallory) == missing
    assert await ask("POST", f"/trainings/{training}/cancel", account=mallory) == missing
    assert (await ask("GET", "/trainings", account=mallory))[1]["results"] == []


async def test_anybody_may_train_a_public_version(ask, make_model, mallory, alice):
    model, version = await make_model(mallory, "public")
    destination, _ = await make_model(alice)
    assert (await ask("POST", f"/models/{model}/versions/{version}/trainings", body(destination)))[0] == 201


async def test_a_key_makes_one_training(ask, trainable):
    path, model, _ = trainable
    headers = {"Idempotency-Key": new_id()}
    first = (await ask("POST", path, body(model), **headers))[1]
    status, again = await ask("POST", path, body(model), **headers)
    assert (status, again["id"]) == (201, first["id"])
    assert again["urls"]["get"].endswith(f"/v1/trainings/{first['id']}")


async def test_ends_are_told_on_the_trainings_own_subject_and_by_webhook(
    gateway, servers, ask, trainable, finish, alice
):
    path, model, _ = trainable
    heard = []

    async def hear(message):
        heard.append(message)

    client = await nats.connect(servers.nats_url)
    try:
        await client.subscribe(subjects.events_of(alice.id, "training"), cb=hear)
        await client.flush()
        made = (await ask("POST", path, body(model, webhook="https://hooks.example/x")))[1]
        await finish(made["id"], {"version": f"{model}:{'0' * 64}", "weights": "https://x.example/w"})
        await client.flush()
    finally:
        await client.close()
    assert [json.loads(message.data)["id"] for message in heard] == [made["id"]]
    assert (
        await gateway.parts.database.value("SELECT count(*) FROM webhook_delivery WHERE prediction_id = $1", made["id"])
        == 1
    )
    ended = (await ask("GET", f"/trainings/{made['id']}"))[1]
    assert ended["output"]["version"] == f"{model}:{'0' * 64}"


async def test_secret_inputs_of_a_training_are_shown_nowhere(ask, make_model, alice):
    secret = {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}
    takes = {"type": "object", "properties": {"steps": {"type": "integer"}, "key": secret}}
    model, version = await make_model(alice, schemas={**SCHEMAS, "TrainingInput": takes})
    sent = {"destination": model, "input": {"steps": 1, "key": "hunter2"}}
    made = (await ask("POST", f"/models/{model}/versions/{version}/trainings", sent))[1]
    seen = (await ask("GET", f"/trainings/{made['id']}"))[1]
    (listed,) = (await ask("GET", "/trainings"))[1]["results"]
    assert made["input"] == seen["input"] == listed["input"] == {"steps": 1, "key": "[redacted]"}


SECRETS = [
    ({"a": {"x-cog-secret": True}, "b": {"type": "string"}}, ["a"]),
    ({"a": {"type": "array", "items": {"format": "password"}}, "b": {"anyOf": [{"writeOnly": True}]}}, ["a", "b"]),
    ({"a": {"x-cog-secret": "true"}, "b": {"default": "password"}}, []),
    ({}, []),
    ([], []),
    ("text", []),
    (None, []),
]


@pytest.mark.parametrize(("properties", "names"), SECRETS)
async def test_the_database_knows_secret_inputs_by_any_schema(gateway, properties, names):
    schema = rows.schema(Input={"properties": properties})
    assert await gateway.parts.database.value("SELECT secret_inputs_of($1::text::json)", schema) == names
    assert await gateway.parts.database.value("SELECT secret_inputs_of('[1]')") == []
