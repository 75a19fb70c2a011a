"""Deployments over HTTP: what they answer, what they refuse, and which queue their predictions go to."""

import asyncio

import pytest

from tidemill.contracts.events import WarmQueues
from tidemill.contracts.ids import new_id
from tidemill.gateway.stores.deployments import DeploymentName
from tidemill.testing import rows

INPUT = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture
def make_version(gateway, alice):
    """Makes a version; of a new model unless one is given. Answers its model and id."""

    async def make(account=alice, visibility="private", model=None):
        database, queue = gateway.parts.database, new_id()
        if model is None:
            name = f"m{queue}"
            await rows.model(database, account.id, owner=account.username, name=name, visibility=visibility)
            model = f"{account.username}/{name}"
        model_id = await database.value("SELECT id FROM model WHERE owner || '/' || name = $1", model)
        await rows.version(database, model_id, queue=queue, openapi_schema=rows.schema(Input=INPUT), streams=True)
        return model, rows.version_id(queue)

    return make


@pytest.fixture
def warm(gateway):
    """Makes the gateway take these queues, and no others, for ready."""

    async def tell(*queues):
        await gateway.parts.acceptor.on_warm(WarmQueues(queues=list(queues)))

    return tell


@pytest.fixture
async def deployed(ask, make_version, alice):
    """A deployment that keeps an instance; (path, model)."""
    model, version = await make_version()
    status, answer = await ask("POST", "/deployments", body(model, version, min_instances=1))
    assert status == 200, answer
    return f"/deployments/{alice.username}/mine", model


def body(model, version, **changes):
    scale = {"hardware": "cpu", "min_instances": 0, "max_instances": 2}
    return {"name": "mine", "model": model, "version": version, **scale, **changes}


async def queue_of(gateway, prediction):
    return await gateway.parts.database.value("SELECT queue FROM prediction WHERE id = $1", prediction["id"])


async def release_of(gateway, alice):
    sql = """SELECT r.queue FROM deployment d JOIN release r ON r.deployment_id = d.id AND r.retired_at IS NULL
        WHERE d.account_id = $1 AND d.name = 'mine'"""
    return await gateway.parts.database.value(sql, alice.id)


async def test_create_and_get(ask, make_version, alice):
    model, version = await make_version()
    status, made = await ask("POST", "/deployments", body(model, version, min_instances=1, max_instances=3))
    assert status == 200
    release = made["current_release"]
    assert (made["owner"], made["name"]) == (alice.username, "mine")
    assert (release["number"], release["model"], release["version"]) == (1, model, version)
    assert release["configuration"] == {"hardware": "cpu", "min_instances": 1, "max_instances": 3}
    assert release["created_by"]["username"] == alice.username
    assert await ask("GET", f"/deployments/{alice.username}/mine") == (200, made)
    assert (await ask("GET", "/deployments"))[1]["results"] == [made]


async def test_a_name_is_taken_once_and_free_again(ask, make_version, alice):
    model, version = await make_version()
    assert (await ask("POST", "/deployments", body(model, version)))[0] == 200
    assert (await ask("POST", "/deployments", body(model, version)))[0] == 409
    assert (await ask("DELETE", f"/deployments/{alice.username}/mine"))[0] == 204
    assert (await ask("GET", f"/deployments/{alice.username}/mine"))[0] == 404
    assert (await ask("POST", "/deployments", body(model, version)))[0] == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"min_instances": 6},
        {"min_instances": -1},
        {"max_instances": 21},
        {"min_instances": 3},
        {"hardware": "abacus"},
        {"name": "Upper"},
        {"name": "a/b"},
        {"name": "x" * 65},
        {"model": "nobody"},
        {"model": "nobody/nothing"},
        {"version": "0" * 64},
        {"version": "latest"},
        {"max_instances": None},
        {"max_instances": "2"},
    ],
)
async def test_bad_bodies_are_refused(ask, make_version, changes):
    status, problem = await ask("POST", "/deployments", {**body(*await make_version()), **changes})
    assert status == 422
    assert problem["detail"]
    assert (await ask("GET", "/deployments"))[1]["results"] == []


async def test_versions_that_one_sees_can_be_deployed(ask, make_version, mallory):
    assert (await ask("POST", "/deployments", body(*await make_version(mallory, "public"))))[0] == 200
    hidden = body(*await make_version(mallory, "private"), name="hidden")
    assert (await ask("POST", "/deployments", hidden))[0] == 422


async def test_what_is_somebody_elses_is_missing(ask, deployed, mallory):
    path, _ = deployed
    missing = f"/deployments/{mallory.username}/mine"
    for method, rest, sent in (
        ("GET", "", None),
        ("PATCH", "", {"max_instances": 1}),
        ("DELETE", "", None),
        ("POST", "/predictions", {"input": {}}),
    ):
        foreign = await ask(method, path + rest, sent, account=mallory)
        assert foreign[0] == 404
        assert foreign == await ask(method, missing + rest, sent, account=mallory)
    assert (await ask("GET", "/deployments", account=mallory))[1]["results"] == []


async def test_predictions_go_to_the_releases_queue(gateway, ask, deployed, alice):
    path, model = deployed
    status, prediction = await ask("POST", f"{path}/predictions", {"input": {"n": 1}})
    assert status == 201
    assert (prediction["deployment"], prediction["model"]) == (f"{alice.username}/mine", model)
    assert await queue_of(gateway, prediction) == await release_of(gateway, alice)
    shown = (await ask("GET", f"/predictions/{prediction['id']}"))[1]
    assert shown["deployment"] == f"{alice.username}/mine"
    assert "stream" in shown["urls"]
    assert (await ask("POST", f"{path}/predictions", {"input": {"n": "one"}}))[0] == 422
    assert (await ask("POST", f"{path}/predictions", {}))[0] == 422


async def test_a_change_of_scale_keeps_the_queue(gateway, ask, deployed, alice):
    path, _ = deployed
    before = await release_of(gateway, alice)
    status, changed = await ask("PATCH", path, {"min_instances": 0, "max_instances": 4})
    assert (status, changed["current_release"]["number"]) == (200, 2)
    assert changed["current_release"]["configuration"]["max_instances"] == 4
    assert await release_of(gateway, alice) == before
    assert (await ask("PATCH", path, {}))[1] == changed
    assert (await ask("PATCH", path, {"max_instances": 4}))[1] == changed
    assert (await ask("PATCH", path, {"min_instances": 5}))[0] == 422
    assert (await ask("PATCH", path, {"hardware": "abacus"}))[0] == 422
    assert (await ask("PATCH", path, {"version": "0" * 64}))[0] == 422
    assert (await ask("GET", path))[1] == changed


async def test_the_old_release_stands_in_until_the_new_one_is_ready(gateway, ask, deployed, alice, make_version, warm):
    path, model = deployed
    old = await release_of(gateway, alice)
    first = (await ask("GET", path))[1]["current_release"]["version"]
    _, second = await make_version(model=model)
    await warm(old)
    status, changed = await ask("PATCH", path, {"version": second})
    assert (status, changed["current_release"]["number"]) == (200, 2)
    new = await release_of(gateway, alice)
    assert new != old

    prediction = (await ask("POST", f"{path}/predictions", {"input": {}}))[1]
    assert (await queue_of(gateway, prediction), prediction["version"]) == (old, first)
    await warm(old, new)
    prediction = (await ask("POST", f"{path}/predictions", {"input": {}}))[1]
    assert (await queue_of(gateway, prediction), prediction["version"]) == (new, second)
    await warm()
    prediction = (await ask("POST", f"{path}/predictions", {"input": {}}))[1]
    assert await queue_of(gateway, prediction) == new


async def test_without_instances_to_keep_the_new_release_takes_over_at_once(
    gateway, ask, deployed, alice, make_version, warm
):
    path, model = deployed
    await ask("PATCH", path, {"min_instances": 0})
    await warm(await release_of(gateway, alice))
    _, second = await make_version(model=model)
    await ask("PATCH", path, {"version": second})
    prediction = (await ask("POST", f"{path}/predictions", {"input": {}}))[1]
    assert prediction["version"] == second


async def test_changes_at_the_same_time_follow_one_another(ask, deployed, make_version):
    path, model = deployed
    versions = [(await make_version(model=model))[1] for _ in range(6)]
    answers = await asyncio.gather(*(ask("PATCH", path, {"version": version}) for version in versions))
    assert [status for status, _ in answers] == [200] * 6
    release = (await ask("GET", path))[1]["current_release"]
    assert release["number"] == 7
    assert release["version"] in versions


async def test_a_disabled_deployment_refuses_and_comes_back(ask, deployed):
    path, _ = deployed
    assert (await ask("PATCH", path, {"min_instances": 0, "max_instances": 0}))[0] == 200
    status, problem = await ask("POST", f"{path}/predictions", {"input": {}})
    assert status == 422
    assert "disabled" in problem["detail"]
    assert (await ask("PATCH", path, {"max_instances": 1}))[0] == 200
    assert (await ask("POST", f"{path}/predictions", {"input": {}}))[0] == 201


async def test_what_is_in_use_cannot_be_deleted(gateway, ask, deployed, alice, finish, warm):
    path, _ = deployed
    assert (await ask("DELETE", path))[0] == 409  # it keeps an instance
    await ask("PATCH", path, {"min_instances": 0})
    await warm(await release_of(gateway, alice))
    assert (await ask("DELETE", path))[0] == 409  # one is up
    await warm()
    prediction = (await ask("POST", f"{path}/predictions", {"input": {}}))[1]
    assert (await ask("DELETE", path))[0] == 409  # a prediction is open
    await finish(prediction["id"])
    status, problem = await ask("DELETE", path)
    assert status == 409  # it was used just now
    assert "15 minutes" in problem["detail"]
    await gateway.parts.database.execute(
        "UPDATE prediction SET completed_at = now() - interval '16 minutes' WHERE id = $1", prediction["id"]
    )
    assert (await ask("DELETE", path))[0] == 204
    assert (await ask("DELETE", path))[0] == 404
    shown = (await ask("GET", f"/predictions/{prediction['id']}"))[1]
    assert shown["deployment"] == f"{alice.username}/mine"


async def test_who_loses_sight_of_the_model_can_run_it_no_more(gateway, ask, make_version, mallory, alice):
    model, version = await make_version(mallory, "public")
    await ask("POST", "/deployments", body(model, version))
    path = f"/deployments/{alice.username}/mine"
    assert (await ask("POST", f"{path}/predictions", {"input": {}}))[0] == 201
    database = gateway.parts.database
    await database.execute("UPDATE model SET visibility = 'private' WHERE owner || '/' || name = $1", model)
    gateway.parts.versions.forget()
    gateway.parts.deployments.invalidate(DeploymentName(alice.id, alice.username, "mine"))
    assert (await ask("POST", f"{path}/predictions", {"input": {}}))[0] == 422
