"""Run-time secrets over the API: values go in, names come out, the row holds neither value nor trace of it."""

import pytest

from tidemill.contracts.api.model_secrets import SECRETS_LIMIT
from tidemill.contracts.ids import new_id
from tidemill.security import secret_encryption

VALUE = "hf_correct-horse-battery-staple"


@pytest.fixture
async def path(gateway, alice):
    name = f"n-{new_id()}"
    body = {"owner": alice.username, "name": name, "visibility": "private", "hardware": "cpu"}
    async with gateway.http.post(f"{gateway.url}/v1/models", headers=alice.headers, json=body) as response:
        assert response.status == 201, await response.text()
    return f"/models/{alice.username}/{name}"


async def ask(gateway, account, method, path, **kwargs):
    async with gateway.http.request(method, f"{gateway.url}/v1{path}", headers=account.headers, **kwargs) as response:
        return response.status, await response.text()


async def test_a_secret_is_set_listed_replaced_and_deleted_and_never_shown(gateway, alice, path):
    answers = [
        await ask(gateway, alice, "PUT", f"{path}/secrets/HF_TOKEN", json={"value": VALUE}),
        await ask(gateway, alice, "PUT", f"{path}/secrets/HF_TOKEN", json={"value": VALUE + "2"}),
        await ask(gateway, alice, "PUT", f"{path}/secrets/A_KEY", json={"value": VALUE}),
        await ask(gateway, alice, "GET", f"{path}/secrets/HF_TOKEN"),
        await ask(gateway, alice, "GET", f"{path}/secrets"),
    ]
    assert [status for status, _ in answers] == [200] * 5
    assert VALUE not in "".join(body for _, body in answers)
    assert answers[-1][1].index("A_KEY") < answers[-1][1].index("HF_TOKEN")
    row = await gateway.parts.database.row(
        "SELECT s.* FROM model_secret s JOIN model m ON m.id = s.model_id WHERE m.name = $1 AND s.name = 'HF_TOKEN'",
        path.rpartition("/")[2],
    )
    assert VALUE.encode() not in row["sealed"]
    place = secret_encryption.associated_data(row["model_id"], "HF_TOKEN")
    assert secret_encryption.decrypt(gateway.parts.signing_key, place, row["sealed"]) == VALUE + "2"
    assert [(await ask(gateway, alice, "DELETE", f"{path}/secrets/HF_TOKEN"))[0] for _ in range(2)] == [204, 404]
    assert (await ask(gateway, alice, "GET", f"{path}/secrets/HF_TOKEN"))[0] == 404


@pytest.mark.parametrize("name", ["A-B", "1A", "PATH", "LD_PRELOAD", "TIDEMILL_X", "PYTHONPATH", "A" * 129, "A%20B"])
async def test_names_that_no_variable_has_or_that_are_ours(gateway, alice, path, name):
    status, body = await ask(gateway, alice, "PUT", f"{path}/secrets/{name}", json={"value": VALUE})
    assert (status, VALUE in body) == (422, False)


@pytest.mark.parametrize(
    "body", [{}, {"value": "short"}, {"value": 1}, {"value": "x" * 16_385}, {"value": "a\0bcdefgh"}]
)
async def test_values_that_are_none(gateway, alice, path, body):
    status, answer = await ask(gateway, alice, "PUT", f"{path}/secrets/A_KEY", json=body)
    assert status == 422
    assert str(body.get("value", "?")) not in answer


async def test_a_model_has_a_limited_number(gateway, alice, path):
    statuses = [
        (await ask(gateway, alice, "PUT", f"{path}/secrets/KEY_{number}", json={"value": VALUE}))[0]
        for number in range(SECRETS_LIMIT + 1)
    ]
    assert statuses == [200] * SECRETS_LIMIT + [422]
    assert (await ask(gateway, alice, "PUT", f"{path}/secrets/KEY_0", json={"value": VALUE}))[0] == 200


async def test_a_deleted_model_takes_its_secrets_along(gateway, alice, path):
    await ask(gateway, alice, "PUT", f"{path}/secrets/HF_TOKEN", json={"value": VALUE})
    assert (await ask(gateway, alice, "DELETE", path))[0] == 204
    left = "SELECT count(*) FROM model_secret WHERE NOT EXISTS (SELECT FROM model WHERE id = model_id)"
    assert await gateway.parts.database.value(left) == 0
