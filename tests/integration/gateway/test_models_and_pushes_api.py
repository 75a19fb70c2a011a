import asyncio
import hashlib
import json

import pytest

from tidemill.contracts import subjects
from tidemill.contracts.events import PushQueued
from tidemill.contracts.ids import new_id
from tidemill.testing import rows


async def make_model(gateway, account, name=None, visibility="private"):
    body = {"owner": account.username, "name": name or f"m-{new_id()}", "visibility": visibility, "hardware": "cpu"}
    status, model = await gateway.ask("POST", "/models", account, json=body)
    assert status == 201, model
    return model


async def make_version(gateway, model):
    database = gateway.parts.database
    model_id = await database.value("SELECT id FROM model WHERE name = $1", model["name"])
    queue = await rows.version(database, model_id, openapi_schema='{"x": 1}')
    await database.execute("UPDATE model SET latest_queue = $1 WHERE id = $2", queue, model_id)
    return rows.version_id(queue)


async def make_example(gateway, model):
    """As a prediction that was run and added."""
    database = gateway.parts.database
    model_id = await database.value("SELECT id FROM model WHERE name = $1", model["name"])
    prediction = await rows.prediction(database, status="succeeded")
    await rows.insert(database, "example", model_id=model_id, prediction_id=prediction)


async def test_account_secret_and_hardware(gateway, alice):
    status, account = await gateway.ask("GET", "/account", alice)
    assert (status, account["type"], account["username"]) == (200, "user", alice.username)
    assert (await gateway.ask("GET", "/webhooks/default/secret", alice))[1] == {"key": "whsec_dGVzdA=="}
    offered = {kind["sku"]: kind for kind in (await gateway.ask("GET", "/hardware", alice))[1]}
    assert offered["cpu"]["name"] == "CPU"
    assert offered["gpu-t4"]["price_usd_per_s"] > offered["cpu"]["price_usd_per_s"] > 0


async def test_a_new_model(gateway, alice):
    model = await make_model(gateway, alice)
    assert (model["run_count"], model["latest_version"], model["default_example"]) == (0, None, None)
    path = f"/models/{model['owner']}/{model['name']}"
    assert await gateway.ask("GET", path, alice) == (200, model)
    assert (await gateway.ask("GET", f"{path}/versions", alice))[1]["results"] == []
    body = {"owner": alice.username, "name": model["name"], "visibility": "public", "hardware": "cpu"}
    assert (await gateway.ask("POST", "/models", alice, json=body))[0] == 409
    assert (await gateway.ask("POST", "/models", alice, json={**body, "hardware": "tpu"}))[0] == 422
    assert (await gateway.ask("POST", "/models", alice, json={**body, "owner": "other"}))[0] == 403
    assert (await gateway.ask("POST", "/models", alice, json={**body, "name": "Bad Name"}))[0] == 422


async def test_versions_newest_first(gateway, alice):
    model = await make_model(gateway, alice)
    ids = [await make_version(gateway, model) for _ in range(3)]
    path = f"/models/{model['owner']}/{model['name']}"
    listed = (await gateway.ask("GET", f"{path}/versions", alice))[1]
    assert [version["id"] for version in listed["results"]] == ids[::-1]
    assert (await gateway.ask("GET", path, alice))[1]["latest_version"]["id"] == ids[-1]
    status, version = await gateway.ask("GET", f"{path}/versions/{ids[0]}", alice)
    assert (status, version["openapi_schema"], version["cog_version"]) == (200, {"x": 1}, "0.16")
    assert (await gateway.ask("GET", f"{path}/versions/{'0' * 64}", alice))[0] == 404


@pytest.mark.parametrize("by", ["model_created_at", "latest_version_created_at"])
async def test_the_list_has_public_models_with_versions_and_examples_in_pages(gateway, alice, monkeypatch, by):
    monkeypatch.setattr("tidemill.gateway.handlers.models.MODELS_PAGE_SIZE", 2)
    models = [await make_model(gateway, alice, visibility="public") for _ in range(5)]
    for model in models:
        await make_version(gateway, model)
        await make_example(gateway, model)
    hidden = {(await make_model(gateway, alice, visibility="public"))["name"]}
    private = await make_model(gateway, alice)
    without = await make_model(gateway, alice, visibility="public")
    for model in (private, without):
        await make_version(gateway, model)
        hidden.add(model["name"])
    await make_example(gateway, private)
    for direction, expected in (("asc", models), ("desc", models[::-1])):
        names, previous = [], None
        path = f"/models?sort_by={by}&sort_direction={direction}"
        while path:
            status, page = await gateway.ask("GET", path, alice)
            assert status == 200, page
            assert f"sort_direction={direction}" in (page["next"] or path)
            names += [model["name"] for model in page["results"]]
            previous = page["previous"]
            path = page["next"] and page["next"].partition("/v1")[2]
        wanted = {model["name"] for model in models}
        assert [name for name in names if name in wanted] == [model["name"] for model in expected]
        assert not hidden & set(names)
        assert len(names) == len(set(names))
        back = (await gateway.ask("GET", previous.partition("/v1")[2], alice))[1]["results"]
        assert all(model["name"] in names for model in back)
        last = len(names) - (len(names) % 2 or 2)
        assert [model["name"] for model in back] == names[last - 2 : last]
    assert (await gateway.ask("GET", "/models?sort_by=name", alice))[0] == 400


async def test_private_models_of_others_do_not_exist(gateway, alice, mallory):
    model = await make_model(gateway, alice)
    version = await make_version(gateway, model)
    path = f"/models/{model['owner']}/{model['name']}"
    for each in (path, f"{path}/versions", f"{path}/versions/{version}"):
        assert (await gateway.ask("GET", each, mallory))[0] == 404
    assert (await gateway.ask("POST", f"{path}/pushes", mallory, json={"files": []}))[0] == 404
    public = await make_model(gateway, alice, visibility="public")
    path = f"/models/{public['owner']}/{public['name']}"
    assert (await gateway.ask("GET", path, mallory))[0] == 200
    assert (await gateway.ask("POST", f"{path}/pushes", mallory, json={"files": []}))[0] == 404


def entry(path, content, **more):
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content), **more}


async def test_a_push_until_it_is_queued(gateway, alice, mallory):
    hints: asyncio.Queue[str] = asyncio.Queue()

    async def heard(event):
        hints.put_nowait(event.id)

    await gateway.parts.bus.listen(subjects.PUSH_QUEUED, PushQueued, heard)
    model = await make_model(gateway, alice)
    pushes = f"/models/{model['owner']}/{model['name']}/pushes"
    config, code = f"predict: x # {new_id()}".encode(), new_id().encode() * 40_000
    manifest = {"files": [entry("cog.yaml", config), entry("x.py", code, executable=True)]}
    status, push = await gateway.ask("POST", pushes, alice, json=manifest)
    digests = sorted(each["sha256"] for each in manifest["files"])
    assert (status, push["status"], push["missing"]) == (201, "uploading", digests)

    status, problem = await gateway.ask("POST", f"/pushes/{push['id']}/start", alice)
    assert (status, problem["missing"]) == (422, digests)

    wrong = await gateway.ask("PUT", f"/blobs/{digests[0]}", alice, data=b"something else")
    assert wrong[0] == 422
    for content in (config, code):
        path = f"/blobs/{hashlib.sha256(content).hexdigest()}"
        for expected in (201, 200):
            status, answer = await _put(gateway, path, alice, content)
            assert (status, answer["size"]) == (expected, len(content))
        stored = await gateway.parts.objects.read(path.replace("/blobs", "blobs", 1), limit_bytes=10**7)
        assert stored == content

    assert (await gateway.ask("GET", f"/pushes/{push['id']}", alice))[1]["missing"] == []
    for _ in range(2):
        status, push = await gateway.ask("POST", f"/pushes/{push['id']}/start", alice)
        assert (status, push["status"]) == (200, "queued")
    assert await asyncio.wait_for(hints.get(), 120) == push["id"]
    files = await gateway.parts.database.value("SELECT files FROM push WHERE id = $1", push["id"])
    assert json.loads(files)[1] == {**entry("x.py", code), "executable": True}

    status, again = await gateway.ask("POST", pushes, alice, json=manifest)
    assert (status, again["status"]) == (201, "queued")

    for method, path in (("GET", ""), ("POST", "/start")):
        assert (await gateway.ask(method, f"/pushes/{push['id']}{path}", mallory))[0] == 404
    theirs = await make_model(gateway, mallory)
    path = f"/models/{theirs['owner']}/{theirs['name']}/pushes"
    assert (await gateway.ask("POST", path, mallory, json=manifest))[1]["missing"] == digests


async def begin(gateway, account, path, number):
    """Status and answer of a push that is like no other of the account, of two small files."""
    body = {"files": [entry("cog.yaml", b"predict: x"), entry(f"n{number}", b"")]}
    return await gateway.ask("POST", path, account, json=body)


async def test_waiting_pushes_are_told_their_place_and_are_not_too_many(gateway, alice, mallory):
    await gateway.parts.database.execute("UPDATE push SET status = 'failed' WHERE status IN ('queued', 'building')")
    paths = {}
    for account in (alice, mallory):
        model = await make_model(gateway, account)
        paths[account.id] = f"/models/{model['owner']}/{model['name']}/pushes"
        for content in (b"predict: x", b""):
            await _put(gateway, f"/blobs/{hashlib.sha256(content).hexdigest()}", account, content)
    limit = gateway.parts.config.waiting_pushes
    pushes = [await begin(gateway, alice, paths[alice.id], number) for number in range(limit)]
    assert [(status, push["queue_position"]) for status, push in pushes] == [(201, n + 1) for n in range(limit)]
    status, problem = await begin(gateway, alice, paths[alice.id], limit)
    assert (status, problem["retry_after"]) == (429, 30)
    assert f"{limit} of your pushes wait" in problem["detail"]
    assert "Push again when one of them has ended" in problem["detail"]
    # Another account is neither refused nor behind more than her first one.
    status, push = await begin(gateway, mallory, paths[mallory.id], 0)
    assert (status, push["status"], push["queue_position"]) == (201, "queued", 2)
    second = (await gateway.ask("GET", f"/pushes/{pushes[1][1]['id']}", alice))[1]
    assert second["queue_position"] == 3
    database = gateway.parts.database
    await database.execute("UPDATE push SET status = 'building' WHERE id = $1", pushes[0][1]["id"])
    assert (await begin(gateway, alice, paths[alice.id], limit))[0] == 429
    await database.execute("UPDATE push SET status = 'failed' WHERE id = $1", pushes[0][1]["id"])
    ended = (await gateway.ask("GET", f"/pushes/{pushes[0][1]['id']}", alice))[1]
    assert "queue_position" not in ended
    assert (await begin(gateway, alice, paths[alice.id], limit))[0] == 201


async def test_of_many_starts_at_the_same_time_no_more_pass_than_may_wait(gateway, new_account):
    account = await new_account()
    model = await make_model(gateway, account)
    path, limit = f"/models/{model['owner']}/{model['name']}/pushes", gateway.parts.config.waiting_pushes
    pushes = [(await begin(gateway, account, path, number))[1] for number in range(limit + 5)]
    assert {push["status"] for push in pushes} == {"uploading"}
    for content in (b"predict: x", b""):
        await _put(gateway, f"/blobs/{hashlib.sha256(content).hexdigest()}", account, content)
    starts = [gateway.ask("POST", f"/pushes/{push['id']}/start", account) for push in pushes]
    statuses = [status for status, _ in await asyncio.gather(*starts)]
    assert sorted(statuses) == [200] * limit + [429] * 5


async def test_pushes_whose_files_never_come_are_bounded(gateway, new_account, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.handlers.pushes.UPLOADING_LIMIT", 2)
    account = await new_account()
    model = await make_model(gateway, account)
    path = f"/models/{model['owner']}/{model['name']}/pushes"
    assert [(await begin(gateway, account, path, number))[0] for number in range(2)] == [201, 201]
    status, problem = await begin(gateway, account, path, 3)
    assert status == 429
    assert "have not got all their files" in problem["detail"]


async def _put(gateway, path, account, content):
    headers = {**account.headers, "Content-Length": str(len(content))}
    async with gateway.http.put(f"{gateway.url}/v1{path}", data=_stream(content), headers=headers) as response:
        return response.status, await response.json()


async def _stream(content):
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


@pytest.mark.parametrize(
    "files",
    [
        [],
        [entry("x.py", b"")],
        [entry("cog.yaml", b""), entry("../x", b"")],
        [entry("cog.yaml", b""), entry("a", b"1"), {**entry("b", b"1"), "size": 2}],
    ],
)
async def test_what_is_no_bundle(gateway, alice, files):
    model = await make_model(gateway, alice)
    path = f"/models/{model['owner']}/{model['name']}/pushes"
    status, problem = await gateway.ask("POST", path, alice, json={"files": files})
    assert (status, problem["title"]) == (422, "Invalid bundle")


async def test_blobs_need_a_digest_and_a_length(gateway, alice):
    assert (await gateway.ask("PUT", "/blobs/xyz", alice, data=b"x"))[0] == 404
    assert (await gateway.ask("PUT", f"/blobs/{'0' * 64}", alice, data=_stream(b"x")))[0] == 411


async def test_preflights_are_answered_for_allowed_origins_only(gateway):
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with gateway.http.options(f"{gateway.url}/v1/predictions", headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    headers["Origin"] = "https://evil.example"
    async with gateway.http.options(f"{gateway.url}/v1/predictions", headers=headers) as response:
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1"])
async def test_routes_answer_under_every_prefix(gateway, alice, prefix):
    for path, status in (("/account", 200), ("/account/", 200), ("/nothing", 404)):
        async with gateway.http.get(f"{gateway.url}{prefix}{path}", headers=alice.headers) as response:
            assert response.status == status
    async with gateway.http.head(f"{gateway.url}{prefix}/account", headers=alice.headers) as response:
        assert response.status == 200
    async with gateway.http.get(f"{gateway.url}{prefix}/account") as response:
        assert response.status == 401
