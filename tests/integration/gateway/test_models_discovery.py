"""Models beyond create and get: changes, examples, search, collections, and the deletion of versions."""

import asyncio
import io
import json
from datetime import UTC, datetime

import pytest

from tidemill.contracts import subjects
from tidemill.contracts.events import QueueRemoved
from tidemill.contracts.ids import new_id
from tidemill.security.delivery_urls import delivery_url
from tidemill.testing import rows

SCHEMA = '{"components": {"schemas": {"Input": {"type": "object"}}}}'


class Maker:
    """Makes models, versions and predictions as if they had been pushed and run."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.database = gateway.parts.database

    async def model(self, account, *, visibility="private", name=None, **more):
        name = name or f"m-{new_id()}"
        body = {"owner": account.username, "name": name, "visibility": visibility, "hardware": "cpu", **more}
        status, model = await self.gateway.ask("POST", "/models", account, json=body)
        assert status == 201, model
        return f"/models/{account.username}/{name}"

    async def version(self, path, schema=SCHEMA):
        owner, name = path.split("/")[2:]
        model = await self.database.value("SELECT id FROM model WHERE owner = $1 AND name = $2", owner, name)
        queue = await rows.version(self.database, model, openapi_schema=schema)
        await self.database.execute("UPDATE model SET latest_queue = $1 WHERE id = $2", queue, model)
        return queue, rows.version_id(queue)

    async def prediction(self, account, path, version=("q", "v"), **changes):
        columns = {
            "account_id": account.id,
            "model": path.removeprefix("/models/"),
            "version": version[1],
            "queue": version[0],
            "status": "succeeded",
            "input": '{"text": "hello"}',
            "output": '"hello"',
            "logs": "",
            "webhook": "https://example.com/?secret=1",
            **changes,
        }
        completed_at = None if columns["status"] in {"starting", "processing"} else datetime.now(UTC)
        return await rows.prediction(self.database, completed_at=completed_at, **columns)

    async def shown(self, account, *, words="", **more):
        """A public model with a version and an example."""
        path = await self.model(account, visibility="public", description=words, **more)
        version = await self.version(path)
        prediction = await self.prediction(account, path, version)
        status, answer = await self.gateway.ask("POST", f"{path}/examples", account, json={"prediction": prediction})
        assert status == 201, answer
        return path


@pytest.fixture
def make(gateway):
    return Maker(gateway)


def names(models):
    return [f"/models/{model['owner']}/{model['name']}" for model in models]


async def listed(gateway, account, path):
    found = []
    while path:
        status, page = await gateway.ask("GET", path, account)
        assert status == 200, page
        found += page["results"]
        path = page["next"] and page["next"].partition("/v1")[2]
    return found


async def test_an_update_changes_what_it_names(gateway, make, alice):
    path = await make.model(alice, description="old", github_url="https://example.com/a")
    assert (await gateway.ask("GET", f"{path}/readme", alice))[0] == 404
    body = {"description": "new", "readme": "# Hi", "license_url": "https://example.com/l", "hardware": "gpu-t4"}
    status, model = await gateway.ask("PATCH", path, alice, json=body)
    assert status == 200
    assert (model["description"], model["github_url"]) == ("new", "https://example.com/a")
    assert (model["license_url"], model["hardware"]) == ("https://example.com/l", "gpu-t4")
    assert await gateway.ask("GET", f"{path}/readme", alice) == (200, "# Hi")
    status, model = await gateway.ask("PATCH", path, alice, json={"github_url": None, "license_url": ""})
    assert (status, model["github_url"], model["license_url"], model["description"]) == (200, None, None, "new")
    assert (await gateway.ask("PATCH", path, alice, json={}))[1] == model


@pytest.mark.parametrize(
    "body",
    [
        {"hardware": "tpu"},
        {"visibility": "secret"},
        {"github_url": "javascript:alert(1)"},
        {"paper_url": "x" * 3000},
        {"description": 1},
        {"description": "x" * 2001},
        {"readme": "x" * 200_001},
        {"default_example": new_id()},
    ],
)
async def test_what_no_update_is(gateway, make, alice, body):
    path = await make.model(alice)
    before = await gateway.ask("GET", path, alice)
    assert (await gateway.ask("PATCH", path, alice, json=body))[0] == 422
    assert await gateway.ask("GET", path, alice) == before


async def test_text_that_cannot_be_stored_is_the_clients_fault(gateway, make, alice):
    path = await make.model(alice)
    assert (await gateway.ask("PATCH", path, alice, data=b'{"description": "a\\u0000b"}'))[0] in {400, 422}
    for nothing in ("/models/a%00b/c", "/models/A/b", "/collections/a%00b"):
        assert (await gateway.ask("GET", nothing, alice))[0] == 404


async def test_visibility_goes_both_ways(gateway, make, alice, mallory):
    path = await make.model(alice)
    assert (await gateway.ask("GET", path, mallory))[0] == 404
    assert (await gateway.ask("PATCH", path, alice, json={"visibility": "public"}))[1]["visibility"] == "public"
    assert (await gateway.ask("GET", path, mallory))[0] == 200
    for method, below in (("PATCH", ""), ("DELETE", ""), ("POST", "/examples"), ("DELETE", f"/examples/{new_id()}")):
        body = {"visibility": "private", "prediction": new_id()}
        assert (await gateway.ask(method, f"{path}{below}", mallory, json=body))[0] == 404
    await gateway.ask("PATCH", path, alice, json={"visibility": "private"})
    assert (await gateway.ask("GET", path, mallory))[0] == 404


async def test_only_private_models_without_versions_can_be_deleted(gateway, make, alice):
    path = await make.model(alice, visibility="public")
    _, version = await make.version(path)
    assert (await gateway.ask("DELETE", path, alice))[0] == 409
    await gateway.ask("PATCH", path, alice, json={"visibility": "private"})
    status, problem = await gateway.ask("DELETE", path, alice)
    assert (status, "versions" in problem["detail"]) == (409, True)
    assert (await gateway.ask("DELETE", f"{path}/versions/{version}", alice))[0] == 202
    model = await make.database.value("SELECT id FROM model WHERE name = $1", path.rpartition("/")[2])
    await rows.push(make.database, alice.id, model, status="failed")
    assert (await gateway.ask("DELETE", path, alice))[0] == 204
    assert (await gateway.ask("DELETE", path, alice))[0] == 404
    assert (await gateway.ask("GET", path, alice))[0] == 404


async def test_a_list_by_owner_has_ones_own_models_too(gateway, make, alice, mallory):
    shown = await make.shown(alice)
    private = await make.model(alice)
    everything = await listed(gateway, alice, f"/models?owner={alice.username}")
    assert set(names(everything)) == {shown, private}
    assert names(await listed(gateway, mallory, f"/models?owner={alice.username}")) == [shown]
    assert private not in names(await listed(gateway, alice, "/models"))
    hidden = await make.model(alice, visibility="public")
    await make.version(hidden)
    assert hidden not in names(await listed(gateway, alice, "/models"))


async def test_examples_come_and_go(gateway, make, alice, mallory):
    path = await make.model(alice, visibility="public")
    version = await make.version(path)
    predictions = [await make.prediction(alice, path, version, deployment="alice/inner") for _ in range(3)]
    for prediction in [*predictions, predictions[0]]:
        status, example = await gateway.ask("POST", f"{path}/examples", alice, json={"prediction": prediction})
        assert (status, example["id"]) == (201, prediction)
        assert not {"webhook", "deployment"} & example.keys()
    for account in (alice, mallory):
        found = await listed(gateway, account, f"{path}/examples")
        assert [each["id"] for each in found] == predictions[::-1]
        shown = (await gateway.ask("GET", path, account))[1]["default_example"]
        assert shown["id"] == predictions[0]
        assert not {"webhook", "deployment"} & (found[0].keys() | shown.keys())
    chosen = await gateway.ask("PATCH", path, alice, json={"default_example": predictions[2]})
    assert chosen[1]["default_example"]["id"] == predictions[2]
    assert (await gateway.ask("DELETE", f"{path}/examples/{predictions[2]}", alice))[0] == 204
    assert (await gateway.ask("DELETE", f"{path}/examples/{predictions[2]}", alice))[0] == 404
    assert (await gateway.ask("GET", path, alice))[1]["default_example"]["id"] == predictions[0]
    kept = await make.database.value("SELECT count(*) FROM removal_due_later WHERE prediction_id = $1", predictions[2])
    assert kept == 1


async def test_what_cannot_be_an_example(gateway, make, alice, mallory):
    path = await make.model(alice)
    password = {"type": "string", "format": "password"}
    inputs = {
        "key": {"type": "string", "x-cog-secret": True},
        "keys": {"type": "array", "items": password},
        "maybe": {"anyOf": [{"type": "string", "writeOnly": True}, {"type": "null"}]},
    }
    secret = json.dumps({"components": {"schemas": {"Input": {"properties": inputs}}}})
    version = await make.version(path, secret)
    other = await make.model(alice)
    cases = {
        await make.prediction(alice, other, version): 422,
        await make.prediction(alice, path, version, status="failed"): 409,
        await make.prediction(alice, path, version, status="processing"): 409,
        await make.prediction(alice, path, version, data_removed=True): 409,
        await make.prediction(alice, path, version, input='{"key": "abc"}'): 422,
        await make.prediction(alice, path, version, input='{"keys": ["abc"]}'): 422,
        await make.prediction(alice, path, version, input='{"maybe": "abc"}'): 422,
        await make.prediction(alice, path): 409,  # of a version that is gone
        await make.prediction(mallory, path, version): 404,
        new_id(): 404,
        "~" * 26: 404,
        "short": 422,
    }
    old = await make.prediction(alice, path, version)
    await make.database.execute("UPDATE prediction SET completed_at = now() - interval '1 hour' WHERE id = $1", old)
    for prediction, expected in {**cases, old: 409}.items():
        status, answer = await gateway.ask("POST", f"{path}/examples", alice, json={"prediction": prediction})
        assert status == expected, answer
    assert await listed(gateway, alice, f"{path}/examples") == []


async def fetched(gateway, url):
    async with gateway.http.get(url) as response:
        return response.status, await response.read()


async def test_files_of_an_example_outlive_their_urls_and_uploads(gateway, make, alice):
    objects = gateway.parts.objects
    path = await make.model(alice)
    version = await make.version(path)
    _, file = await gateway.ask("POST", "/files", alice, data={"content": io.BytesIO(b"input bytes")})
    given = {"file": f"{gateway.url}/files/{file['id']}", "other": ["https://example.com/x.png", "text"]}
    prediction = await make.prediction(alice, path, version, input=json.dumps(given))
    await objects.put(f"outputs/{prediction}/1-0/out.txt", b"output bytes", "text/plain")
    expired = delivery_url(gateway.parts.signing_key, "http://formerly", f"outputs/{prediction}/1-0/out.txt", 1)
    await make.database.execute(
        "UPDATE prediction SET output = $2 WHERE id = $1", prediction, json.dumps([expired, "text"])
    )
    for _ in range(2):
        status, example = await gateway.ask("POST", f"{path}/examples", alice, json={"prediction": prediction})
        assert status == 201, example
    assert (await gateway.ask("DELETE", f"/files/{file['id']}", alice))[0] == 204
    (example,) = await listed(gateway, alice, f"{path}/examples")
    assert await fetched(gateway, example["input"]["file"]) == (200, b"input bytes")
    assert example["input"]["other"] == given["other"]
    assert await fetched(gateway, example["output"][0]) == (200, b"output bytes")
    assert example["output"][1] == "text"
    assert (await gateway.ask("GET", path, alice))[1]["default_example"]["output"] == example["output"]


async def test_an_input_file_that_is_gone_or_not_ones_own(gateway, make, alice, mallory):
    path = await make.model(alice)
    version = await make.version(path)
    _, file = await gateway.ask("POST", "/files", mallory, data={"content": io.BytesIO(b"x")})
    for file_id in (file["id"], new_id()):
        given = json.dumps({"file": f"{gateway.url}/v1/files/{file_id}"})
        prediction = await make.prediction(alice, path, version, input=given)
        assert (await gateway.ask("POST", f"{path}/examples", alice, json={"prediction": prediction}))[0] == 409


async def test_search_ranks_names_before_texts(gateway, make, alice, mallory):
    word = f"zeppelin{new_id()[-8:]}"
    named = await make.shown(alice, name=word)
    begins = await make.shown(alice, name=f"{word}-xl")
    inside = await make.shown(alice, name=f"my{word}")
    described = await make.shown(mallory, words=f"Running {word} images")
    read = await make.shown(mallory)
    await gateway.ask("PATCH", read, mallory, json={"readme": f"All about {word}s."})
    private = await make.model(alice, name=f"{word}-private")
    await make.version(private)
    unshown = await make.model(alice, visibility="public", name=f"{word}-unshown")
    await make.version(unshown)
    ranked = [named, begins, inside, described, read]
    forms = (
        {"data": word.encode(), "headers": {"Content-Type": "text/plain"}},
        {"data": f'"{word}"'.encode(), "headers": {"Content-Type": "text/plain"}},
        {"json": word},
        {"data": f"  {word.upper()} ".encode()},
    )
    for form in forms:
        status, page = await gateway.ask("QUERY", "/models", alice, **form)
        assert (status, names(page["results"])) == (200, ranked), form
        assert (page["next"], page["previous"]) == (None, None)
    status, found = await gateway.ask("GET", f"/search?query={word}&limit=2", alice)
    assert (status, names(each["model"] for each in found["models"])) == (200, ranked[:2])
    assert found["models"][0]["metadata"]["score"] > found["models"][1]["metadata"]["score"]
    assert (found["query"], found["pages"]) == (word, [])
    exact = named.removeprefix("/models/")
    assert names((await gateway.ask("QUERY", "/models", alice, json=exact))[1]["results"])[0] == named
    assert names((await gateway.ask("QUERY", "/models", alice, json=f"run image {word}"))[1]["results"]) == [described]
    assert names(await listed(gateway, mallory, f"/models?query={word}")) == ranked


async def test_search_finds_pages_of_the_documentation(gateway, alice):
    status, found = await gateway.ask("GET", "/search?query=webhooks", alice)
    assert status == 200
    assert [page["name"] for page in found["pages"][:2]] == ["Webhooks", "Reference: webhooks"]
    for page in found["pages"]:
        assert page["href"].startswith(f"{gateway.url}/v1/docs/")
        async with gateway.http.get(page["href"]) as response:
            assert response.status == 200
            assert f"# {page['name']}\n" in await response.text()


async def test_search_in_pages(gateway, make, alice, monkeypatch):
    monkeypatch.setattr("tidemill.gateway.handlers.search.SEARCH_PAGE_SIZE", 2)
    word = f"quagga{new_id()[-8:]}"
    made = [await make.shown(alice, name=f"{word}-{n}") for n in range(5)]
    status, page = await gateway.ask("QUERY", "/models", alice, json=word)
    assert status == 200
    rest = await listed(gateway, alice, page["next"].partition("/v1")[2])
    assert sorted([*names(page["results"]), *names(rest)]) == made


async def test_search_takes_anything(gateway, alice):
    everything = await gateway.ask("QUERY", "/models", alice)
    assert everything[0] == 200
    assert "results" in everything[1]
    for text in ("'", '"', "a & b | !c:*", "<-> ()", "\\", "%", "ünïcödé 漢字", "\0", '"half', "a" * 200, "the of"):
        assert (await gateway.ask("QUERY", "/models", alice, data=text.encode()))[0] == 200, text
        async with gateway.http.get(
            f"{gateway.url}/v1/search", params={"query": text}, headers=alice.headers
        ) as response:
            assert response.status == 200, text
    assert (await gateway.ask("QUERY", "/models", alice, data=b"\xff"))[0] == 400
    assert (await gateway.ask("QUERY", "/models", alice, data=b"a" * 201))[0] == 422
    assert await gateway.ask("GET", "/search", alice) == (
        400,
        {"detail": 'Query parameter "query" is required', "status": 400},
    )
    for limit in ("0", "51", "x"):
        assert (await gateway.ask("GET", f"/search?query=x&limit={limit}", alice))[0] == 400


async def test_collections_show_what_the_caller_may_see(gateway, make, alice, mallory):
    slug = f"c-{new_id()}"
    shown, private = await make.shown(alice), await make.model(alice)
    await make.database.execute(
        "INSERT INTO collection (slug, name, description, full_description) VALUES ($1, $1, 'Aardvarks', '# All')", slug
    )
    for position, path in enumerate((private, shown)):
        await make.database.execute(
            "INSERT INTO collection_model (slug, position, model_id) SELECT $1, $2, id FROM model WHERE name = $3",
            slug,
            position,
            path.rpartition("/")[2],
        )
    assert {"slug": slug, "name": slug, "description": "Aardvarks"} in await listed(gateway, alice, "/collections")
    status, collection = await gateway.ask("GET", f"/collections/{slug}", alice)
    assert (status, collection["full_description"], names(collection["models"])) == (200, "# All", [private, shown])
    assert collection["models"][1]["default_example"] is not None
    assert names((await gateway.ask("GET", f"/collections/{slug}", mallory))[1]["models"]) == [shown]
    assert (await gateway.ask("GET", "/collections/none", alice))[0] == 404
    found = (await gateway.ask("GET", f"/search?query=aardvark+{slug}", mallory))[1]["collections"]
    assert found == [
        {"name": slug, "slug": slug, "description": "Aardvarks", "models": [shown.removeprefix("/models/")]}
    ]


async def test_a_deleted_version_is_gone_at_once(gateway, make, alice, mallory):
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(event):
        heard.put_nowait(event.queue)

    await gateway.parts.bus.listen(subjects.QUEUE_REMOVED, QueueRemoved, hear)
    path = await make.model(alice)
    first, second, third = [await make.version(path) for _ in range(3)]
    prediction = await make.prediction(alice, path, third)
    assert (await gateway.ask("POST", f"{path}/examples", alice, json={"prediction": prediction}))[0] == 201
    runnable = await gateway.parts.versions.resolve(alice.id, path.removeprefix("/models/"))
    assert runnable.queue == third[0]
    assert (await gateway.ask("DELETE", f"{path}/versions/{third[1]}", mallory))[0] == 404
    assert await gateway.ask("DELETE", f"{path}/versions/{third[1]}", alice) == (202, None)
    assert (await gateway.ask("DELETE", f"{path}/versions/{third[1]}", alice))[0] == 404
    assert (await gateway.ask("DELETE", f"{path}/versions/xyz", alice))[0] == 404
    assert await asyncio.wait_for(heard.get(), 120) == third[0]
    model = (await gateway.ask("GET", path, alice))[1]
    assert (model["latest_version"]["id"], model["default_example"]) == (second[1], None)
    assert [each["id"] for each in await listed(gateway, alice, f"{path}/versions")] == [second[1], first[1]]
    body = {"version": third[1], "input": {}}
    assert (await gateway.ask("POST", "/predictions", alice, json=body))[0] == 422
    note = await make.database.row("SELECT * FROM removed_version WHERE queue = $1", third[0])
    assert (note["id"], note["model"], note["account_id"]) == (third[1], path.removeprefix("/models/"), alice.id)


async def test_versions_that_others_ran_or_that_are_deployed_stay(gateway, make, alice, mallory):
    path = await make.model(alice, visibility="public")
    version = await make.version(path)
    await make.prediction(mallory, path, version)
    status, problem = await gateway.ask("DELETE", f"{path}/versions/{version[1]}", alice)
    assert (status, problem["detail"]) == (409, "Others have run this version.")
    await gateway.ask("PATCH", path, alice, json={"visibility": "private"})
    assert (await gateway.ask("DELETE", f"{path}/versions/{version[1]}", alice))[0] == 409
    unrun = await make.version(path)
    deployment = await rows.release(make.database, alice.id, unrun[0])
    status, problem = await gateway.ask("DELETE", f"{path}/versions/{unrun[1]}", alice)
    assert (status, deployment in problem["detail"]) == (409, True)
    await make.database.execute("UPDATE release SET retired_at = now() WHERE queue = $1", deployment)
    assert (await gateway.ask("DELETE", f"{path}/versions/{unrun[1]}", alice))[0] == 202


async def test_the_operators_mark_makes_models_official(gateway, make, alice):
    path = await make.model(alice)
    await make.version(path)
    assert (await gateway.ask("GET", path, alice))[1]["is_official"] is False
    await make.database.execute("UPDATE account SET official = true WHERE id = $1", alice.id)
    model = (await gateway.ask("GET", path, alice))[1]
    assert (model["is_official"], model["latest_version"] is not None) == (True, True)
