"""The commands that list, show and change what the API has, through a real gateway: what they print and do."""

import json

import pytest

from tidemill.contracts.ids import new_id
from tidemill.testing import rows

SCHEMA = rows.schema(
    Input={
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": {"type": "string", "description": "What is said", "x-order": 0},
            "times": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1, "x-order": 1},
            "tone": {"allOf": [{"$ref": "#/components/schemas/tone"}], "default": "low", "x-order": 2},
        },
    },
    tone={"type": "string", "enum": ["low", "high"]},
)
MORE_THAN_A_PAGE = 103


@pytest.fixture
async def model(gateway, alice):
    """owner/name and version of a private model of Alice."""
    database, name, queue = gateway.parts.database, f"m-{new_id()}", new_id()
    made = await rows.model(database, alice.id, owner=alice.username, name=name, latest_queue=queue)
    await rows.version(database, made, queue=queue, openapi_schema=SCHEMA)
    return f"{alice.username}/{name}", rows.version_id(queue)


@pytest.fixture
def create(ask, model):
    """Makes a prediction; its id."""

    async def make(text="hello"):
        status, made = await ask("POST", f"/models/{model[0]}/predictions", {"input": {"text": text}})
        assert status == 201, made
        return made["id"]

    return make


def ids(printed):
    return [line.split()[0] for line in printed.splitlines()]


async def test_predictions_are_listed_over_pages_and_shown(tidemill, alice, create, finish, model):
    made = [await create(str(number)) for number in range(MORE_THAN_A_PAGE)][::-1]
    assert ids(await tidemill(alice, "predictions", "list", "--limit", str(MORE_THAN_A_PAGE + 10))) == made
    assert ids(await tidemill(alice, "prediction", "list")) == made[:50]
    listed = json.loads(await tidemill(alice, "predictions", "list", "--limit", "2", "--json"))
    assert [each["id"] for each in listed] == made[:2]
    await finish(made[0], "shouted")
    assert ids(await tidemill(alice, "predictions", "list", "--status", "succeeded")) == made[:1]
    assert ids(await tidemill(alice, "predictions", "list", "--model", model[0], "-n", "1")) == made[:1]
    shown = await tidemill(alice, "predictions", "get", made[0])
    assert f"model      {model[0]}:{model[1]}" in shown
    assert "status     succeeded" in shown
    assert 'input      {"text": "102"}' in shown
    assert "output     shouted" in shown
    whole = json.loads(await tidemill(alice, "predictions", "get", made[0], "--json"))
    assert (whole["id"], whole["output"]) == (made[0], "shouted")
    missing = new_id()
    assert f"404 Not Found: The requested resource could not be found. (predictions/{missing})" in await tidemill(
        alice, "predictions", "get", missing, status=1
    )


async def test_predictions_are_canceled_shared_and_deleted(tidemill, gateway, alice, mallory, create, finish):
    first, second, third = [await create() for _ in range(3)]
    assert await tidemill(alice, "predictions", "cancel", first, second) == f"{first} canceled\n{second} canceled\n"
    await finish(third)
    address = (await tidemill(alice, "predictions", "share", third)).strip()
    assert address.endswith(f"/p/{third}")
    assert (await gateway.ask("GET", f"/predictions/{third}", mallory))[0] == 200
    await tidemill(alice, "predictions", "share", third, "--off")
    assert (await gateway.ask("GET", f"/predictions/{third}", mallory))[0] == 404
    await tidemill(alice, "predictions", "delete", third)
    assert "404" in await tidemill(alice, "predictions", "get", third, status=1)
    assert "404" in await tidemill(mallory, "predictions", "cancel", third, status=1)


async def test_models_are_made_listed_shown_changed_and_deleted(tidemill, alice, model):
    name, version = model
    made = f"{alice.username}/new"
    assert await tidemill(alice, "models", "create", made) == f"Made the private model {made}.\n"
    assert "403" in await tidemill(alice, "models", "create", "somebody/new", status=1)
    await tidemill(alice, "models", "update", made, "--description", "Tells the tides", "--public")
    listed = await tidemill(alice, "models", "list", "--mine")
    assert {line.split()[0] for line in listed.splitlines()} == {name, made}
    assert "public  cpu  Tells the tides" in listed
    assert f"{name}:{version}" in await tidemill(alice, "models", "versions", name)
    shown = await tidemill(alice, "models", "get", name)
    assert f"{name}:{version}" in shown
    assert "-i text   string, required: What is said" in shown
    assert "-i times  integer, at least 1, at most 9, default 1" in shown
    assert "-i tone   one of low, high, default low" in shown
    assert json.loads(await tidemill(alice, "models", "get", f"{name}:{version}", "--json"))["id"] == version
    await tidemill(alice, "models", "update", made, "--private")
    assert await tidemill(alice, "models", "delete", made) == f"Deleted {made}.\n"
    assert "404" in await tidemill(alice, "models", "get", made, status=1)


async def test_files_go_up_and_come_down_again(tidemill, alice, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("high water at six")
    identifier, url = (await tidemill(alice, "files", "upload", str(note))).split()
    assert url.endswith(f"/files/{identifier}")
    assert ids(await tidemill(alice, "files", "list")) == [identifier]
    shown = await tidemill(alice, "files", "get", identifier)
    assert "size          17" in shown
    copy = tmp_path / "copy.txt"
    assert await tidemill(alice, "files", "download", identifier, "-o", str(copy)) == f"{copy}\n"
    assert copy.read_text() == note.read_text()
    await tidemill(alice, "files", "delete", identifier)
    assert json.loads(await tidemill(alice, "files", "list", "--json")) == []


async def test_search_finds_models_and_pages(tidemill, gateway, alice):
    word = f"w{new_id()}"
    database, queue = gateway.parts.database, new_id()
    made = await rows.model(
        database, alice.id, owner=alice.username, name=word, visibility="public", description=word, latest_queue=queue
    )
    await rows.version(database, made, queue=queue, openapi_schema=SCHEMA)
    pages = await tidemill(alice, "search", "webhooks", "signature")
    assert "/docs/webhooks" in pages
    assert json.loads(await tidemill(alice, "search", "--json", "webhooks"))["query"] == "webhooks"


async def test_hardware_has_prices(tidemill, alice):
    assert "cpu " in await tidemill(alice, "hardware")
    assert json.loads(await tidemill(alice, "hardware", "--json"))[0].keys() >= {"sku", "price_usd_per_s"}


async def test_an_account_shows_itself_and_changes_its_retention(tidemill, alice):
    assert f"username  {alice.username}" in await tidemill(alice, "account")
    assert "retention_s  300" in await tidemill(alice, "account", "update", "--retention-s", "300")
    assert json.loads(await tidemill(alice, "account", "update", "--retention-s", "0", "--json"))["retention_s"] is None
    assert json.loads(await tidemill(alice, "account", "--json"))["username"] == alice.username


async def test_deployments_from_the_first_release_to_the_last(tidemill, alice, model):
    name, version = model
    made = await tidemill(alice, "deployments", "create", "mine", name, "--max", "2")
    assert made.startswith(f"{alice.username}/mine  release 1  {name}:{version[:12]}")
    assert f"version     {name}:{version}" in await tidemill(alice, "deployments", "get", "mine")
    changed = json.loads(await tidemill(alice, "deployment", "update", "mine", "--max", "3", "--json"))
    assert changed["current_release"]["configuration"]["max_instances"] == 3
    assert [each["name"] for each in json.loads(await tidemill(alice, "deployments", "list", "--json"))] == ["mine"]


async def test_trainings_are_none_yet(tidemill, alice):
    assert json.loads(await tidemill(alice, "trainings", "list", "--json")) == []
    assert "404" in await tidemill(alice, "trainings", "get", new_id(), status=1)


async def test_a_push_under_another_name_is_told_which_name_is_ones_own(tidemill, ask, alice, mallory, tmp_path):
    (tmp_path / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (tmp_path / "predict.py").write_text("class Predictor:\n    def predict(self) -> str:\n        return ''\n")
    said = await tidemill(alice, "push", f"{mallory.username}/tides", str(tmp_path), status=1)
    assert f"the token in use acts for {alice.username}" in said
    assert f"name the model {alice.username}/tides" in said
    body = {"owner": mallory.username, "name": "tides", "visibility": "private", "hardware": "cpu"}
    status, problem = await ask("POST", "/models", body)
    assert status == 403
    assert f"This token acts for {alice.username}: name the model {alice.username}/tides." in problem["detail"]
